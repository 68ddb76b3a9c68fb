"""A real Chromium for the tests of pages, and a server for it to ask."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright
from starlette.types import ASGIApp

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
#: Without the last ones Chromium looks for its maker's hosts, many at a time.
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
SWITCHES += ("--disable-component-update", "--disable-sync")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        await browser.close()


@asynccontextmanager
async def served(app: ASGIApp, host: str) -> AsyncIterator[str]:
    """The app on a free port; answers with its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://{host}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def photograph(page: Page, file: Path) -> None:
    """Keeps what a page looks like, where pictures are asked for: `TEST_PICTURES=1`."""
    if "TEST_PICTURES" in os.environ:
        file.parent.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=file, full_page=True)


async def check_accessible(page: Page, what: str) -> None:
    """Nothing that axe finds fault with, and nothing wider than the screen."""
    results = await Axe().run(page)
    assert results.violations_count == 0, f"{what}: {results.generate_report()}"
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{what} is too wide"
