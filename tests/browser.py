"""Fixtures of the page in a real browser; `pytest_plugins` in the files that need them."""

import shutil
import zlib

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.serving import BROWSER, GOLDEN, QUIET, SOON, Server

expect.set_options(timeout=SOON)


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


def pytest_generate_tests(metafunc):
    """Show half of the tests the page in Chinese, those marked `both_languages` in both."""
    if "page" in metafunc.fixturenames:
        languages = ["en", "zh"]
        if not list(metafunc.definition.iter_markers("both_languages")):
            languages = [languages[zlib.crc32(metafunc.function.__name__.encode()) % 2]]
        metafunc.parametrize("page", languages, indirect=True)


@pytest.fixture
def page(browser, server, request):
    """The page in one language; fails afterwards if it logged anything or left this machine."""
    locale = {"en": "en-US", "zh": "zh-CN"}[request.param]
    context = browser.new_context(locale=locale, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    logged, requested = [], []
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda error: logged.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(server.address)
    page.wait_for_selector("#panel")
    yield page
    context.close()
    assert logged == []
    assert all(url.startswith((f"http://{server.host}/", "data:")) for url in requested)
