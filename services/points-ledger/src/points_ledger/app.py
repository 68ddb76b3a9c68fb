"""Builds the ledger. Nothing else does, and nothing runs at import."""

import contextlib
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI, Request
from shared.acts import TOLD_AT_ONCE, Acts
from shared.callers import Callers
from shared.calling import ServiceClient
from shared.chores import Chore, Chores
from shared.client_limits import ClientLimit
from shared.db import Database
from shared.dependencies import provide
from shared.errors import Refusal
from shared.events.build import Events
from shared.idempotency import Answers
from shared.jwks import HttpKeySource, TenantKeys
from shared.origins import NotesOrigin
from shared.problems import problem_response
from shared.readiness import checks_of
from shared.register import HttpRegister, Register
from shared.reports import Reports
from shared.sandboxes.routes import router as sandboxes_router
from shared.sandboxes.service import Sandboxes
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.seals.sealing import Sealing
from shared.service_app import create_service_app, extend_openapi
from shared.service_tokens import ServiceTokens
from shared.tenant_walk import TenantWalk
from starlette.responses import Response

from points_ledger.accounts.crediting import Crediting
from points_ledger.accounts.routes import INTERNAL_BALANCES
from points_ledger.accounts.routes import internal as internal_router
from points_ledger.accounts.routes import router as accounts_router
from points_ledger.accounts.service import AccountService
from points_ledger.eai.operations import CHANGE_POINTS, failed_response
from points_ledger.eai.routes import router as eai_router
from points_ledger.eai.scenarios import Scenarios
from points_ledger.eai.schemas import add_failures
from points_ledger.eai.service import TransactionService
from points_ledger.events import TOPIC
from points_ledger.holds.moving import move_holds
from points_ledger.holds.releasing import LOOK, Releasing
from points_ledger.holds.routes import internal as internal_holds_router
from points_ledger.holds.routes import router as holds_router
from points_ledger.holds.service import HoldService
from points_ledger.holds.watching import HoldsWatch, VendorsWatch
from points_ledger.ledger import Ledger
from points_ledger.receipts.routes import router as receipts_router
from points_ledger.receipts.service import ReceiptService
from points_ledger.reconciliations.routes import router as reconciliations_router
from points_ledger.reconciliations.service import ReconciliationService
from points_ledger.seals.routes import router as seals_router
from points_ledger.seals.sealed import SEALED_ENTRIES
from points_ledger.seals.service import SealService
from points_ledger.settings import Settings
from points_ledger.tables import acts, idempotent_answers, metadata, seals, transactions
from points_ledger.tables import events as event_tables
from points_ledger.tables import sandboxes as sandbox_tables
from points_ledger.vendors.hold_times import HoldTimes
from points_ledger.vendors.routes import router as vendors_router
from points_ledger.vendors.service import VendorService


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
    keys = TenantKeys(HttpKeySource(issuer))

    reports = Reports.of(settings)
    releasing = Releasing(database, is_distributed=settings.database_distributed)
    # Its chore looks seldom, so it looks anew each time.
    walk = TenantWalk(database, transactions.c.tenant, remembered_seconds=0)
    tenants = walk if database.is_distributed else None
    ledger = Ledger(
        database,
        releasing,
        lanes=settings.lanes,
        batch_size=settings.batch_size,
        is_distributed=settings.database_distributed,
    )
    holds = HoldsWatch(database, max_of_vendor=settings.max_open_holds_of_vendor)
    hold_times = HoldTimes(database, default_seconds=settings.hold_seconds)
    answers = Answers(database, idempotent_answers)
    events = build_events(settings, database)
    crediting = Crediting(database, is_distributed=settings.database_distributed)
    accounts = AccountService(database, reports, ledger, crediting)
    sandboxes = Sandboxes(
        database,
        sandbox_tables,
        allowed=settings.allows_sandboxes,
        move=move_holds,
        settle=releasing.sweep,
        welcome=accounts.welcome,
    )
    scenarios = Scenarios(sandboxes)
    chores = Chores()

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(database.dispose)
            closing.push_async_callback(reports.close)
            closing.push_async_callback(keys.aclose)
            closing.push_async_callback(onboarding.aclose)
            closing.push_async_callback(issuer.aclose)
            # Write all accepted commands before the connections close.
            closing.push_async_callback(ledger.close)
            closing.push_async_callback(crediting.close)
            closing.push_async_callback(events.close)
            await sandboxes.refuse_to_start()
            await closing.enter_async_context(
                chores.running(
                    Chore(
                        "release expired holds",
                        releasing.sweep,
                        every_seconds=settings.sweep_seconds,
                        full_slice=LOOK,
                    ),
                    Chore("watch open holds", holds.look, every_seconds=3 * settings.sweep_seconds),
                    Chore(
                        "watch vendors",
                        VendorsWatch(reports, tenants).look,
                        every_seconds=12 * settings.sweep_seconds,
                    ),
                    Sealing(database, seals, [SEALED_ENTRIES]).chore(),
                    answers.forgetting(settings.sweep_seconds),
                    sandboxes.chore(),
                    keys.watching(),
                    *events.chores(),
                    Chore("tell acts", Acts(database, acts, onboarding).tell_due, 1.0, full_slice=TOLD_AT_ONCE),
                )
            )
            yield

    app = create_service_app(
        settings,
        title="points-ledger",
        description="The system of record of points: two-phase commit for rewards vendors, accounts for the platform.",
        lifespan=lifespan,
        readiness=checks_of(database, "points_ledger", metadata, _sealer(settings)),
        neighbours=(onboarding, issuer),
        render=_render,
        chores=chores,
        hot_routes=[CHANGE_POINTS, INTERNAL_BALANCES],
    )
    app.add_middleware(NotesOrigin, proxies=app.state.proxies)
    callers = Callers(
        register or HttpRegister(onboarding),
        keys=keys,
        public_url=settings.public_url,
        proxies=app.state.proxies,
        limit=ClientLimit(settings.requests_per_client),
    )
    provide(
        app,
        callers,
        service_tokens,
        accounts,
        VendorService(hold_times, issuer),
        HoldService(reports),
        TransactionService(
            database, reports, ledger, hold_times, holds, scenarios, max_open_holds=settings.max_open_holds
        ),
        SealService(reports),
        hold_times,
        sandboxes,
        scenarios,
        ReceiptService(database, issuer),
        ReconciliationService(reports),
    )
    app.include_router(eai_router)
    extend_openapi(app, add_failures)
    app.include_router(receipts_router)
    app.include_router(reconciliations_router)
    app.include_router(accounts_router)
    app.include_router(vendors_router)
    app.include_router(holds_router)
    app.include_router(seals_router)
    app.include_router(internal_holds_router)
    app.include_router(internal_router)
    app.include_router(sandboxes_router)
    events.provide_to(app)
    return app


def build_events(settings: Settings, database: Database) -> Events:
    """The service's topic. The commands use it as well."""
    # Answers about endpoints are sealed, since some hold a secret; no vendor's answer does.
    return Events.of(settings, database, event_tables, TOPIC, _sealer(settings), idempotent_answers)


def _sealer(settings: Settings) -> Sealer:
    return Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))


def _render(refusal: Refusal, request: Request) -> Response:
    """EAI keeps the form of its source document; everything else answers with problem bodies."""
    if request.scope["path"].startswith("/eai/"):
        return failed_response(refusal, request)
    return problem_response(refusal, request)
