"""What most tests share: a tiny model, a small text, single-threaded torch."""

import os

import pytest
import torch
from hypothesis import settings

from tests.texts import story
from zigpt.data.batches import Corpus
from zigpt.gpt.config import GPTConfig
from zigpt.gpt.model import GPT

# A deadline for a property would be a timed test, and these machines are noisy.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
os.environ["ZIGPT_LANG"] = "en"  # whatever the locale of this machine
torch.set_num_threads(1)  # tests run side by side; two threads each would only wait for each other


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
