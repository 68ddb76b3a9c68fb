"""Puts the shop together; the only place that builds things."""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from rewards_shop.catalogue import warehouse_has
from rewards_shop.checkout import Checkout, Warehouse
from rewards_shop.eai import Eai
from rewards_shop.events import Inbox
from rewards_shop.keys import IssuerKeys
from rewards_shop.pages import Pages
from rewards_shop.platform_client import Clock, PlatformClient, Sleep
from rewards_shop.routes import Shop, add_problem_pages, defect_page, router
from rewards_shop.sessions import Sessions
from rewards_shop.settings import ShopSettings
from rewards_shop.store import Store
from rewards_shop.tokens import TokenVerifier
from rewards_shop.web import CarefulAnswers

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"


def create_app(
    settings: ShopSettings,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock = time.time,
    sleep: Sleep = asyncio.sleep,
    next_round: Callable[[], Awaitable[None]] | None = None,
    warehouse: Warehouse = warehouse_has,
    grace_seconds: float = 5.0,
) -> FastAPI:
    """The shop. What is handed in besides the settings is what tests put in the place of time and the network."""

    async def wait_a_while() -> None:
        await asyncio.sleep(settings.resume_seconds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = Store(settings.state_path)
        async with platform_http(settings, transport) as http:
            platform = PlatformClient(http, sleep=sleep, clock=clock)
            keys = IssuerKeys(http, settings.jwks_url, clock=clock)
            checkout = Checkout(store, Eai(platform), warehouse, clock=clock)
            secret = settings.webhook_secret
            inbox = Inbox(store, secret.get_secret_value(), clock=clock) if secret else None
            app.state.shop = Shop(
                settings=settings,
                clock=clock,
                store=store,
                platform=platform,
                tokens=TokenVerifier(keys, issuer=settings.issuer, audience=settings.audience, clock=clock),
                sessions=Sessions(
                    store,
                    secret=settings.session_secret.get_secret_value(),
                    seconds=settings.session_seconds,
                    clock=clock,
                ),
                checkout=checkout,
                inbox=inbox,
                pages=Pages(settings.account_url, STATIC, settings.time_zone),
            )
            resuming = asyncio.create_task(_keep_resuming(checkout, inbox, next_round or wait_a_while))
            yield
            resuming.cancel()
            await asyncio.gather(resuming, return_exceptions=True)
            await checkout.stop(grace_seconds=grace_seconds)
        store.close()

    app = FastAPI(title="Rewards shop", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    add_problem_pages(app)
    app.add_middleware(CarefulAnswers, on_defect=defect_page)
    return app


def platform_http(settings: ShopSettings, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """The way to the platform, with the shop's credentials."""
    return httpx.AsyncClient(
        base_url=settings.platform_url,
        auth=httpx.BasicAuth(settings.client_id, settings.client_secret.get_secret_value()),
        verify=ssl.create_default_context(cafile=settings.platform_ca) if settings.platform_ca else True,
        transport=transport,
        timeout=5.0,
        follow_redirects=False,
        trust_env=False,
    )


async def _keep_resuming(checkout: Checkout, inbox: Inbox | None, next_round: Callable[[], Awaitable[None]]) -> None:
    """At the start and ever after: no order stays open because nobody asked, and no event is forgotten."""
    while True:
        try:
            for release in await inbox.waiting() if inbox else []:
                await checkout.hear(release)
            await checkout.resume_open_orders()
        except Exception:  # A full disk now must not end this for good.
            log.exception("open orders could not be resumed")
        await next_round()
