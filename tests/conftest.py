"""One real platform for all of these tests, a browser, and a connection to the gateway."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from local_platform.browser import find_browser
from playwright.async_api import Browser, async_playwright

from .running_platform import REPOSITORY, RunningPlatform, free_ports

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
    """Ready, with the demonstration's people in it.

    Not below pytest's own directory: another session of pytest that begins meanwhile closes that to everybody but its
    owner, and PostgreSQL, which is not root, opens files by their whole path now and then.
    """
    with tempfile.TemporaryDirectory(prefix="points-platform-") as directory:
        platform = RunningPlatform(Path(directory) / "state", free_ports())
        try:
            platform.start()
            yield platform
        finally:
            if platform.is_running:
                platform.stop()


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
