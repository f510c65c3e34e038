"""Prose in many languages, written for these tests, and the encodings it is found in."""

import random

# Everyday sentences, some of them long; of each language the letters that English lacks.
PROSE = {
    "simplified": (
        "清晨的雾气还没有散去，邮差推着自行车走过石桥，车铃在巷子里轻轻响了两声。",
        "面馆的老板掀开锅盖，热气一下子涌到街上，几个等车的学生都转过头来看。",
        "我把昨天写好的信又读了一遍，觉得最后一句话说得太重，便划掉了。",
        "下午忽然下起大雨，晒在院子里的棉被全湿了，奶奶一边笑一边往屋里搬。",
        "图书馆九点关门，他收拾好笔记，在门口等朋友一起回宿舍。",
    ),
    "traditional": (
        "傍晚時分，漁船陸續回到港口，漁夫們把裝滿魚的竹籃抬上岸，孩子們圍過來數今天的收穫。",
        "燈塔的光一圈一圈地掃過海灣，遠處的雲層還留著一點紅色。祖母坐在門前縫補舊網。",
        "她說這張網比我父親的年紀還大，當年颱風來的時候，全村的人都躲進了山上的廟裡。",
        "下一班車還要等二十分鐘，站長請大家到裡面坐，又替每個人倒了一杯熱茶。",
        "書店老闆記得每一位客人，總是把新到的小說先留給那個不愛說話的學生。",
    ),
    "korean": (
        "아침 일찍 시장에 나가 보니 생선 장수들이 벌써 자리를 펴고 손님을 기다리고 있었다.",
        "동생은 비가 온다는 말을 듣고도 우산을 두고 나가더니 결국 흠뻑 젖어서 돌아왔다.",
        "도서관 앞 은행나무 잎이 노랗게 물들면 우리는 늘 그 아래에서 사진을 찍곤 했다.",
        "할아버지께서는 저녁마다 마루에 앉아 라디오를 들으시며 옛날 이야기를 해 주셨다.",
        "기차가 터널을 지나자 갑자기 바다가 나타났고 아이들은 창가로 몰려들었다.",
    ),
    "japanese": (
        "朝の電車はいつも込んでいるので、私は一つ前の駅まで歩くことにしている。",
        "祖母の家の庭には古い井戸があって、夏になるとスイカを冷やして食べた。",
        "雨が上がると、商店街のスピーカーからまた音楽が流れ始め、人々が傘をたたんだ。",
        "彼は手紙を三回書き直したが、結局ポストの前で立ち止まり、そのまま帰ってしまった。",
        "図書館で借りた本を返し忘れて、来週までに駅前のカウンターへ持っていかなければならない。",
    ),
    "polish": (
        "Wczesnym rankiem mgła wisiała nad łąką, a z komina młyna unosił się już dym.",
        "Babcia zawsze mówiła, że gęś trzeba piec powoli, bo inaczej mięso będzie twarde.",
        "Chłopiec wrócił do domu późno, zmoknięty, ale szczęśliwy, bo znalazł źrebię.",
        "Kiedy przyszła jesień, na rynku sprzedawano jabłka, śliwki i świeże grzyby.",
        "Nie wiedział, czy zdąży na pociąg, więc biegł przez całą ulicę Długą.",
    ),
    "czech": (
        "Ráno přišel sníh a děti hned vyběhly na dvůr stavět pevnost z ledových kvádrů.",
        "Stařeček seděl u kamen, kouřil dýmku a vyprávěl, jak kdysi převáděl koně přes řeku.",
        "Žádný vlak už nejel, a tak šli pěšky podél trati až k nádraží v Kolíně.",
        "Učitelka řekla, že příští týden půjde celá třída do muzea, jestli nebude pršet.",
        "V malém krámku na náměstí prodávali čerstvé koláče, mléko a nějaké staré knihy.",
    ),
    "hungarian": (
        "Reggel a piacon már friss kenyeret árultak, és az öreg halász is megérkezett.",
        "A kislány a küszöbön ült, és várta, hogy édesanyja hazaérjen a gyűlésből.",
        "Ősszel a szőlőhegyen mindenki dolgozott, este pedig tüzet raktak a pince előtt.",
        "Nem tudta, mikor indul a következő vonat, ezért megkérdezte az állomásfőnököt.",
        "Az erdőben hűvös volt, a fű között gombák nőttek, és messziről kutyaugatás hallatszott.",
    ),
    "romanian": (
        "Dimineaţa, bunica aprindea focul şi punea ceaunul pe plită înainte să ne trezim.",
        "Copiii au găsit în pod o ladă veche, plină cu scrisori şi fotografii îngălbenite.",
        "După ploaie, uliţa satului era plină de bălţi, iar raţele se plimbau fericite.",
        "Trenul spre Iaşi a întârziat două ore, aşa că am stat în gară şi am jucat şah.",
        "Nu ştia dacă să plece sau să rămână, dar până la urmă şi-a făcut bagajul.",
    ),
    "turkish": (
        "Sabah erkenden kalkıp fırına gitti, sıcak ekmeğin kokusu bütün sokağa yayılmıştı.",
        "Babaannem her akşam balkonda oturur, çayını yudumlarken gelip geçeni seyrederdi.",
        "Çocuklar yağmur dinince dışarı çıktılar, su birikintilerine atlayıp güldüler.",
        "Vapur iskeleye yanaşırken martılar simit parçalarını havada kapıyordu.",
        "Öğretmen sınıfa girince herkes sustu, çünkü sınav kâğıtlarını dağıtacaktı.",
    ),
    "russian": (
        "Утром выпал снег, и дети побежали во двор лепить крепость из больших комьев.",
        "Старый почтальон каждый день проходил мимо нашего дома и здоровался с собакой.",
        "Когда поезд тронулся, она ещё долго махала рукой и улыбалась сквозь слёзы.",
        "В библиотеке было тихо, только где-то в углу шелестели страницы и тикали часы.",
        "Мы решили подождать до вечера, а потом идти через лес, хотя дорога была длинная.",
    ),
    "ukrainian": (
        "Уранці дід запріг коня і поїхав до млина, а ми лишилися чекати біля воріт.",
        "На ярмарку продавали глечики, вишиті сорочки, мед і свіжі яблука з нашого саду.",
        "Її лист прийшов аж наприкінці зими, коли ми вже перестали сподіватися.",
        "Хлопці збудували на річці греблю, але перша ж злива її змила.",
        "Увечері бабуся розповідала казки, і в хаті пахло хлібом та сушеною м'ятою.",
    ),
    "bulgarian": (
        "Сутринта мъглата още лежеше над реката, а рибарите вече събираха мрежите си.",
        "Баба ми правеше баница всяка неделя и пращаше парче на всички съседи.",
        "Влакът закъсня с един час и пътниците излязоха на перона да пушат.",
        "Той не знаеше какво да каже, затова само сви рамене и се усмихна.",
        "Есента в планината е тиха, по пътеките има жълти листа и рядко минава човек.",
    ),
    "greek": (
        "Το πρωί οι ψαράδες γύρισαν στο λιμάνι με γεμάτα δίχτυα και κουρασμένα χέρια.",
        "Η γιαγιά καθόταν κάτω από την ελιά και μας έλεγε ιστορίες για τα παλιά χρόνια.",
        "Το λεωφορείο άργησε πολύ, γι' αυτό αποφασίσαμε να περπατήσουμε μέχρι το χωριό.",
        "Στην αγορά μύριζε φρέσκο ψωμί, θυμάρι και θάλασσα.",
        "Δεν ήξερε αν έπρεπε να φύγει ή να μείνει, και τελικά έκλεισε σιγά την πόρτα.",
    ),
    "hebrew": (
        "בבוקר ירד גשם חזק, והילדים עמדו ליד החלון וספרו את המכוניות ברחוב.",
        "סבתא שלי אופה לחם בכל יום שישי ומחלקת לשכנים כיכר חמה.",
        "הרכבת איחרה בשעה, אז ישבנו בתחנה ושתינו תה מתוק.",
        "הוא לא ידע מה לומר, ולכן חייך ושתק עד סוף הערב.",
        "בשוק מכרו תפוזים, זיתים ודגים טריים, והמוכרים צעקו בקול רם.",
    ),
    "arabic": (
        "في الصباح الباكر خرج الصيادون إلى البحر وعادوا عند الظهر بشباك ممتلئة.",
        "كانت جدتي تجلس قرب النافذة وتحكي لنا قصصا عن القرية القديمة.",
        "تأخر القطار ساعة كاملة فجلسنا في المحطة نشرب الشاي وننتظر.",
        "لم يعرف ماذا يقول فابتسم وأغلق الباب بهدوء.",
        "في السوق رائحة الخبز والنعناع وأصوات الباعة تملأ المكان.",
    ),
    "thai": (
        "ตอนเช้าแม่ค้าพายเรือมาขายขนมที่ท่าน้ำหน้าบ้านของเราทุกวัน",
        "คุณยายนั่งเล่านิทานใต้ต้นมะม่วงจนเด็กๆ หลับไปทีละคน",
        "ฝนตกหนักมากเมื่อคืนนี้ ถนนหน้าตลาดจึงมีน้ำท่วมสูงถึงเข่า",
        "รถไฟมาช้าเกือบชั่วโมง พวกเราจึงนั่งกินข้าวเหนียวรออยู่ที่สถานี",
        "เขาไม่รู้ว่าจะพูดอะไรดี เลยยิ้มแล้วเดินออกจากห้องไปเงียบๆ",
    ),
    "lithuanian": (
        "Rytą virš ežero kilo rūkas, o žvejai jau traukė tinklus į valtį.",
        "Močiutė kepė duoną ant ajerų ir pasakojo, kaip čia gyveno jos tėvai.",
        "Traukinys vėlavo valandą, todėl sėdėjome stotyje ir žaidėme šachmatais.",
        "Vaikai rado miške daug grybų, bet nežinojo, kurie iš jų valgomi.",
        "Jis nežinojo, ką pasakyti, tad tik nusišypsojo ir tyliai uždarė duris.",
    ),
    "french": (
        "Le dernier train était déjà parti quand nous sommes arrivés à la gare.",
        "Une vieille dame qui élevait des chèvres nous a préparé une soupe épaisse.",
        "Après l'orage, les enfants ont couru jusqu'à la rivière pour voir si le pont tenait.",
        "Il ne savait pas où aller, alors il s'est assis près de la fenêtre et a rêvé.",
        "À Noël, mon frère aîné découpait le gâteau et gardait pour lui la plus grosse part.",
    ),
    "german": (
        "Im Frühling öffnet der Gärtner das große Tor und räumt die Äste weg.",
        "Später gibt es heißen Tee und süßes Brot für alle, die geholfen haben.",
        "Die Brücke über den Bach war so schmal, dass wir die Räder schieben mussten.",
        "Großmutter erzählte, wie früher im Dorf jeder Schlüssel unter der Fußmatte lag.",
        "Es hörte nicht auf zu regnen, und trotzdem fuhren die Boote übers Wasser.",
    ),
    "spanish": (
        "Por la mañana el panadero abría la tienda y el olor llegaba hasta la estación.",
        "La niña preguntó qué pasaría mañana si no dejaba de llover en la montaña.",
        "¿Dónde está el señor que arreglaba los relojes de la calle Álamo?",
        "Mi abuela decía que el corazón también se cansa, pero aquí sigue, cantando.",
        "Todavía no sé cómo llegó aquel pingüino de cartón al balcón del vecino.",
    ),
    "portuguese": (
        "De manhã a avó punha o pão na mesa e abria a janela para o quintal.",
        "As crianças não sabiam se amanhã haveria aulas por causa da chuva.",
        "O comboio chegou atrasado à estação, e ninguém sabia a razão.",
        "Lá longe, no cais, os pescadores remendavam redes e contavam histórias.",
        "Ele pediu um café, leu a lição e só então começou a escrever a composição.",
    ),
    "swedish": (
        "På morgonen låg dimman över sjön och fiskarna drog redan upp sina nät.",
        "Mormor bakade bröd på lördagarna och gav alltid grannen en varm limpa.",
        "Tåget var försenat, så vi satt på stationen och spelade kort i två timmar.",
        "Han visste inte vad han skulle säga, därför gick han ut i trädgården.",
        "Äpplena föll i gräset och någon hade glömt en röd stövel under trädet.",
    ),
    "english": (
        "The keeper of the lighthouse wrote a short note every evening and pinned it up.",
        "Nobody knew why the bridge was closed, so they walked along the river instead.",
        "My grandmother kept buttons in a tin and could tell where each of them came from.",
        "By the time the rain stopped, the café had run out of cake and of patience.",
        "He read the letter twice, folded it, and put it back between the pages.",
    ),
}  # fmt: skip

# (language, encoding) as they are met in old files.
PAIRS = [
    ("simplified", "gb18030"), ("simplified", "gbk"), ("simplified", "utf-16-le"),
    ("simplified", "hz"), ("traditional", "big5"), ("traditional", "cp950"),
    ("traditional", "gb18030"), ("traditional", "utf-16-be"), ("korean", "euc_kr"),
    ("korean", "cp949"), ("korean", "johab"), ("korean", "iso2022_kr"), ("japanese", "cp932"),
    ("japanese", "euc_jp"), ("japanese", "iso2022_jp"), ("polish", "cp1250"),
    ("polish", "iso8859_2"), ("polish", "cp852"), ("czech", "cp1250"), ("czech", "iso8859_2"),
    ("hungarian", "cp1250"), ("hungarian", "iso8859_2"), ("romanian", "cp1250"),
    ("romanian", "iso8859_2"),
    ("turkish", "cp1254"), ("turkish", "iso8859_9"), ("russian", "cp1251"), ("russian", "koi8_r"),
    ("russian", "cp866"), ("russian", "iso8859_5"), ("ukrainian", "cp1251"),
    ("ukrainian", "koi8_u"), ("bulgarian", "cp1251"), ("greek", "cp1253"), ("greek", "iso8859_7"),
    ("hebrew", "cp1255"), ("arabic", "cp1256"), ("arabic", "iso8859_6"), ("thai", "cp874"),
    ("lithuanian", "cp1257"), ("french", "latin-1"), ("french", "cp1252"),
    ("french", "mac_roman"), ("french", "cp850"), ("german", "latin-1"), ("german", "cp1252"),
    ("german", "cp437"), ("german", "mac_roman"), ("spanish", "latin-1"),
    ("portuguese", "latin-1"), ("swedish", "latin-1"), ("english", "cp1252"),
]  # fmt: skip


def prose(language: str, characters: int, seed: int = 1) -> str:
    """A text of about this length: sentences of a language in random order."""
    chance, sentences, length = random.Random(f"{language} {seed}"), [], 0
    while length < characters:
        sentences.append(chance.choice(PROSE[language]))
        length += len(sentences[-1]) + 1
    return "\n".join(sentences) + "\n"
