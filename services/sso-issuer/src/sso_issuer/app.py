"""Builds the service. Nothing else does."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import httpx
from fastapi import FastAPI, Request, Response
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
from shared.jwks import TenantKeys
from shared.origins import NotesOrigin
from shared.proxies import ProxyTrust
from shared.rate_limits import Counts
from shared.readiness import checks_of
from shared.sandboxes.routes import router as sandboxes_router
from shared.sandboxes.service import Sandboxes
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.seals.sealing import Sealing
from shared.service_app import create_service_app
from shared.service_tokens import ServiceTokens
from shared.settings import Mode
from shared.web.form_answers import FormAnswers
from shared.web.pages import Pages
from shared.web.refusals import page_or_problem

from sso_issuer.authority.attempt_limits import AttemptLimits
from sso_issuer.authority.audit import Audit
from sso_issuer.authority.authorities import Authorities
from sso_issuer.authority.authorize import ConsentRequests
from sso_issuer.authority.client_authentication import ClientAuthentication
from sso_issuer.authority.client_requests import ClientRequests
from sso_issuer.authority.errors import is_authority_path, oauth_refusal
from sso_issuer.authority.introspections import Introspections
from sso_issuer.authority.routes import SHORTCUTS as AUTHORITY_SHORTCUTS
from sso_issuer.authority.routes import router as authority_router
from sso_issuer.authority.service import Authority
from sso_issuer.authority.tokens import AccessTokensReader
from sso_issuer.events import TOPIC
from sso_issuer.inspections.browser import PATH as INSPECTOR
from sso_issuer.inspections.browser import router as inspector_router
from sso_issuer.inspections.routes import router as inspections_router
from sso_issuer.inspections.service import Inspections
from sso_issuer.keys.domain import Algorithm, Schedule
from sso_issuer.keys.published import PublishedKeys
from sso_issuer.keys.revoked import OwnKeySource, RevokedKeys
from sso_issuer.keys.routes import SHORTCUTS as KEYS_SHORTCUTS
from sso_issuer.keys.routes import internal_router as internal_keys_router
from sso_issuer.keys.routes import router as keys_router
from sso_issuer.keys.service import Keys
from sso_issuer.ledger_client import LedgerClient
from sso_issuer.onboarding_client import OnboardingClient
from sso_issuer.receipts.routes import internal_router as internal_receipts_router
from sso_issuer.receipts.routes import router as receipts_router
from sso_issuer.receipts.service import Receipts
from sso_issuer.redemptions.routes import REDEEM_TOKEN
from sso_issuer.redemptions.service import Redemptions
from sso_issuer.redemptions.tokens import TokensReader
from sso_issuer.redirects.browser import SHORTCUTS as BROWSER_SHORTCUTS
from sso_issuer.redirects.browser import render_refusal
from sso_issuer.redirects.browser import router as browser_router
from sso_issuer.redirects.pages import PACKAGE as PAGES_PACKAGE
from sso_issuer.redirects.pages import STATIC_PATH, RedirectPages
from sso_issuer.redirects.routes import ISSUE_REDIRECT
from sso_issuer.redirects.routes import internal_router as internal_redirects_router
from sso_issuer.redirects.routes import router as redirects_router
from sso_issuer.redirects.service import Redirects
from sso_issuer.redirects.terms import TermsReader
from sso_issuer.redirects.users import UsersReader
from sso_issuer.register_client import RegisterClient
from sso_issuer.retention import retention
from sso_issuer.sealed import sealed_tables
from sso_issuer.secret_checks import SecretChecks, SecretsRegister
from sso_issuer.settings import Settings
from sso_issuer.signer import Signer
from sso_issuer.signing_processes import SigningProcesses
from sso_issuer.tables import acts, metadata, seals
from sso_issuer.tables import answers as answers_table
from sso_issuer.tables import events as event_tables
from sso_issuer.tables import sandboxes as sandbox_tables
from sso_issuer.vendors.routes import internal_router
from sso_issuer.vendors.routes import router as vendors_router
from sso_issuer.vendors.service import Vendors

PACKAGE = "sso_issuer"
#: How long a second press gets the first one's redirect. Later a press is meant, and gets a token of its own.
_DOUBLE_PRESS = timedelta(seconds=5)


def create_app(
    settings: Settings,
    *,
    register: SecretsRegister | None = None,
    ledger_transport: httpx.AsyncBaseTransport | None = None,
    onboarding_transport: httpx.AsyncBaseTransport | None = None,
) -> FastAPI:
    """The service.

    Args:
        register: handed in by tests; partner-onboarding over HTTP otherwise.
        ledger_transport, onboarding_transport: handed in by tests; the network otherwise.
    """
    database = Database.of(settings)
    sealer = _sealer(settings)
    service_tokens = ServiceTokens(settings.service_key, settings.service_peers)
    to_ledger = ServiceClient(
        settings.ledger_url,
        audience="points-ledger",
        service_tokens=service_tokens,
        transport=ledger_transport,
        timeout_seconds=settings.neighbour_timeout_seconds,
    )
    to_onboarding = ServiceClient(
        settings.onboarding_url,
        audience="partner-onboarding",
        service_tokens=service_tokens,
        transport=onboarding_transport,
        timeout_seconds=settings.neighbour_timeout_seconds,
    )
    ledger, onboarding = (
        LedgerClient(to_ledger),
        OnboardingClient(to_onboarding, is_distributed=settings.database_distributed),
    )
    answers, form_notes = (
        Answers(database, answers_table, sealer),
        BriefNotes(database, answers_table, sealer, "form", _DOUBLE_PRESS),
    )
    published, revoked = PublishedKeys(database), RevokedKeys(database)
    keys = build_keys(settings, database, published, revoked)
    vendors = Vendors(
        database,
        answers,
        sealer,
        keys,
        public_url=settings.public_url,
        plain_http_allowed=settings.mode is Mode.DEVELOPMENT,
    )
    # Access tokens are checked here as in every service; only the keys come from the service's own database.
    key_source = OwnKeySource(database, revoked)
    tenant_keys = TenantKeys(key_source)
    signer, clients = Signer(SigningProcesses(settings.signing_processes)), RegisterClient(to_onboarding)

    events = build_events(settings, database)
    terms = TermsReader(database, keys, vendors)
    redirects = Redirects(
        database, answers, terms, signer, UsersReader(ledger, onboarding), public_url=settings.public_url
    )
    sandboxes = Sandboxes(database, sandbox_tables, allowed=settings.allows_sandboxes)
    redemptions = Redemptions(
        database,
        answers,
        TokensReader(database),
        vendors,
        ledger,
        sandboxes,
        signer.signatures,
        public_url=settings.public_url,
    )
    audit, access_tokens = Audit(database), AccessTokensReader(database)
    proxies, register = ProxyTrust(settings.trusted_proxies), register or SecretChecks(to_onboarding)
    authentication = ClientAuthentication(
        database, register, clients, proxies, longest_assertion_seconds=settings.longest_assertion_seconds
    )
    introspections = Introspections(
        authentication, access_tokens, clients, audit, signer.signatures, public_url=settings.public_url
    )
    authority = Authority(
        database,
        authentication,
        audit,
        access_tokens,
        keys,
        signer,
        clients,
        introspections,
        public_url=settings.public_url,
        lifetime_seconds=settings.access_token_seconds,
        algorithm=Algorithm(settings.access_token_algorithm),
    )

    # What it moves is nothing: a signed token cannot change, and is judged by the clock.
    chores = Chores()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        every = settings.upkeep_seconds
        async with AsyncExitStack() as closing:
            closing.push_async_callback(database.dispose)
            closing.push_async_callback(onboarding.aclose)
            closing.push_async_callback(ledger.aclose)
            closing.push_async_callback(tenant_keys.aclose)
            closing.push_async_callback(signer.close)
            # Write all accepted rows before the connections close.
            closing.push_async_callback(authority.close)
            closing.push_async_callback(introspections.close)
            closing.push_async_callback(redirects.close)
            closing.push_async_callback(redemptions.close)
            closing.push_async_callback(events.close)
            await sandboxes.refuse_to_start()
            await closing.enter_async_context(
                chores.running(
                    tenant_keys.watching(),
                    Chore("advance keys", keys.advance_due, every_seconds=every),
                    Chore("report ages of keys", keys.report_ages, every_seconds=every),
                    answers.forgetting(every),
                    sandboxes.chore(),
                    Chore("forget form answers", form_notes.forget_old, every_seconds=every),
                    *events.chores(),
                    Chore("tell acts", Acts(database, acts, to_onboarding).tell_due, 1.0, full_slice=TOLD_AT_ONCE),
                    Chore("forget ended tokens", authority.forget_expired, every_seconds=every),
                    *retention(database, settings),
                    Sealing(database, seals, sealed_tables(settings)).chore(),
                )
            )
            yield

    app = create_service_app(
        settings,
        title="sso-issuer",
        description="Signs the tokens that carry a signed-in user to a rewards vendor, and keeps their keys.",
        lifespan=lifespan,
        readiness=checks_of(database, PACKAGE, metadata, sealer),
        neighbours=(to_ledger, to_onboarding),
        hot_routes=[ISSUE_REDIRECT, REDEEM_TOKEN],
        shortcuts=[*AUTHORITY_SHORTCUTS, *KEYS_SHORTCUTS, *BROWSER_SHORTCUTS],
        chores=chores,
        render=_render,
        # OAuth's endpoints (RFC 6749, 3.1) and what is published beside them, and pages.
        takes_any_query=("/tenants/", "/.well-known/", "/sso/v1/redeem/", INSPECTOR),
    )
    app.add_middleware(NotesOrigin, proxies=proxies)
    authorities = Authorities(database, keys, clients, public_url=settings.public_url)
    limits = AttemptLimits(
        Counts.at(settings.rate_limit_url),
        proxies,
        per_network=settings.refused_requests_per_address,
        codes_per_client=settings.refused_codes_per_client,
    )
    pages = Pages(PAGES_PACKAGE, settings, proxies, static_path=STATIC_PATH)
    app.router.routes.append(pages.static.route())
    provide(
        app,
        Callers(
            register,
            keys=tenant_keys,
            public_url=settings.public_url,
            proxies=proxies,
            limit=ClientLimit(settings.requests_per_client),
        ),
        service_tokens,
        published,
        revoked,
        key_source,
        clients,
        keys,
        vendors,
        onboarding,
        redirects,
        build_receipts(settings, database),
        Inspections(database, vendors, terms, sandboxes, public_url=settings.public_url),
        redemptions,
        pages,
        FormAnswers(form_notes, pages.cookies),
        RedirectPages(pages),
        authorities,
        authority,
        introspections,
        ConsentRequests(clients),
        limits,
        ClientRequests(authorities, authentication, authority, limits),
        sandboxes,
    )
    for router in (
        keys_router,
        internal_keys_router,
        vendors_router,
        internal_router,
        redirects_router,
        internal_redirects_router,
        browser_router,
        inspections_router,
        inspector_router,
        authority_router,
        receipts_router,
        internal_receipts_router,
        sandboxes_router,
    ):
        app.include_router(router)
    events.provide_to(app)
    return app


def _render(refusal: Refusal, request: Request) -> Response:
    """Renders a refusal in the form that callers of this path expect."""
    if is_authority_path(request.scope["path"]):
        return oauth_refusal(refusal, request)
    if request.scope["path"] == INSPECTOR:
        return page_or_problem(provided(request.app, Pages), refusal, request, by_default=True)
    return render_refusal(refusal, request)


def build_keys(
    settings: Settings,
    database: Database,
    published: PublishedKeys | None = None,
    revoked: RevokedKeys | None = None,
) -> Keys:
    """The use cases of keys, also for the command line."""
    sealer = _sealer(settings)
    return Keys(
        database,
        Answers(database, answers_table, sealer),
        sealer,
        Schedule(rotate_every=settings.rotate_after),
        published or PublishedKeys(database),
        revoked or RevokedKeys(database),
    )


def build_events(settings: Settings, database: Database) -> Events:
    """The service's topic. The commands use it as well."""
    return Events.of(settings, database, event_tables, TOPIC, _sealer(settings), answers_table)


def build_receipts(settings: Settings, database: Database) -> Receipts:
    """The use cases of receipts, also for the command line."""
    return Receipts(database, _sealer(settings), public_url=settings.public_url)


def _sealer(settings: Settings) -> Sealer:
    return Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))
