"""What a lecture writes down: a GPT in plain PyTorch, head by head, fp32, no cache.

The yardstick for our own speed. It has the shape of our model, dropout included, and none of the
care: heads in a Python loop, dropout inside the attention, all windows at once, the whole window
again for each character written, characters looked up one by one.
"""

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F

from zigpt.gpt.config import GPTConfig


class Head(nn.Module):
    """One head: project, score, mask, softmax, drop, mix."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        size = config.n_embd // config.n_head
        self.key = nn.Linear(config.n_embd, size)
        self.query = nn.Linear(config.n_embd, size)
        self.value = nn.Linear(config.n_embd, size)
        self.register_buffer("mask", torch.ones(config.block_size, config.block_size).tril())
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, D)."""
        length = x.size(1)
        q, k = self.query(x), self.key(x)
        scores = q @ k.transpose(-2, -1) * k.size(-1) ** -0.5
        mask = self.get_buffer("mask")[:length, :length]
        weights = F.softmax(scores.masked_fill(mask == 0, float("-inf")), dim=-1)
        return self.dropout(weights) @ self.value(x)


class Block(nn.Module):
    """Attention and feed-forward, each on a residual branch."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width = config.n_embd
        self.heads = nn.ModuleList(Head(config) for _ in range(config.n_head))
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.ffn = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(config.dropout),
        )
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        h = self.ln_1(x)
        x = x + self.dropout(self.project(torch.cat([head(h) for head in self.heads], dim=-1)))
        return x + self.ffn(self.ln_2(x))


class Textbook(nn.Module):
    """Embeddings, blocks, head."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = nn.Embedding(config.block_size, config.n_embd)
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.n_layer)))
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.head = nn.Linear(config.n_embd, config.vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, V)."""
        x = self.tokens(ids) + self.positions(torch.arange(ids.size(1), device=ids.device))
        return self.head(self.ln_f(self.blocks(x)))


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Int[Tensor, "B T"],
    targets: Int[Tensor, "B T"],
) -> None:
    """Forward, backward, update: all windows at once."""
    loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def write(model: nn.Module, ids: Int[Tensor, "B T"], length: int, block_size: int) -> None:
    """Continue `ids` by `length` characters."""
    model.eval()
    for _ in range(length):
        probabilities = F.softmax(model(ids[:, -block_size:])[:, -1], dim=-1)
        ids = torch.cat([ids, torch.multinomial(probabilities, 1)], dim=1)


def encode(text: str) -> list[int]:
    """Look every character up in a dictionary."""
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    return [number[character] for character in text]
