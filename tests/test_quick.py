"""The quick decoder computes what the model computes, within the precision of eight bits."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.texts import story
from zigpt.data.batches import Corpus
from zigpt.errors import ModelFileError
from zigpt.formats.onnx_int8 import quantize
from zigpt.formats.saved_model import SavedModel, save_model, weights_of
from zigpt.generate.loop import generate
from zigpt.generate.quick import QuickDecoder
from zigpt.generate.reference import ReferenceDecoder
from zigpt.gpt.config import GPTConfig, SampleConfig, TrainConfig
from zigpt.gpt.model import GPT
from zigpt.training.loop import TrainState, split_loss, train

CLASSIC = [
    GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=16),
    GPTConfig(vocab_size=5, block_size=1, n_layer=1, n_head=1, n_embd=4),
    GPTConfig(vocab_size=7, block_size=9, n_layer=1, n_head=5, n_embd=35),
    GPTConfig(vocab_size=300, block_size=16, n_layer=1, n_head=3, n_embd=72),
]
SHAPES = [
    *CLASSIC,
    *(replace(config, architecture="modern") for config in CLASSIC if config.n_embd != 35),
    GPTConfig(9, block_size=12, n_layer=2, n_head=5, n_embd=30, architecture="modern"),
]


def quick(model, count=1):
    return QuickDecoder(model.config, weights_of(model), count)


def scores_along(decoder, ids, first):
    """Scores after each prefix of `ids`, the first of them read at once."""
    lengths = range(first, ids.shape[1] + 1)
    return np.stack([decoder.next_logits(ids[:, :length]) for length in lengths])


@pytest.fixture(scope="module", params=["classic", "modern"])
def trained(request):
    """A model that has learned something, and its text."""
    corpus = Corpus.from_text(story(20_000))
    config = GPTConfig(
        corpus.tokenizer.vocab_size, block_size=32, n_layer=2, n_head=2, n_embd=64,
        architecture=request.param,
    )  # fmt: skip
    training = TrainConfig(batch_size=16, learning_rate=3e-3, max_steps=150, eval_interval=150)
    state = TrainState.initialise(config, training, torch.device("cpu"))
    for _ in train(state, corpus):
        pass
    return state.model.eval(), corpus


@pytest.mark.parametrize("architecture", ["classic", "modern"])
def test_reading_several_characters_at_once_equals_reading_them_one_by_one(architecture):
    config = GPTConfig(11, block_size=16, n_layer=2, n_head=2, n_embd=16, architecture=architecture)
    model = GPT(config, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator()), alpha=0.1)
    ids = np.random.default_rng(0).integers(11, size=(1, 40))
    slow, fast, rounded = (
        ReferenceDecoder(model, 1, False),
        ReferenceDecoder(model),
        quick(model),
    )
    for length in (5, 6, 9, 13, 16, 20, 21, 24, 40):
        expected = slow.next_logits(ids[:, :length])
        np.testing.assert_allclose(fast.next_logits(ids[:, :length]), expected, atol=1e-5)
        assert np.abs(rounded.next_logits(ids[:, :length]) - expected).max() < 0.1 * expected.std()


@pytest.mark.parametrize(
    "config", SHAPES, ids=lambda c: f"{c.architecture}, {c.n_head} heads of {c.n_embd}"
)
@pytest.mark.parametrize("first", [1, 5])
def test_scores_equal_those_of_the_model_to_a_few_percent(config, first):
    model = GPT(config, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():  # weights large enough for attention to choose, small enough to be usual
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator()), alpha=0.05)
    ids = np.random.default_rng(0).integers(config.vocab_size, size=(3, 3 * config.block_size + 5))
    exact = scores_along(ReferenceDecoder(model, 3), ids, first)
    rounded = scores_along(quick(model, 3), ids, first)
    assert np.sqrt(((rounded - exact) ** 2).mean()) < 0.03 * exact.std()


def test_a_value_that_stands_out_is_not_cut_off():
    config = GPTConfig(5, block_size=4, n_layer=1, n_head=1, n_embd=64)
    model = GPT(config, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        # One channel of the embedding is all there is: after LayerNorm it is nearly √64.
        model.token_embedding.weight[:, 0] += 10 * torch.tensor([-1.0, 1, -1, 1, 1])
        attn = model.blocks[0].attn
        attn.qkv.weight[2 * 64] = torch.eye(64)[0]
        attn.project.weight *= 20
    ids = np.array([[0, 1, 2, 3], [1, 0, 4, 1]])
    exact = ReferenceDecoder(model, 2).next_logits(ids)
    rounded = quick(model, 2).next_logits(ids)
    assert np.sqrt(((rounded - exact) ** 2).mean()) < 0.04 * exact.std()


def test_rounding_costs_less_than_a_thousandth_of_a_nat(trained):
    model, corpus = trained
    windows = corpus.windows("validation", model.config.block_size, 16, 16)
    inputs, targets = next(windows)
    decoder = quick(model, len(inputs))
    scores = scores_along(decoder, inputs, 1).transpose(1, 0, 2)
    loss = torch.nn.functional.cross_entropy(
        torch.from_numpy(scores).flatten(0, 1), torch.from_numpy(targets).flatten()
    )
    exact = split_loss(model, corpus, "validation", 16)
    assert abs(float(loss) - exact) < 1e-3
    assert exact < 2.0  # it has learned something that could have been lost


def test_a_text_does_not_depend_on_those_beside_it(trained):
    model, _ = trained
    together = list(generate(quick(model, 3), [1, 2], 80, SampleConfig(seed=5)))
    for i in range(3):
        alone = list(generate(quick(model), [1, 2], 80, SampleConfig(seed=5 + i)))
        assert [int(ids[i]) for ids in together] == [int(ids[0]) for ids in alone]


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(poison):
    model = GPT(SHAPES[0], torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        model.blocks[1].ffn.expand.weight[3, 3] = poison
    with pytest.raises(ModelFileError, match="weights are not finite"):
        quick(model)


@pytest.mark.parametrize(
    ("columns", "size"),
    [(1, 32), (31, 32), (32, 32), (33, 32), (100, 32), (192, 64), (384, 128), (512, 128)],
)
def test_quantized_weights_are_off_by_half_a_step_at_most(columns, size):
    weight = np.random.default_rng(columns).normal(size=(7, columns)).astype(np.float32)
    weight[2] = 0
    bytes_, scales = quantize(weight)
    assert bytes_.shape == (7, -(-columns // size), size)
    back = ((bytes_.astype(np.float32) - 128) * scales[..., None]).reshape(7, -1)[:, :columns]
    steps = np.repeat(scales, size, axis=1)[:, :columns]
    assert (np.abs(back - weight) <= 0.5001 * steps).all()
    assert (back[2] == 0).all()


def test_writing_does_not_load_torch(trained, tmp_path):
    model, corpus = trained
    path = tmp_path / "model.safetensors"
    save_model(path, SavedModel(model, corpus.tokenizer, {}))
    program = (
        "import sys; from zigpt.cli.main import main; "
        f"code = main(['sample', {str(path)!r}, '--chars', '20']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 21


def test_nothing_is_written_into_the_home_folder(tmp_path):
    """matplotlib keeps a list of fonts, by default there: here it is kept elsewhere."""
    home, fonts = tmp_path / "home", tmp_path / "fonts"
    home.mkdir()
    (tmp_path / "book.txt").write_text(story(3000))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))
    } | {"HOME": str(home), "MPLCONFIGDIR": str(fonts)}
    for words in (
        ["train", "book.txt", "--preset", "tiny", "--max-steps", "2", "--run", "run"],
        ["sample", "run", "--chars", "5"],
    ):
        command = [sys.executable, "-m", "zigpt", *words]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert list(home.rglob("*")) == []
    assert (tmp_path / "run" / "loss.png").exists()
