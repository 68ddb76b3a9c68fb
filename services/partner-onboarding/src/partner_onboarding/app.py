"""Builds the service; with `register`, the only place where its parts are put together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import httpx
import structlog
from fastapi import FastAPI
from shared.callers import Callers
from shared.calling import ServiceClient
from shared.dependencies import provide
from shared.idempotency import Answers
from shared.jwks import TenantKeys
from shared.migrating import check_is_current
from shared.rate_limits import Counts, RateLimit
from shared.service_app import create_service_app
from shared.service_tokens import ServiceTokens
from shared.settings import Mode

from partner_onboarding.audit.routes import audit_routes
from partner_onboarding.clients.own_register import OwnRegister
from partner_onboarding.clients.routes import client_routes
from partner_onboarding.clock import Clock, database_clock
from partner_onboarding.consents.routes import consent_routes
from partner_onboarding.integrations.routes import integration_routes
from partner_onboarding.internal import internal_routes
from partner_onboarding.issuer_client import IssuerClient
from partner_onboarding.ledger_client import LedgerClient
from partner_onboarding.onboarding import build_onboarding, key_for
from partner_onboarding.pages.account import account_routes
from partner_onboarding.pages.failures import page_or_problem
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.pages.sign_in import sign_in_routes
from partner_onboarding.pages.static_files import static_routes
from partner_onboarding.pages.third_parties import third_party_pages
from partner_onboarding.partners.routes import init_hot_route
from partner_onboarding.register import build_register
from partner_onboarding.sessions.domain import SessionRules
from partner_onboarding.sessions.service import Sessions
from partner_onboarding.sessions.throttle import SignInThrottle
from partner_onboarding.settings import Settings
from partner_onboarding.tables import idempotent_answers
from partner_onboarding.users.passwords import Argon2Cost
from partner_onboarding.users.routes import user_routes

_TIDY_EVERY_SECONDS: Final = 600.0
_log = structlog.get_logger("partner_onboarding")


def create_app(
    settings: Settings,
    *,
    cost: Argon2Cost | None = None,
    ledger_transport: httpx.AsyncBaseTransport | None = None,
    issuer_transport: httpx.AsyncBaseTransport | None = None,
    tokens_transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock = database_clock,
) -> FastAPI:
    """The service.

    Args:
        cost: of hashing a password; tests hand in a small one.
        ledger_transport, issuer_transport, tokens_transport: how the other services are reached; tests hand in
            their apps.
        clock: what time it is for handshakes, links and bills; tests let years pass.
    """
    register = build_register(settings, cost)
    service_tokens = ServiceTokens(settings.service_key, settings.service_peers)
    ledger_service = ServiceClient(
        settings.ledger_url, audience="points-ledger", service_tokens=service_tokens, transport=ledger_transport
    )
    issuer_service = ServiceClient(
        settings.issuer_url, audience="sso-issuer", service_tokens=service_tokens, transport=issuer_transport
    )
    keys = TenantKeys(settings.issuer_url, transport=issuer_transport)
    answers = Answers(register.database, idempotent_answers, register.sealer)
    counts = Counts.at(settings.rate_limit_url)
    throttle = SignInThrottle(
        counts,
        per_account=settings.wrong_passwords_per_account,
        per_address=settings.wrong_passwords_per_address,
        window_seconds=settings.wrong_passwords_window_seconds,
    )
    sessions = Sessions(
        register.database,
        register.profiles,
        register.passwords,
        throttle,
        SessionRules(
            idle=timedelta(seconds=settings.session_idle_seconds),
            lifetime=timedelta(seconds=settings.session_lifetime_seconds),
        ),
    )
    onboarding = build_onboarding(settings, register, sessions, throttle, counts, clock, tokens_transport)
    pages = Pages(key_for("form tokens", settings), always_secure=settings.mode is Mode.PRODUCTION)

    async def tidy_up() -> None:
        await sessions.tidy_up()
        await answers.forget_old()
        await register.consents.tidy_up()
        await onboarding.handshakes.tidy_up()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        chores = [
            asyncio.create_task(_repeat(register.clients.write_last_uses, settings.last_used_every_seconds)),
            asyncio.create_task(_repeat(tidy_up, _TIDY_EVERY_SECONDS)),
            *(asyncio.create_task(_repeat(chore, seconds)) for chore, seconds in onboarding.chores()),
        ]
        try:
            yield
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            await onboarding.close()
            await _try(register.clients.write_last_uses)
            await ledger_service.aclose()
            await issuer_service.aclose()
            await keys.aclose()
            await register.close()

    async def check_database() -> None:
        await check_is_current(register.database, "partner_onboarding")

    app = create_service_app(
        settings,
        title="partner-onboarding",
        description="The register of tenants, clients and users, sign-in, and the pages for people.",
        lifespan=lifespan,
        readiness={"database": check_database},
        render=page_or_problem(pages),
        hot_routes=init_hot_route(onboarding.handshakes, onboarding.door),
    )
    callers = app.state.callers = Callers(
        OwnRegister(register.clients), keys=keys, public_url=settings.public_url, proxies=app.state.proxies
    )
    provide(app, callers, service_tokens)
    app.state.partner_door = onboarding.door
    for routes in onboarding.routes(pages, answers):
        app.include_router(routes)
    app.include_router(client_routes(register.clients, answers))
    app.include_router(user_routes(register.users))
    request_limit = RateLimit(counts, settings.integration_requests_per_address, 3600, "integration-requests")
    app.include_router(integration_routes(register.integrations, request_limit, answers))
    app.include_router(consent_routes(register.consents, sessions))
    app.include_router(audit_routes(register.audit))
    app.include_router(internal_routes(register.clients, register.users, sessions, register.tenants, register.consents))
    app.include_router(sign_in_routes(pages, sessions))
    app.include_router(
        account_routes(
            pages,
            sessions,
            register.users,
            register.tenants,
            onboarding.links,
            LedgerClient(ledger_service),
            IssuerClient(issuer_service),
        )
    )
    app.include_router(third_party_pages(pages, sessions, register, request_limit, settings.public_url))
    app.include_router(static_routes())
    return app


async def _repeat(chore: Callable[[], Awaitable[object]], every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        await _try(chore)


async def _try(chore: Callable[[], Awaitable[object]]) -> None:
    try:
        await chore()
    # A chore that fails once is tried again at its next turn; the service goes on meanwhile.
    except Exception:
        _log.exception("a chore failed", chore=chore.__name__)
