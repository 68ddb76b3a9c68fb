"""Builds the service. Nothing else does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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

from partner_onboarding.clock import Clock, database_clock
from partner_onboarding.handshake.account.issuer_client import IssuerClient
from partner_onboarding.handshake.account.ledger_client import LedgerClient
from partner_onboarding.handshake.build import build_handshake
from partner_onboarding.handshake.pages.account import account_routes
from partner_onboarding.handshake.pages.confirmation import confirmation_routes
from partner_onboarding.handshake.pages.documents import PATH_OF, document_routes
from partner_onboarding.handshake.pages.registration import RegistrationPages, registration_routes
from partner_onboarding.handshake.pages.unlinking import unlinking_routes
from partner_onboarding.handshake.partners.routes import INIT_REGISTER_HANDSHAKE, partner_routes
from partner_onboarding.pages.failures import page_or_problem
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.pages.static_files import static_routes
from partner_onboarding.register.audit.routes import audit_routes
from partner_onboarding.register.build import build_register
from partner_onboarding.register.clients.own_register import OwnRegister
from partner_onboarding.register.clients.routes import client_routes
from partner_onboarding.register.internal import internal_routes
from partner_onboarding.register.own_account.service import OwnAccount
from partner_onboarding.register.pages.own_account import own_account_routes
from partner_onboarding.register.pages.sign_in import sign_in_routes
from partner_onboarding.register.sign_in.service import SignIn
from partner_onboarding.register.sign_in.throttle import SignInThrottle
from partner_onboarding.register.tables import idempotent_answers
from partner_onboarding.register.users.passwords import Argon2Cost
from partner_onboarding.register.users.routes import user_routes
from partner_onboarding.settings import Settings
from partner_onboarding.third_parties.build import build_third_parties
from partner_onboarding.third_parties.consents.internal import internal_consent_routes
from partner_onboarding.third_parties.consents.routes import consent_routes
from partner_onboarding.third_parties.integrations.routes import integration_routes
from partner_onboarding.third_parties.pages.applying import applying_routes
from partner_onboarding.third_parties.pages.consents import consent_pages
from partner_onboarding.third_parties.pages.operated_clients import operated_client_routes
from partner_onboarding.third_parties.pages.operations import operation_routes
from partner_onboarding.third_parties.pages.setup import setup_routes

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
        cost: the cost of hashing a password; tests pass a small one.
        ledger_transport, issuer_transport, tokens_transport: the ways to the other services; tests pass their apps.
        clock: the time for handshakes, links and bills; tests let years pass.
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
    sessions = register.sessions
    sign_in = SignIn(register.database, register.profiles, register.passwords, throttle, sessions)
    handshake = build_handshake(register, counts, clock, tokens_transport)
    third_parties = build_third_parties(register)
    own_account = OwnAccount(
        register.database, register.profiles, register.passwords, throttle, sessions, handshake.belongings
    )
    pages = Pages(settings.key_for("form tokens"), always_secure=settings.mode is Mode.PRODUCTION)

    async def tidy_up() -> None:
        await sessions.tidy_up()
        await answers.forget_old()
        await third_parties.consents.tidy_up()
        await handshake.handshakes.tidy_up()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        chores = [
            asyncio.create_task(_repeat(register.clients.write_last_uses, settings.last_used_every_seconds)),
            asyncio.create_task(_repeat(tidy_up, _TIDY_EVERY_SECONDS)),
            *(asyncio.create_task(_repeat(chore, seconds)) for chore, seconds in handshake.chores()),
        ]
        try:
            yield
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            await handshake.close()
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
        hot_routes=[INIT_REGISTER_HANDSHAKE],
    )
    callers = app.state.callers = Callers(
        OwnRegister(register.clients), keys=keys, public_url=settings.public_url, proxies=app.state.proxies
    )
    provide(app, callers, service_tokens, handshake.access, handshake.handshakes)
    request_limit = RateLimit(counts, settings.integration_requests_per_address, 3600, "integration-requests")
    documents = {
        "terms": settings.terms_url or PATH_OF["terms"],
        "privacy": settings.privacy_url or PATH_OF["privacy"],
    }
    versions = {"terms": settings.terms_version, "privacy": settings.privacy_version}
    users, tenants, clients = register.users, register.tenants, register.clients
    consents, integrations, links = third_parties.consents, third_parties.integrations, handshake.links
    for routes in (
        partner_routes(handshake.handshakes, links, handshake.billing, answers),
        client_routes(clients, answers),
        user_routes(users),
        integration_routes(integrations, request_limit, answers),
        consent_routes(consents, sessions),
        audit_routes(register.audit),
        internal_routes(clients, users, sessions, tenants),
        internal_consent_routes(consents),
        document_routes(pages, versions),
        confirmation_routes(pages, handshake.mails),
        registration_routes(
            RegistrationPages(
                pages,
                sessions,
                users,
                tenants,
                handshake.handshakes,
                links,
                handshake.registrations,
                handshake.access,
                documents,
            )
        ),
        unlinking_routes(pages, sessions, links),
        own_account_routes(pages, sessions, own_account),
        sign_in_routes(pages, sessions, sign_in),
        account_routes(
            pages, sessions, users, tenants, links, LedgerClient(ledger_service), IssuerClient(issuer_service)
        ),
        applying_routes(pages, integrations, request_limit, register.database),
        operation_routes(pages, sessions, integrations, register.audit, register.database),
        operated_client_routes(pages, sessions, clients, register.database),
        setup_routes(pages, sessions, consents, tenants, users),
        consent_pages(pages, sessions, consents, tenants, users, settings.public_url),
        static_routes(),
    ):
        app.include_router(routes)
    return app


async def _repeat(chore: Callable[[], Awaitable[object]], every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        await _try(chore)


async def _try(chore: Callable[[], Awaitable[object]]) -> None:
    try:
        await chore()
    # A failed chore runs again at its next turn; the service goes on.
    except Exception:
        _log.exception("a chore failed", chore=chore.__name__)
