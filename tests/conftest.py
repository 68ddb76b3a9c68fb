"""One real platform for all of these tests, a browser, and a connection to the gateway."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from local_platform.browser import find_browser
from playwright.async_api import Browser, async_playwright

from .running_platform import REPOSITORY, RunningPlatform, platform_of_its_own

#: Without the last ones Chromium looks for its maker's hosts, many at a time.
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def platform() -> Iterator[RunningPlatform]:
    """One for all tests that leave it as they found it."""
    with platform_of_its_own() as platform:
        yield platform


@pytest.fixture(scope="session")
async def http(platform: RunningPlatform) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the gateway by plain http; credentials go with each call."""
    async with httpx.AsyncClient(base_url=platform.gateway, timeout=60.0, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    program = find_browser()
    assert program is not None, "there is no Chromium: make test installs one"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=SWITCHES)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """Where pictures of all pages are left for people to look at; git ignores it."""
    directory = REPOSITORY / "test-artefacts"
    directory.mkdir(exist_ok=True)
    return directory
