"""The model against a textbook implementation, against Hugging Face, and against its promises."""

import math

import pytest
import torch

from tests import reference
from zigpt.gpt import attention as attention_module
from zigpt.gpt.attention import (
    attention_weights,
    causal_mask,
    fast_attention,
    readable_attention,
    weights_kept,
    with_rotary,
)
from zigpt.gpt.config import GPTConfig
from zigpt.gpt.model import GPT, Dropout, gelu, next_character_loss

CLOSE = {"rtol": 0.0, "atol": 1e-4}


@pytest.fixture
def ids(tiny_config):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(tiny_config.vocab_size, (3, tiny_config.block_size), generator=generator)


@pytest.fixture(params=[256, 3, 0], ids=["at once", "by rows", "library"])
def every_way(request, monkeypatch):
    """Run a test in float32 through every way that the fused form can take."""
    monkeypatch.setattr(attention_module, "_CHUNK", request.param)
    monkeypatch.setattr(attention_module, "_is_chunked", lambda *_: request.param > 0)


@pytest.mark.usefixtures("every_way")
def test_fused_and_readable_form_give_the_textbooks_logits(tiny_model, ids):
    expected = torch.stack([reference.logits(tiny_model, row.tolist()) for row in ids])
    torch.testing.assert_close(tiny_model(ids), expected, **CLOSE)
    torch.testing.assert_close(tiny_model(ids, readable_attention), expected, **CLOSE)


@pytest.mark.usefixtures("every_way")
def test_fused_and_readable_form_give_the_same_gradients(tiny_model, ids):
    def gradients(attend):
        loss = next_character_loss(tiny_model(ids, attend), ids.roll(-1, dims=1))
        return torch.autograd.grad(loss, list(tiny_model.parameters()))

    for fused, readable in zip(
        gradients(fast_attention), gradients(readable_attention), strict=True
    ):
        torch.testing.assert_close(fused, readable, **CLOSE)
        assert fused.abs().sum() > 0


@pytest.mark.parametrize("length", [1, 255, 256, 257, 600])
def test_in_bfloat16_chunked_attention_equals_the_readable_form(length):
    generator = torch.Generator().manual_seed(1)
    q, k, v = torch.randn(3, 2, 2, length, 8, generator=generator).bfloat16()
    exact = readable_attention(0, q.float(), k.float(), v.float())
    torch.testing.assert_close(fast_attention(0, q, k, v).float(), exact, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("precision", "length", "rows"),
    [
        (torch.float32, 64, False),
        (torch.bfloat16, 64, True),
        (torch.bfloat16, 2048, True),
        (torch.bfloat16, 2049, False),
    ],
)
def test_attention_on_a_cpu_takes_the_faster_of_two_ways(monkeypatch, precision, length, rows):
    taken = []
    monkeypatch.setattr(
        attention_module, "_chunked_attention", lambda q, k, v: taken.append(q) or v
    )
    fast_attention(0, *torch.zeros(3, 1, 1, length, 1, dtype=precision))
    assert len(taken) == rows
    kept = weights_kept(length, torch.device("cpu"), precision)
    assert (kept > 0) == rows


@pytest.mark.parametrize("tiny_config", ["classic"], indirect=True)
def test_hugging_faces_gpt2_gives_the_same_logits_on_equal_weights(tiny_model, ids):
    from transformers import GPT2Config, GPT2LMHeadModel

    ours, config = tiny_model.state_dict(), tiny_model.config
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size, n_positions=config.block_size, n_embd=config.n_embd,
            n_layer=config.n_layer, n_head=config.n_head, tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip
    name = {"attn.c_attn": "attn.qkv", "attn.c_proj": "attn.project", "mlp.c_fc": "ffn.expand",
            "mlp.c_proj": "ffn.project", "transformer.wte": "token_embedding",
            "transformer.wpe": "position_embedding", "transformer.ln_f": "ln_f",
            "lm_head": "head", "transformer.h": "blocks"}  # fmt: skip
    weights = {}
    for theirs_name, value in theirs.state_dict().items():
        ours_name = theirs_name
        for old, new in name.items():
            ours_name = ours_name.replace(old, new)
        # Hugging Face's Conv1D stores its matrices transposed.
        transposed = "c_" in theirs_name and value.dim() == 2
        weights[theirs_name] = ours[ours_name].T if transposed else ours[ours_name]
    theirs.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(tiny_model(ids), theirs(ids).logits, **CLOSE)


def test_queries_and_keys_are_rotated_as_in_hugging_faces_llama():
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    q, k, v = torch.randn(3, 2, 4, 9, 16, generator=torch.Generator().manual_seed(5))
    config = LlamaConfig(hidden_size=64, num_attention_heads=4)
    positions = torch.arange(9) + 3
    cos, sin = LlamaRotaryEmbedding(config)(q, positions.unsqueeze(0))
    expected = apply_rotary_pos_emb(q, k, cos, sin)

    def keep(layer, q, k, v):
        torch.testing.assert_close((q, k), expected, **CLOSE)
        return v

    assert with_rotary(keep, positions, 16)(0, q, k, v) is v


@pytest.mark.usefixtures("every_way")
@pytest.mark.parametrize("attend", [fast_attention, readable_attention])
def test_the_gradient_of_a_positions_loss_on_later_characters_is_exactly_zero(tiny_model, attend):
    ids = torch.randint(11, (1, 8), generator=torch.Generator().manual_seed(4))
    seen = []

    def keep(module, inputs, output):
        output.retain_grad()
        seen.append(output)

    tiny_model.token_embedding.register_forward_hook(keep)
    for t in range(8):
        logits = tiny_model(ids, attend)
        next_character_loss(logits[:, t : t + 1], ids[:, :1]).backward()
        gradient = seen[-1].grad[0].abs().sum(-1)
        assert (gradient[t + 1 :] == 0).all()
        assert (gradient[: t + 1] > 0).all()


@pytest.mark.usefixtures("every_way")
def test_later_characters_cannot_change_earlier_predictions(tiny_model, ids):
    changed = ids.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 11
    before, after = tiny_model(ids), tiny_model(changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).all(-1).all()


def test_attention_rows_sum_to_one_and_never_reach_forward():
    q, k = torch.randn(2, 3, 2, 5, 4).unbind(0)
    weights = attention_weights(q, k)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 5))
    assert (weights.masked_select(~causal_mask(5)) == 0).all()
    assert (weights.masked_select(causal_mask(5)) > 0).all()


def test_the_mask_is_lower_triangular():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True] * 3]


@pytest.mark.parametrize(
    "config",
    [GPTConfig(), GPTConfig(vocab_size=6074, block_size=64, n_layer=4, n_head=4, n_embd=128)],
    ids=["seed", "laptop, Chinese"],
)
def test_loss_at_initialisation_is_that_of_a_uniform_guess(config):
    generator = torch.Generator().manual_seed(5)
    model = GPT(config, generator).eval()
    ids = torch.randint(config.vocab_size, (2, config.block_size), generator=generator)
    with torch.no_grad():
        loss = next_character_loss(model(ids), ids.roll(-1, dims=1))
    assert loss.item() == pytest.approx(math.log(config.vocab_size), abs=0.1)


def test_initial_weights_are_those_of_gpt2():
    config = GPTConfig(n_layer=2)
    model = GPT(config, torch.Generator().manual_seed(6))
    block = model.blocks[0]
    assert block.attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.05)
    for writer in (block.attn.project, block.ffn.project):
        assert writer.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * 2), rel=0.02)
        assert not writer.bias.any()


def test_the_generator_alone_decides_the_initial_weights(tiny_config):
    def weights(seed):
        model = GPT(tiny_config, torch.Generator().manual_seed(seed))
        return torch.cat([p.flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_window_longer_than_the_block_is_refused(tiny_model):
    with pytest.raises(ValueError, match="expected at most 8 positions, got 9"):
        tiny_model(torch.zeros(1, 9, dtype=torch.int64))


def test_dropout_acts_on_the_embedding_sum_and_on_both_residual_branches(tiny_config):
    model = GPT(tiny_config)
    dropped = [name for name, module in model.named_modules() if name.endswith("dropout")]
    branches = [f"blocks.{n}.{part}.dropout" for n in range(2) for part in ("attn", "ffn")]
    assert dropped == ["dropout", *branches]


@pytest.mark.parametrize("share", [0.001, 0.2, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share):
    torch.manual_seed(0)
    ones = torch.ones(7, 301, 33)
    result = Dropout(share)(ones)
    kept = float((result != 0).float().mean())
    assert kept == pytest.approx(1 - share, abs=0.01)
    assert len(result.unique()) <= 2
    assert float(result[result != 0].mean()) == pytest.approx(1 / (1 - share), rel=1e-2)
    assert float(result.mean()) == pytest.approx(1, abs=0.03)


def test_dropout_is_a_function_of_the_seed_and_its_gradient_has_the_same_mask():
    x = torch.ones(3, 5, 7, requires_grad=True)
    torch.manual_seed(1)
    first = Dropout(0.4)(x)
    torch.manual_seed(1)
    assert torch.equal(first, Dropout(0.4)(x))
    assert not torch.equal(first, Dropout(0.4)(x))
    first.sum().backward()
    assert torch.equal(x.grad, first.detach())


def test_neighbouring_values_are_dropped_independently():
    """Although one draw of 64 bits decides about four values."""
    torch.manual_seed(2)
    kept = (Dropout(0.5)(torch.ones(1, 1, 1 << 16)) != 0).float().flatten()
    for apart in range(1, 9):
        both = float((kept[:-apart] * kept[apart:]).mean())
        assert both == pytest.approx(0.25, abs=0.01), apart


def test_without_training_dropout_does_nothing():
    x = torch.randn(2, 3, 4)
    assert Dropout(0.9).eval()(x) is x or torch.equal(Dropout(0.9).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_gelu_in_bfloat16_is_the_tanh_form_to_within_its_rounding():
    x = torch.linspace(-8, 8, 10_001)
    exact = reference.gelu(x.bfloat16().float())
    assert gelu(x.bfloat16()).float().sub(exact).abs().max() < 0.0005 + 8 * 2**-8 / 2
    small = x.abs() < 1
    assert gelu(x[small].bfloat16()).float().sub(exact[small]).abs().max() < 0.0005 + 2**-9
    torch.testing.assert_close(gelu(x), reference.gelu(x), rtol=0, atol=1e-6)
