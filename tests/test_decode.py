import codecs
import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.languages import PAIRS, prose
from zigpt.data.decode import decode
from zigpt.data.encodings import Decoding
from zigpt.errors import TextError, UsageError

SIMPLIFIED = (
    "清晨的雾气还没有散去，邮差推着自行车走过石桥，车铃在巷子里轻轻响了两声。\n"
    "面馆的老板掀开锅盖，热气一下子涌到街上，几个等车的学生都转过头来看。\n"
    "我把昨天写好的信又读了一遍，觉得最后一句话说得太重，便划掉了。\n"
)
TRADITIONAL = (
    "傍晚時分，漁船陸續回到港口，漁夫們把裝滿魚的竹籃抬上岸，孩子們圍過來數今天的收穫。\n"
    "燈塔的光一圈一圈地掃過海灣，遠處的雲層還留著一點紅色。祖母坐在門前縫補舊網，\n"
    "她說這張網比我父親的年紀還大，當年颱風來的時候，全村的人都躲進了山上的廟裡。\n"
)
# Two kinds of Big5: neither can encode the other's text.
TAIWANESE = "下一班車還要等～二十分鐘，票價是十二€，站長‧老李請大家到裡面坐。\n"
HONG_KONG = (
    "姑母住在深水埗的舊樓裡，每天清早到街市買一條鰂魚，走過天橋時總要停下來看看路上的電車。\n"
    "她說年輕時這一帶還是碼頭，下雨天要踏著木板回家，鞋子沒有一天是乾的。\n"
)
FRENCH = (
    "Le dernier train était déjà parti quand nous sommes arrivés à la gare. Une vieille dame\n"
    "qui élevait des chèvres nous a préparé une soupe épaisse. «\xa0Où allez-vous\xa0?\xa0»\n"
)
GERMAN = (
    "Im Frühling öffnet der Gärtner das große Tor und räumt die Äste weg, die der Sturm über\n"
    "Nacht abgebrochen hat. Später gibt es heißen Tee und süßes Brot für alle, die halfen.\n"
)
RUSSIAN = "Утром выпал снег, и дети побежали во двор лепить крепость.\n"
JAPANESE = "朝の電車はいつも込んでいるので、私は一つ前の駅まで歩くことにしている。\n"
# Almost only English, as in a source file or a dictionary.
ENGLISH = "The keeper of the lighthouse wrote a short note every evening and pinned it up.\n" * 9

PROSE = [
    (SIMPLIFIED, "gb18030", "GB18030"),
    (SIMPLIFIED, "gbk", "GB18030"),
    (TRADITIONAL, "gb18030", "GB18030"),
    (TRADITIONAL, "big5", "Big5"),
    (TAIWANESE * 2, "cp950", "Big5"),
    (HONG_KONG, "big5hkscs", "Big5"),
    (SIMPLIFIED, "utf-16-le", "UTF-16"),
    (SIMPLIFIED, "utf-16-be", "UTF-16"),
    (
        SIMPLIFIED.replace("\n", ""),
        "utf-16-le",
        "UTF-16",
    ),  # without the NULs that would give it away
    (TRADITIONAL, "utf-16-le", "UTF-16"),
    (FRENCH, "utf-16-le", "UTF-16"),
    (ENGLISH, "utf-16-be", "UTF-16"),
    (FRENCH, "latin-1", "Windows-1252"),
    (FRENCH.upper(), "latin-1", "Windows-1252"),
    (GERMAN, "latin-1", "Windows-1252"),
    (GERMAN.upper(), "latin-1", "Windows-1252"),
]

# Any character but the controls of binary files, CR (which becomes LF) and surrogates.
characters = st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t")
texts = st.text(characters, min_size=1)


def refusal(data: bytes) -> tuple[str, str, str]:
    with pytest.raises(TextError) as caught:
        decode(data, "book.txt")
    error = caught.value
    assert "\n" not in error.what + error.why + error.fix
    return error.what, error.why, error.fix


@given(texts.filter(lambda text: text[0] != "\ufeff"))
def test_any_text_in_utf_8_comes_back_unchanged_and_without_notice(text: str) -> None:
    decoded = decode(text.encode(), "book.txt")
    assert (decoded.text, decoded.encoding, decoded.notices) == (text, "UTF-8", ())


@given(texts, st.sampled_from(["utf-8-sig", "utf-16", "utf-32"]))
def test_any_text_behind_a_byte_order_mark_comes_back_without_the_mark(
    text: str, codec: str
) -> None:
    decoded = decode(text.encode(codec), "book.txt")
    assert decoded.text == text


@pytest.mark.parametrize(
    ("mark", "codec", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8", "UTF-8 with BOM"),
        (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
        (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
        (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
        (b"\x84\x31\x95\x33", "gb18030", "GB18030"),
    ],
)
def test_a_byte_order_mark_decides_without_a_guess(mark: bytes, codec: str, encoding: str) -> None:
    # This does not read like prose: a guess would fail.
    decoded = decode(mark + "鼗ѯ".encode(codec), "book.txt")
    assert (decoded.text, decoded.encoding) == ("鼗ѯ", encoding)
    notices = () if codec == "utf-8" else (f"book.txt is {encoding}, not UTF-8",)
    assert decoded.notices == notices


@pytest.mark.parametrize(("text", "codec", "encoding"), PROSE)
def test_prose_in_another_encoding_is_recognised_and_reported(
    text: str, codec: str, encoding: str
) -> None:
    decoded = decode(text.encode(codec), "book.txt")
    assert (decoded.text, decoded.encoding) == (text, encoding)
    assert decoded.notices == (f"book.txt is {encoding}, not UTF-8: check that it reads correctly",)


@pytest.mark.parametrize(("text", "codec", "encoding"), PROSE)
def test_sixty_characters_are_nearly_always_enough_and_a_megabyte_is_not_too_much(
    text: str, codec: str, encoding: str
) -> None:
    recognised = refused = 0
    for start in range(0, len(text) - 60, 7):
        passage = text[start : start + 60]
        data = passage.encode(codec)
        if not data.isascii() or b"\0" in data:
            try:
                assert decode(data, "book.txt").encoding == encoding, passage
                recognised += 1
            except TextError:
                refused += 1
    assert refused <= recognised / 8
    long = text * (1_000_000 // len(text.encode(codec)))
    assert decode(long.encode(codec), "book.txt").text == long


@pytest.mark.parametrize(
    ("phrase", "codec", "encoding"),
    [
        ("café", "latin-1", "Windows-1252"),
        ("Ärger", "latin-1", "Windows-1252"),
        ("“no” – I won’t", "cp1252", "Windows-1252"),
    ],
)
def test_one_foreign_phrase_in_an_english_text_is_read_correctly(
    phrase: str, codec: str, encoding: str
) -> None:
    text = f"{ENGLISH * 200}{phrase}{ENGLISH}"
    decoded = decode(text.encode(codec), "book.txt")
    assert (decoded.text, decoded.encoding) == (text, encoding)


@pytest.mark.parametrize(("phrase", "codec"), [("(灯塔)", "gb18030"), ("(守燈塔的人)", "big5")])
def test_a_few_characters_of_another_alphabet_are_no_evidence_but_can_be_named(
    phrase: str, codec: str
) -> None:
    text = f"{ENGLISH * 200}{phrase}{ENGLISH}"
    assert "not recognised" in refusal(text.encode(codec))[0]
    assert decode(text.encode(codec), "book.txt", Decoding(codec)).text == text


@pytest.mark.parametrize("broken", [b"\xff", b"\xe4\xb8", b"\xed\xa0\x80", b"\xc0\xaf"])
@pytest.mark.parametrize("text", [SIMPLIFIED, TRADITIONAL, FRENCH, RUSSIAN, "café, thé\n"])
def test_damaged_utf_8_is_refused_at_its_byte_and_line_and_never_guessed(
    text: str, broken: bytes
) -> None:
    before = text.encode()
    line = text.count("\n") + 1
    # Bytes that can begin a character form one damaged place, others one each.
    alone = 1 if broken in (b"\xff", b"\xe4\xb8") else len(broken)
    places = ", ".join(
        f"byte 0x{broken[n]:02X} at offset {len(before) + n:,} (line {line})" for n in range(alone)
    )
    assert refusal(before + broken + before) == (
        "book.txt is damaged: it looks like UTF-8 but is not quite",
        f"these do not fit: {places}",
        "repair it in an editor, or read on with `damaged` replace or drop; in another encoding, "
        "name it as `encoding`",
    )


@pytest.mark.parametrize(
    ("data", "encoding", "byte", "offset", "line"),
    [
        (TRADITIONAL.encode("big5") + b"\xff\n" + TRADITIONAL.encode("big5"), "Big5", 0xFF, 237, 4),
        (codecs.BOM_UTF16_LE + b"a\0\r\0b\0\0\xdcc\0", "UTF-16", 0x00, 8, 2),
        (codecs.BOM_UTF8 + b"a\r\nb\xff", "UTF-8 with BOM", 0xFF, 7, 2),
    ],
)
def test_damage_in_any_encoding_is_located(
    data: bytes, encoding: str, byte: int, offset: int, line: int
) -> None:
    what, why, _ = refusal(data)
    assert what == f"book.txt is damaged: it looks like {encoding} but is not quite"
    assert why == f"these do not fit: byte 0x{byte:02X} at offset {offset} (line {line})"


@pytest.mark.parametrize("data", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
def test_an_empty_text_is_refused(data: bytes) -> None:
    assert refusal(data) == (
        "book.txt is empty",
        "there is nothing to learn from",
        "give another text",
    )


@pytest.mark.parametrize(
    ("data", "code", "offset"),
    [
        (b"plain words\0and more", 0x00, 11),
        (SIMPLIFIED.encode() + b"\0", 0x00, len(SIMPLIFIED.encode())),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 0x00, 8),
        (b"\x7fELF\x02\x01\x01" * 9, 0x7F, 0),
        (b"\x1f\x8b\x08 packed \x03\xf2\x9d\xe1", 0x1F, 0),
        ("字\x01\x02".encode("utf-16"), 0x01, 4),
        (bytes(range(256)) * 4, 0x00, 0),
    ],
)
def test_a_binary_file_is_refused_at_its_first_control_character(
    data: bytes, code: int, offset: int
) -> None:
    assert refusal(data) == (
        "book.txt is not a text file",
        f"control character 0x{code:02X} at byte offset {offset}",
        "give a plain text file; export a document as plain text first",
    )


def test_a_stray_control_character_in_a_long_text_is_left_alone() -> None:
    text = f"{ENGLISH}\x1a"
    assert decode(text.encode(), "book.txt").text == text


@pytest.mark.parametrize("text", [SIMPLIFIED, FRENCH])
@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "gb18030"])
def test_a_text_that_ends_within_a_character_is_read_without_it(text: str, codec: str) -> None:
    """As after an interrupted download."""
    decoded = decode(text.encode(codec) + "气".encode(codec)[:1], "book.txt", Decoding(codec))
    assert decoded.text == text
    assert decoded.notices[-1] == "book.txt ends within a character, which is left out"


BAD = "一灯".encode("gb18030") + b"\xff" + "塔\n守".encode("gb18030") + b"\xff\xff" + b"\n"


@pytest.mark.parametrize(
    ("damaged", "text"), [("replace", "一灯\ufffd塔\n守\ufffd\ufffd\n"), ("drop", "一灯塔\n守\n")]
)
def test_damage_can_be_replaced_or_dropped_and_every_place_is_counted(damaged, text) -> None:
    decoded = decode(BAD, "book.txt", Decoding("gb18030", damaged))
    assert decoded.text == text
    assert decoded.notices == (
        "book.txt is gb18030, not UTF-8",
        "book.txt: damaged places replaced or left out: 3 (byte 0xFF at offset 4 (line 1), "
        "byte 0xFF at offset 10 (line 2), byte 0xFF at offset 11 (line 2))",
    )


def test_of_many_damaged_places_the_first_ten_are_told_and_all_counted() -> None:
    data = (SIMPLIFIED.encode() + b"\xff") * 1234
    _, why, _ = refusal(data)
    assert why.count("byte 0xFF") == 10
    assert why.endswith(" and 1,224 more")
    size = len(SIMPLIFIED.encode())
    assert f"at offset {10 * size + 9:,} (line 31)" in why


def test_a_binary_of_a_named_encoding_is_given_up_soon() -> None:
    started = time.process_time()
    with pytest.raises(TextError, match="and many more"):
        decode(b"\xff\xfe\xfd" * 3_000_000, "book.txt", Decoding("utf-8"))
    assert time.process_time() - started < 2


def test_a_nul_in_a_text_in_utf_8_is_named_at_its_place() -> None:
    data = "“curly” quotes, and one NUL\n".encode() * 99
    at = len(data) // 2
    what, why, _ = refusal(data[:at] + b"\0" + data[at:])
    assert (what, why) == (
        "book.txt is not a text file",
        f"control character 0x00 at byte offset {at:,}",
    )


@pytest.mark.parametrize(("language", "codec"), PAIRS)
def test_a_book_in_an_old_encoding_is_read_right_or_refused(language: str, codec: str) -> None:
    text = prose(language, 200_000 // len("字".encode(codec, "replace")))
    if codec == "johab":  # the only one of them that is not recognised
        assert "not recognised" in refusal(text.encode(codec))[0]
    else:
        assert decode(text.encode(codec), "book.txt").text == text
    assert decode(text.encode(codec), "book.txt", Decoding(codec)).text == text


def test_passages_of_three_hundred_characters_are_hardly_ever_read_wrong() -> None:
    chance, outcomes = random.Random(5), Counter[str]()
    for language, codec in PAIRS:
        text = prose(language, 3000)
        for _ in range(4):
            start = chance.randrange(len(text) - 300)
            passage = text[start : start + 300]
            try:
                decoded = decode(passage.encode(codec), "book.txt").text
                outcomes["right" if decoded == passage else "wrong"] += 1
            except TextError:
                outcomes["refused"] += 1
    assert outcomes["wrong"] <= 2
    assert outcomes["refused"] <= 10


@pytest.mark.parametrize("name", ["no-such", "", "gzip", "base64", "rot13"])
def test_an_encoding_that_python_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="there is no `encoding` called"):
        Decoding(name)


def test_the_mark_of_a_named_encoding_is_no_part_of_the_text() -> None:
    data = "灯塔".encode("utf-8-sig")
    assert decode(data, "book.txt", Decoding("utf-8")).text == "灯塔"
    assert decode("灯塔".encode("utf-16"), "book.txt", Decoding("utf-16")).text == "灯塔"


@given(
    st.text(characters | st.sampled_from("\r\n\r"), min_size=1).filter(lambda t: t[0] != "\ufeff")
)
def test_line_endings_become_those_of_universal_newlines(text: str) -> None:
    decoded = decode(text.encode(), "book.txt")
    assert decoded.text == text.replace("\r\n", "\n").replace("\r", "\n")
    assert bool(decoded.notices) == ("\r" in text)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("a\r\nb\r\n", "2 CRLF"),
        ("a\rb\n", "1 CR"),
        ("a\r\nb\rc\r\r\n", "2 CRLF and 2 CR"),
        ("\r\n" * 1234, "1,234 CRLF"),
    ],
)
def test_changed_line_endings_are_counted(text: str, changed: str) -> None:
    assert decode(text.encode(), "book.txt").notices == (
        f"book.txt: {changed} line endings converted to LF",
    )


def test_every_change_has_its_own_notice() -> None:
    notices = decode(SIMPLIFIED.replace("\n", "\r\n").encode("gb18030"), "book.txt").notices
    assert [notice.split(": ")[0] for notice in notices] == [
        "book.txt is GB18030, not UTF-8",
        "book.txt",
    ]


@given(st.sampled_from([b"", b"\xff\xfe", b"\x84\x31\x95\x33"]), st.binary())
def test_any_bytes_become_a_clean_text_or_a_refusal(mark: bytes, data: bytes) -> None:
    try:
        decoded = decode(mark + data, "book.txt")
    except TextError:
        return
    assert decoded.text.encode()  # not empty, and without lone surrogates
    assert "\0" not in decoded.text
    assert "\r" not in decoded.text


def test_a_megabyte_of_utf_8_is_read_in_milliseconds() -> None:
    data = ENGLISH.encode() * (1_000_000 // len(ENGLISH))
    fastest = min(_seconds(data) for _ in range(5))
    assert fastest < 0.05  # measured: 0.005


def _seconds(data: bytes) -> float:
    start = time.perf_counter()
    decode(data, "book.txt")
    return time.perf_counter() - start
