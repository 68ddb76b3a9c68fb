"""Builds the service. Nothing else does, and nothing runs at import."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import httpx
from fastapi import FastAPI, Request
from shared.acts import TOLD_AT_ONCE, Acts
from shared.brief_notes import BriefNotes
from shared.callers import Callers
from shared.calling import ServiceClient
from shared.chores import Chore, Chores
from shared.client_limits import ClientLimit
from shared.db import Database
from shared.dependencies import provide, provided
from shared.errors import Refusal
from shared.events.build import Events
from shared.idempotency import Answers
from shared.jwks import HttpKeySource, TenantKeys
from shared.origins import NotesOrigin
from shared.rate_limits import Counts
from shared.readiness import checks_of
from shared.register import HttpRegister, Register
from shared.reports import Reports
from shared.sandboxes.routes import router as sandboxes_router
from shared.sandboxes.service import Sandboxes
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.service_app import create_service_app
from shared.service_tokens import ServiceTokens
from shared.settings import Mode
from shared.web.pages import Pages
from shared.web.refusals import page_or_problem
from starlette.responses import Response

from token_service.campaigns import pages as campaign_pages
from token_service.campaigns.routes import router as campaigns_router
from token_service.campaigns.service import CampaignService
from token_service.clock import DatabaseClock
from token_service.counting.tally import Tally
from token_service.events import TOPIC
from token_service.guesses import Guesses
from token_service.housekeeping import Housekeeping
from token_service.imports.pages import router as lists_router
from token_service.imports.routes import router as imports_router
from token_service.imports.uploads import Uploads
from token_service.imports.writing import RowWriters
from token_service.keys.ring import KeyRing
from token_service.keys.sequences import Sequences
from token_service.landing import routes as landing_routes
from token_service.landing.service import LandingService
from token_service.landing.tenant_names import TenantNames
from token_service.onboarding_client import OnboardingClient
from token_service.settings import Settings
from token_service.tables import acts, idempotent_answers, metadata
from token_service.tables import events as event_tables
from token_service.tables import sandboxes as sandbox_tables
from token_service.tokens import routes as token_routes
from token_service.tokens.idempotency import IdempotentTokens
from token_service.tokens.issuing import Issuing
from token_service.tokens.moving import TokenMoving
from token_service.tokens.service import TokenService
from token_service.tokens.terms import Rules
from token_service.tokens.verifying import Verifying

PACKAGE = "token_service"
#: How long a list can be issued that somebody uploaded by page.
_LISTS_KEPT_FOR = timedelta(minutes=30)


def create_app(
    settings: Settings,
    *,
    register: Register | None = None,
    onboarding_transport: httpx.AsyncBaseTransport | None = None,
    issuer_transport: httpx.AsyncBaseTransport | None = None,
) -> FastAPI:
    """The service.

    Args:
        register: handed in by tests; partner-onboarding over HTTP otherwise.
        onboarding_transport, issuer_transport: handed in by tests; the network otherwise.
    """
    database = Database.of(settings)
    sealer = _sealer(settings)
    service_tokens = ServiceTokens(settings.service_key, settings.service_peers)
    onboarding = ServiceClient(
        settings.onboarding_url,
        audience="partner-onboarding",
        service_tokens=service_tokens,
        transport=onboarding_transport,
    )
    issuer = ServiceClient(
        settings.issuer_url, audience="sso-issuer", service_tokens=service_tokens, transport=issuer_transport
    )
    tenant_keys = TenantKeys(HttpKeySource(issuer))
    clock = DatabaseClock()
    ring = KeyRing(
        database, sealer, clock, ahead=timedelta(seconds=settings.key_ahead_seconds), notice=settings.key_notice
    )
    zones = settings.zones
    reports = Reports.of(settings)
    answers = Answers(database, idempotent_answers, sealer)
    guesses = Guesses(
        Counts.at(settings.rate_limit_url),
        per_credential=settings.bad_signatures_per_credential,
        per_address=settings.bad_signatures_per_address,
    )
    events = build_events(settings, database)
    housekeeping = Housekeeping(
        database, ring, answers, rotate_after=settings.rotate_after, retention=settings.retention
    )

    tally = Tally(database)
    sequences = Sequences(database, ring)
    issuing = Issuing(database, sequences, zones, lanes=settings.lanes, batch_size=settings.batch)
    verifying = Verifying(database, ring, tally, guesses, clock, lanes=settings.lanes, batch_size=settings.batch)
    idempotent = IdempotentTokens(answers, issuing, verifying)
    sandboxes = Sandboxes(database, sandbox_tables, allowed=settings.allows_sandboxes, move=TokenMoving(ring).move)
    lists = BriefNotes(database, idempotent_answers, sealer, "list", _LISTS_KEPT_FOR)
    chores = Chores()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(database.dispose)
            closing.push_async_callback(reports.close)
            closing.push_async_callback(tenant_keys.aclose)
            closing.push_async_callback(onboarding.aclose)
            # What was accepted is written, and then what was counted with it, before the connections go.
            closing.push_async_callback(tally.close)
            closing.push_async_callback(verifying.close)
            closing.push_async_callback(issuing.close)
            closing.push_async_callback(events.close)
            await sandboxes.refuse_to_start()
            await closing.enter_async_context(
                chores.running(
                    Chore("write counts", tally.flush, every_seconds=settings.count_flush_seconds),
                    Chore("read keys", ring.refresh, every_seconds=settings.key_refresh_seconds),
                    Chore("forget lists", lists.forget_old, every_seconds=settings.housekeeping_seconds),
                    *housekeeping.chores(settings.housekeeping_seconds),
                    tenant_keys.watching(),
                    sandboxes.chore(),
                    *events.chores(),
                    Chore("tell acts", Acts(database, acts, onboarding).tell_due, 1.0, full_slice=TOLD_AT_ONCE),
                )
            )
            yield

    app = create_service_app(
        settings,
        title="token-service",
        description="Unique, verifiable campaign tokens: issued, verified, used up exactly, and counted.",
        lifespan=lifespan,
        readiness=checks_of(database, PACKAGE, metadata, sealer),
        neighbours=(onboarding, issuer),
        chores=chores,
        render=_render,
        hot_routes=token_routes.hot_routes(
            plain_http=settings.mode is Mode.DEVELOPMENT, batch_max_bytes=settings.batch_max_bytes
        ),
    )
    app.add_middleware(NotesOrigin, proxies=app.state.proxies)
    callers = Callers(
        register or HttpRegister(onboarding),
        keys=tenant_keys,
        public_url=settings.public_url,
        proxies=app.state.proxies,
        limit=ClientLimit(settings.requests_per_client),
    )
    pages = Pages("token_service.pages", settings, app.state.proxies, static_path="/t/static", home=settings.home)
    rules = Rules(plain_http=settings.mode is Mode.DEVELOPMENT)
    people = OnboardingClient(onboarding)
    provide(app, callers, service_tokens, pages, rules, people, TenantNames(people), sandboxes)
    writers = RowWriters(database, ring, sequences, zones)
    provide(app, ring, tally, verifying, idempotent, housekeeping, writers, Uploads(lists, writers, rules))
    provide(app, TokenService(database, verifying, tally, clock), CampaignService(database, reports, tally))
    provide(app, LandingService(database, verifying, idempotent, tally, clock, origin=settings.landing_origin))
    _add_routes(app, pages)
    events.provide_to(app)
    return app


def build_events(settings: Settings, database: Database) -> Events:
    """The service's topic. The commands use it as well."""
    return Events.of(settings, database, event_tables, TOPIC, _sealer(settings), idempotent_answers)


def _sealer(settings: Settings) -> Sealer:
    return Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))


def _add_routes(app: FastAPI, pages: Pages) -> None:
    app.include_router(sandboxes_router)
    app.include_router(imports_router)
    app.include_router(lists_router)
    app.include_router(campaigns_router)
    app.include_router(token_routes.router)
    app.router.routes.extend([pages.static.route(), *campaign_pages.routes(), *landing_routes.routes()])


def _render(refusal: Refusal, request: Request) -> Response:
    """A page for people, and on the paths of pages for everybody who does not prefer JSON; else a problem body."""
    path: str = request.scope["path"]
    has_only_pages = path.startswith(("/t/", "/campaigns/")) or path == "/campaigns"
    return page_or_problem(provided(request.app, Pages), refusal, request, by_default=has_only_pages)
