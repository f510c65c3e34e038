"""The GPT: ids (B, T) in, logits (B, T, V) out.

One legend for the whole project:

    B batch      windows of text side by side
    T time       positions in a window
    C channels   width of the residual stream, `n_embd`
    H heads      of attention in each block
    D head size  C / H channels
    V vocabulary distinct characters

The architecture is that of GPT-2 (Radford et al. 2019), after the decoder of arXiv:1706.03762, but
for an untied head and no dropout on attention weights. This module knows no text, no file and no
optimizer. Everything that happens between positions happens in functions passed to `forward`:
`attend` and, in the modern architecture, `previous`. The rest of the model treats each position by
itself. So a key-value cache, a picture of the attention or an ablation is just another function
passed to the same model.

The modern architecture differs in three points. Attention rotates queries and keys by their
position (`with_rotary`); the learned vector for each position is gone. Half of the channels that
enter a branch come from the previous position (token shift, arXiv:2305.13048), so the previous
character is known without any attention. And training starts from the frequencies of the characters
(`start_from`): the first loss is that of counting them, not ln V.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from zigpt.gpt.attention import Attend, Previous, fast_attention, previous_position, with_rotary
from zigpt.gpt.config import GPTConfig

# The number of a branch and its input; returns what the branch is given instead.
TokenShift = Callable[[int, Float[Tensor, "B T C"]], Float[Tensor, "B T C"]]


def next_character_loss(
    logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Mean of -log p(target) over all B x T predictions, in nats per character."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """GELU in GPT-2's tanh form (arXiv:1606.08415); in bfloat16 the exact form.

    They differ by less than 0.0005; on a CPU in bfloat16 the exact form takes a third of the time.
    """
    return F.gelu(x, approximate="none" if x.dtype == torch.bfloat16 else "tanh")


class Dropout(nn.Module):
    """In training, set each value to 0 with probability p and scale up the others to compensate.

    Like torch's own, but faster on a CPU, where drawing a random number for each value takes an
    eighth of a training step: here one draw of 64 bits decides about four values, and p is rounded
    to 16 bits.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """Apply a mask drawn from torch's global generator."""
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return F.dropout(x, self.p, self.training)
        dropped = min(round(self.p * 2**16), 2**16 - 1)  # of 65,536 equally likely numbers
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        numbers = draws.view(torch.int16)[: x.numel()].view(x.shape)
        kept = numbers.ge_(dropped - 2**15).to(x.dtype)  # in place: a bool would convert slowly
        return x * kept.mul_(2**16 / (2**16 - dropped))


class SelfAttention(nn.Module):
    """Each position's query (q) is matched with keys (k) up to its own, and reads values (v)."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.project = nn.Linear(config.n_embd, config.n_embd)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "B T C"], attend: Attend) -> Float[Tensor, "B T C"]:
        """project(attend(q, k, v)), all heads at once."""
        q, k, v = (self._split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        heads = attend(self.layer, q, k, v)
        # (B, H, T, D) -> (B, T, C)
        return self.dropout(self.project(heads.transpose(1, 2).flatten(-2)))

    def _split_heads(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B H T D"]:
        # (B, T, C) -> (B, H, T, D)
        return x.view(*x.shape[:-1], self.n_head, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """project(GELU(expand(x))): each position by itself, through a layer four times as wide."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.project = nn.Linear(4 * config.n_embd, config.n_embd)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """Expand, apply GELU, project, apply dropout."""
        return self.dropout(self.project(gelu(self.expand(x))))


class Block(nn.Module):
    """Attention, then feed-forward: two residual branches, each behind its own LayerNorm."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = SelfAttention(config, layer)
        self.ln_2 = nn.LayerNorm(config.n_embd)
        self.ffn = FeedForward(config)

    def forward(
        self, x: Float[Tensor, "B T C"], attend: Attend, shift: TokenShift
    ) -> Float[Tensor, "B T C"]:
        """x + attn(shift(ln_1(x))), then x + ffn(shift(ln_2(x))); classic blocks shift nothing."""
        x = x + self.attn(shift(2 * self.layer, self.ln_1(x)), attend)
        return x + self.ffn(shift(2 * self.layer + 1, self.ln_2(x)))


class GPT(nn.Module):
    """A decoder-only Transformer.

    The initial weights are drawn from `generator`, by default torch's global one.
    """

    def __init__(self, config: GPTConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        if config.architecture == "classic":
            self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self._initialise(generator)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        attend: Attend = fast_attention,
        previous: Previous = previous_position,
        start: int = 0,
    ) -> Float[Tensor, "B T V"]:
        """Score every possible next character, at all positions at once.

        `start` is the position of the first id, where `attend` and `previous` cache earlier ones.

        Raises:
            ValueError: the ids reach beyond the block size.
        """
        end = start + ids.size(1)
        if end > self.config.block_size:
            raise ValueError(
                f"expected at most {self.config.block_size} positions, got {end}: "
                "give the model the last block_size characters"
            )
        positions = torch.arange(start, end, device=ids.device)
        x = self.token_embedding(ids)
        if self.config.architecture == "classic":
            x = x + self.position_embedding(positions)
            shift: TokenShift = _no_shift
        else:
            attend = with_rotary(attend, positions, self.config.n_embd // self.config.n_head)
            shift = _shift_half(previous)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, attend, shift)
        return self.head(self.ln_f(x))

    @torch.no_grad()
    def start_from(self, frequencies: Float[Tensor, " V"]) -> None:
        """Let the untrained model predict each character as often as it occurs, whatever precedes.

        The channels of a LayerNorm's output add up to 0 before its bias. So with a bias of 1, the
        head's weights log p / C make the logit log p. What is random in them stays, but small.
        """
        self.ln_f.bias.fill_(1.0)
        random = self.head.weight - self.head.weight.mean(-1, keepdim=True)
        counted = frequencies.log().unsqueeze(-1) / self.config.n_embd
        self.head.weight.copy_(counted + 0.1 * random)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        """N(0, 0.02²) as in GPT-2, over √(2 n_layer) where a layer writes to the residual stream.

        Only the head differs, because it is not tied to the embedding as in GPT-2: its scores start
        with a standard deviation of 0.2 at any width, so the first loss is close to ln V.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02, generator=generator)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.normal_(
            self.head.weight, std=0.2 / math.sqrt(self.config.n_embd), generator=generator
        )
        for module in self.modules():
            if isinstance(module, SelfAttention | FeedForward):
                module.project.weight.div_(math.sqrt(2 * self.config.n_layer))


def _no_shift(branch: int, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
    return x


def _shift_half(previous: Previous) -> TokenShift:
    def shift(branch: int, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        half = x.size(-1) // 2
        return torch.cat((previous(branch, x[..., :half]), x[..., half:]), dim=-1)

    return shift
