"""A whole GPT in one file: it reads a text character by character and learns to write like it.

`python v2.py` reads input.txt, lets the untrained model write, trains it, and lets it write again
from the same prompt with the same seed. To try another size, change a constant.

一个文件写完的 GPT：逐字读一段文本，学会写出风格相近的文字。`python v2.py` 读取 input.txt，先让
未训练的模型写一段，再训练它，最后用同样的提示词和随机种子再写一段。想换个大小，改常量就行。
"""

import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW

N_EMBED = 384  # C: numbers that describe each character / 每个字符的向量长度
N_LAYERS = 6  # blocks, stacked / 层数
N_HEADS = 6  # H: attention heads in each block, D = C / H wide / 每层的注意力头数
BLOCK_SIZE = 256  # T: the longest context, in characters / 上下文最多多少个字符
BATCH_SIZE = 64  # B: windows of text in each step / 每步学习多少个文本窗口
LEARNING_RATE = 3e-4  # of AdamW, constant / AdamW 的学习率，恒定
DROP_OUT = 0.2  # probability that training drops a value / 训练时随机丢弃的概率
EVAL_INTERVAL = 200  # steps from one estimate of the loss to the next / 每隔多少步估计一次损失
MAX_STEPS = 5000  # training steps / 训练步数


def read_text() -> str:
    """Read input.txt, or say what it has to be. / 读取 input.txt；不符合要求就说明并退出。"""
    try:
        text = Path("input.txt").read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        sys.exit("Put a text in UTF-8 into input.txt. / 请把一份 UTF-8 文本放进 input.txt。")
    least = 10 * BLOCK_SIZE + 1  # the last tenth must hold a window and the character after it
    if len(text) < least or len(set(text)) == 1:
        sys.exit(f"input.txt needs {least} characters, not all equal. / 字符太少，或全都相同。")
    return text


def encode(text: str, characters: list[str]) -> list[int]:
    """Turn characters into ids, their places in the vocabulary. / 字符变编号：它在词表里的位置。"""
    stoi = {character: i for i, character in enumerate(characters)}
    return [stoi[character] for character in text]


def decode(ids: list[int], characters: list[str]) -> str:
    """Turn ids back into characters. / 编号变回字符。"""
    return "".join(characters[i] for i in ids)


def get_batch(data: Tensor) -> tuple[Tensor, Tensor]:
    """Cut windows at random; each target is the next character. / 随机取窗口；目标是下一个字符。"""
    starts = torch.randint(len(data) - BLOCK_SIZE, (BATCH_SIZE,)).tolist()
    windows = torch.stack([data[i : i + BLOCK_SIZE + 1] for i in starts])  # (B, T + 1)
    return windows[:, :-1], windows[:, 1:]  # (B, T) each


def dropout(x: Tensor, training: bool) -> Tensor:
    """Do what nn.Dropout does, faster on a CPU. / 与 nn.Dropout 相同，在 CPU 上更快。"""
    if not training:
        return x
    kept = torch.rand(x.shape, device=x.device).ge_(DROP_OUT)  # 1 or 0
    return x * kept.div_(1 - DROP_OUT)  # scaled up to keep the mean / 放大以保持均值


class MultiHeadAttention(nn.Module):
    """Attention: gather from this position and earlier ones. / 注意力：从自身和前文收集信息。"""

    tril: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(N_EMBED, 3 * N_EMBED)  # query, key, value / 查询、键、值
        self.project = nn.Linear(N_EMBED, N_EMBED)
        self.register_buffer("tril", torch.tril(torch.ones(BLOCK_SIZE, BLOCK_SIZE)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(C, dim=2)  # (B, T, 3C) -> three times (B, T, C)
        q, k, v = (z.view(B, T, N_HEADS, -1).transpose(1, 2) for z in (q, k, v))  # -> (B, H, T, D)
        wei = (q * q.size(-1) ** -0.5) @ k.transpose(-2, -1)  # (B, H, T, D) -> (B, H, T, T)
        wei = wei.masked_fill(self.tril[:T, :T] == 0, float("-inf"))  # hide the future / 遮住未来
        wei = F.softmax(wei, dim=-1)  # each row sums to 1 / 每行之和为 1
        out = (wei @ v).transpose(1, 2).reshape(B, T, C)  # (B, H, T, D) -> (B, T, C)
        return dropout(self.project(out), self.training)


class FeedForward(nn.Module):
    """Feed-forward: each position is processed by itself. / 前馈网络：每个位置各自处理。"""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Linear(N_EMBED, 4 * N_EMBED)
        self.project = nn.Linear(4 * N_EMBED, N_EMBED)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, 4C) -> (B, T, C)."""
        x = self.expand(x)
        # GPT-2's GELU; in bfloat16 the exact one is quicker / bfloat16 下精确的 GELU 更快
        x = F.gelu(x, approximate="none" if x.dtype == torch.bfloat16 else "tanh")
        return dropout(self.project(x), self.training)


class Block(nn.Module):
    """Block: attention, then feed-forward, each added to x. / 一层：注意力与前馈，都加到 x 上。"""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(N_EMBED)
        self.attn = MultiHeadAttention()
        self.ln_2 = nn.LayerNorm(N_EMBED)
        self.ffn = FeedForward()

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.attn(self.ln_1(x))
        return x + self.ffn(self.ln_2(x))


class GPT(nn.Module):
    """GPT: ids in, scores for the next character out. / 输入编号，输出下一个字符的得分。"""

    def __init__(self, vocab_size: int, quick: bool = False) -> None:
        super().__init__()
        self.quick = quick  # matrix products in bfloat16 / 矩阵乘法用 bfloat16
        self.token_embedding = nn.Embedding(vocab_size, N_EMBED)
        self.position_embedding = nn.Embedding(BLOCK_SIZE, N_EMBED)
        self.blocks = nn.Sequential(*(Block() for _ in range(N_LAYERS)))
        self.ln_f = nn.LayerNorm(N_EMBED)
        self.head = nn.Linear(N_EMBED, vocab_size, bias=False)
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:
                depth = 2 * N_LAYERS if "project" in name else 1  # that many are added to x
                nn.init.normal_(weight, std=0.02 * depth**-0.5)
        nn.init.normal_(self.head.weight, std=0.2 * N_EMBED**-0.5)  # a nearly uniform guess

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, V): a score for each of the V characters in the vocabulary."""
        positions = torch.arange(ids.size(1), device=ids.device)
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.quick):
            x = self.token_embedding(ids) + self.position_embedding(positions)  # (B, T, C) + (T, C)
            x = self.blocks(dropout(x, self.training))
            return self.head(self.ln_f(x)).float()


def train_step(model: GPT, optimizer: AdamW, x: Tensor, y: Tensor, at_once: int) -> None:
    """Learn a batch, `at_once` windows at a time. / 学习一批窗口，每次 at_once 个。"""
    model.train()
    optimizer.zero_grad()
    for ids, targets in zip(x.split(at_once), y.split(at_once), strict=True):
        logits = model(ids).flatten(0, 1)  # (B, T, V) -> (B * T, V)
        loss = F.cross_entropy(logits, targets.flatten()) * len(ids) / len(x)
        loss.backward()  # gradients add up to those of the whole batch / 梯度累加成整批的梯度
    optimizer.step()


@torch.no_grad()
def estimate_loss(model: GPT, data: Tensor) -> float:
    """Average the loss over ten batches, without dropout. / 十批的平均损失，不用 dropout。"""
    model.eval()
    batches = [get_batch(data) for _ in range(10)]  # below: (B, T, V) -> (B * T, V)
    return sum(F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item() for x, y in batches) / 10


@torch.no_grad()
def generate(model: GPT, ids: Tensor, length: int) -> Tensor:
    """Continue texts character by character: (B, T) -> (B, T + length). / 逐字续写。"""
    model.eval()
    torch.manual_seed(1337)  # the same random numbers each time / 每次用同样的随机数
    for _ in range(length):
        logits = model(ids[:, -BLOCK_SIZE:])[:, -1]  # (B, T, V) -> (B, V)
        chosen = torch.multinomial(F.softmax(logits, dim=-1), 1)  # (B, V) -> (B, 1)
        ids = torch.cat([ids, chosen], dim=1)
    return ids


def hardware() -> tuple[str, bool]:
    """Choose a device, and say if it has bfloat16. / 选定设备，并判断它是否支持 bfloat16。"""
    if torch.cuda.is_available():
        return "cuda", torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.mps.is_available():
        return "mps", False
    can_ask = hasattr(torch.cpu, "get_capabilities")  # not in old versions / 旧版本没有
    return "cpu", can_ask and torch.cpu.get_capabilities().get("avx512_bf16", False)


def main() -> None:
    """Read, write, train, write. / 读，写，训练，再写。"""
    if N_EMBED % N_HEADS:
        sys.exit("N_EMBED must be a multiple of N_HEADS. / N_EMBED 必须是 N_HEADS 的整数倍。")
    text = read_text()
    characters = sorted(set(text))
    device, quick = hardware()
    at_once = 16 if device == "cpu" else BATCH_SIZE  # fits CPU caches / 适应 CPU 缓存
    data = torch.tensor(encode(text, characters), device=device)
    train_data, test_data = data.tensor_split([len(data) * 9 // 10])
    torch.manual_seed(1337)
    model = GPT(len(characters), quick).to(device)
    optimizer = AdamW(model.parameters(), lr=LEARNING_RATE)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters on {device} / 个参数")
    if device == "cpu":
        idle = AdamW(model.parameters(), lr=0.0)  # leaves the weights alone / 不改变权重
        for _ in range(3):  # the third step counts: the first are slower / 前两步偏慢，以第三步为准
            began = time.perf_counter()
            train_step(model, idle, *get_batch(train_data), at_once)
        hours, minutes = divmod(1 + int(MAX_STEPS * (time.perf_counter() - began) / 60), 60)
        print(f"{MAX_STEPS} steps will take about {hours} h {minutes} min on this machine.")
        print(f"在这台机器上，{MAX_STEPS} 步大约需要 {hours} 小时 {minutes} 分钟。")
        print("In minutes instead / 几分钟出结果: zigpt train input.txt")

    prompt = torch.zeros(1, 1, dtype=torch.long, device=device)  # id 0, in most texts a line break
    print("\nThe untrained model writes: / 未训练的模型写道：")
    print(decode(generate(model, prompt, 300)[0].tolist(), characters), flush=True)
    for step in range(MAX_STEPS + 1):
        if step % EVAL_INTERVAL == 0 or step == MAX_STEPS:
            train, test = estimate_loss(model, train_data), estimate_loss(model, test_data)
            print(f"step {step}: train loss {train:.4f}, test loss {test:.4f}", flush=True)
        if step < MAX_STEPS:
            train_step(model, optimizer, *get_batch(train_data), at_once)
    print("\nThe trained model writes: / 训练后的模型写道：")
    print(decode(generate(model, prompt, 300)[0].tolist(), characters))


if __name__ == "__main__":
    main()
