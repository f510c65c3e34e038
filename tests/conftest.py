"""What the tests share: a tiny model, a small text of our own making, single-threaded torch,
and a page in a browser."""

import random
import shutil

import pytest
import torch
from hypothesis import settings
from playwright.sync_api import sync_playwright

from stress.faulty_disk import FaultyDisk
from stress.settings import shortened
from tests.serving import BROWSER, GOLDEN, QUIET, Server
from zigpt import storage
from zigpt.data.batches import Corpus
from zigpt.gpt.config import GPTConfig
from zigpt.gpt.model import GPT
from zigpt.runs import session

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


@pytest.fixture(scope="module")
def hurried():
    """Save at every step, and leave out what only takes time."""
    with pytest.MonkeyPatch.context() as patch, shortened():
        patch.setattr(session, "SAVE_EVERY", 0.0)
        patch.setattr(storage, "disk", FaultyDisk())
        yield


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as api:
        browser = api.chromium.launch(executable_path=shutil.which(BROWSER), args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server():
    with Server(GOLDEN) as server:
        yield server


@pytest.fixture(params=["en", "zh"])
def page(browser, server, request):
    """The page in one language; fails afterwards if it complained or asked anybody else."""
    locale = {"en": "en-US", "zh": "zh-CN"}[request.param]
    context = browser.new_context(locale=locale, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.address)
    page.wait_for_selector("#panel")
    yield page
    context.close()
    assert complaints == []
    assert all(url.startswith((f"http://{server.host}/", "data:")) for url in asked)
