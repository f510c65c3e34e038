"""What the tests share: a tiny model, a small text of our own making, single-threaded torch."""

import random

import pytest
import torch
from hypothesis import settings

from zigpt.config import GPTConfig
from zigpt.corpus.batches import Corpus
from zigpt.model import GPT

# A deadline for a property would be a timed test, and these machines are noisy.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
torch.set_num_threads(1)  # tests run side by side; two threads each would only wait for each other

_WORDS = (
    "the a one stone river night lamp song bread old small quiet bright sings falls waits "
    "under over beside before after and but while because\n"
)


def story(length: int, seed: int = 0) -> str:
    """Make a text of `length` characters with words, lines and some regularity to learn."""
    choose = random.Random(seed)
    words: list[str] = []
    size = 0
    while size <= length:
        words.append(choose.choice(_WORDS.split(" ")))
        size += len(words[-1]) + 1
    return " ".join(words)[:length]


@pytest.fixture(params=["classic", "modern"])
def tiny_config(request: pytest.FixtureRequest) -> GPTConfig:
    return GPTConfig(11, 8, n_layer=2, n_head=2, n_embd=16, dropout=0.0, architecture=request.param)


@pytest.fixture
def tiny_model(tiny_config: GPTConfig) -> GPT:
    """A model whose weights are far from their small initial ones, so that errors show."""
    model = GPT(tiny_config, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model.eval()


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return Corpus.from_text(story(6000))
