"""A shop with a rehearsal platform behind a bad network; time and chance are handed in, nothing waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import FastAPI
from rewards_shop.app import create_app
from rewards_shop.rehearsal.app import SECRET, create_rehearsal
from rewards_shop.rehearsal.platform import VENDOR, WEBHOOK_SECRET, RehearsalPlatform
from rewards_shop.rehearsal.wire import Wire
from rewards_shop.settings import ShopSettings

PLATFORM_URL = "http://localhost:8611"
OpenShop = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Rounds:
    """The background task's rounds, one by one."""

    def __init__(self) -> None:
        self._go, self.idle = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.idle.set()
        await self._go.wait()
        self._go.clear()

    async def run_one(self) -> None:
        await self.idle.wait()
        self.idle.clear()
        self._go.set()
        await self.idle.wait()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stage(clock: Clock) -> RehearsalPlatform:
    return RehearsalPlatform(PLATFORM_URL, clock=clock)


@pytest.fixture
def wire(stage: RehearsalPlatform) -> Wire:
    return Wire(create_rehearsal(PLATFORM_URL, "http://shop", stage))


@pytest.fixture
def waits() -> list[float]:
    """How long the shop waited between attempts, had it waited."""
    return []


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


@pytest.fixture
def settings(tmp_path: Path) -> ShopSettings:
    return ShopSettings(
        platform_url=PLATFORM_URL,
        client_id=VENDOR,
        client_secret=SECRET,
        vendor_id=VENDOR,
        webhook_secret=WEBHOOK_SECRET,
        state_path=tmp_path / "shop.sqlite",
        session_secret="a secret of thirty-two characters",
        time_zone=ZoneInfo("Europe/Berlin"),
    )


@pytest.fixture
def open_shop(
    settings: ShopSettings, wire: Wire, clock: Clock, waits: list[float], rounds: Rounds, stage: RehearsalPlatform
) -> OpenShop:
    """Opens a shop and gives a browser that is in it; opened again, it is the shop after a restart."""

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    @asynccontextmanager
    async def opened(
        *, visiting: bool = True, warehouse: Callable[[str], bool] | None = None
    ) -> AsyncIterator[httpx.AsyncClient]:
        more = {"warehouse": warehouse} if warehouse else {}
        app: FastAPI = create_app(
            settings, transport=wire, clock=clock, sleep=sleep, next_round=rounds, grace_seconds=0, **more
        )
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://shop", headers={"Accept": "application/json"}
            ) as browser,
        ):
            if visiting:
                response = await browser.get("/redeem", params={"token": stage.token(stage.claims("ada"))})
                browser.headers["X-Form"] = response.json()["csrf_token"]
            yield browser

    return opened


@pytest.fixture
async def browser(open_shop: OpenShop) -> AsyncIterator[httpx.AsyncClient]:
    async with open_shop() as inside:
        yield inside


async def buy(browser: httpx.AsyncClient, reward_id: str, **more: str) -> httpx.Response:
    fields = {"reward_id": reward_id, "csrf_token": browser.headers["X-Form"], **more}
    return await browser.post("/orders", data=fields)


@pytest.fixture(name="buy")
def buy_fixture() -> Callable[..., object]:
    """Presses "redeem" under a reward."""
    return buy
