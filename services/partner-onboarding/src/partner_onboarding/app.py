"""Builds the service. Nothing else does."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import httpx
from fastapi import FastAPI
from shared.callers import Callers
from shared.calling import ServiceClient
from shared.chores import Chore, Chores
from shared.client_limits import ClientLimit
from shared.db import Database
from shared.dependencies import provide
from shared.events.build import Events
from shared.jwks import HttpKeySource, TenantKeys
from shared.origins import NotesOrigin
from shared.proxies import ProxyTrust
from shared.readiness import checks_of
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.seals.sealing import Sealing
from shared.service_app import create_service_app, extend_openapi
from shared.service_tokens import ServiceTokens
from shared.web.form_answers import FormAnswers
from shared.web.pages import Pages
from shared.web.refusals import page_or_problem

from partner_onboarding.clock import Clock, database_clock
from partner_onboarding.erasing import build_erasing
from partner_onboarding.handshake.account.issuer_client import IssuerClient
from partner_onboarding.handshake.account.ledger_client import LedgerClient
from partner_onboarding.handshake.account.records import PointsRecords, ShopsRecords
from partner_onboarding.handshake.build import Handshake, build_handshake
from partner_onboarding.handshake.links import routes as entitlements
from partner_onboarding.handshake.pages import account, confirmation, documents, registration, statement, unlinking
from partner_onboarding.handshake.pages.registration import RegistrationPages
from partner_onboarding.handshake.partners import routes as partners
from partner_onboarding.moving import move_codes
from partner_onboarding.pages.audited import audited
from partner_onboarding.pages.scopes import words_of
from partner_onboarding.pages.statements import kind_of_entry, signed_number
from partner_onboarding.register import acts as foreign_acts
from partner_onboarding.register import internal
from partner_onboarding.register.acts import ForeignActs
from partner_onboarding.register.audit import routes as audit
from partner_onboarding.register.audit.sealed import sealed_audit
from partner_onboarding.register.build import (
    Register,
    build_developers_clients,
    build_register,
    build_sandbox_tenants,
)
from partner_onboarding.register.clients import routes as clients
from partner_onboarding.register.clients.own_register import LiveTokens, OwnRegister, document_inactive_tokens
from partner_onboarding.register.events import TOPIC
from partner_onboarding.register.internal_lists import INTERNAL_LISTS
from partner_onboarding.register.own_account.domain import Records
from partner_onboarding.register.own_account.profile import OwnProfile
from partner_onboarding.register.own_account.service import OwnAccount
from partner_onboarding.register.pages import (
    operated_audit,
    operated_people,
    own_account,
    own_profile,
    own_sessions,
    password_reset,
    second_factor,
    sign_in,
    test_client,
)
from partner_onboarding.register.pages.operated_people import PeoplePages
from partner_onboarding.register.sandboxes import routes as sandboxes
from partner_onboarding.register.tables import events as event_tables
from partner_onboarding.register.tables import idempotent_answers, seals
from partner_onboarding.register.users import routes as users
from partner_onboarding.register.users.erasing import Erasing
from partner_onboarding.register.users.passwords import Argon2Cost
from partner_onboarding.retention import retention
from partner_onboarding.schema import metadata
from partner_onboarding.settings import Settings
from partner_onboarding.third_parties.build import ThirdParties, build_third_parties
from partner_onboarding.third_parties.consents import internal as internal_consents
from partner_onboarding.third_parties.consents import routes as consents
from partner_onboarding.third_parties.consents.internal import FIND_CONSENTS
from partner_onboarding.third_parties.integrations import routes as integrations
from partner_onboarding.third_parties.pages import (
    applying,
    edited_clients,
    handovers,
    operated_clients,
    operations,
    setup,
)
from partner_onboarding.third_parties.pages import consents as consent_pages

_TIDY_EVERY_SECONDS: Final = 600.0
_AUDIT_EVERY_SECONDS: Final = 1.0
_MINUTE_SECONDS = 60


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
    register = build_register(settings, cost, move_codes)
    service_tokens = ServiceTokens(settings.service_key, settings.service_peers)
    ledger = ServiceClient(
        settings.ledger_url, audience="points-ledger", service_tokens=service_tokens, transport=ledger_transport
    )
    issuer = ServiceClient(
        settings.issuer_url, audience="sso-issuer", service_tokens=service_tokens, transport=issuer_transport
    )
    keys = TenantKeys(HttpKeySource(issuer))
    proxies = ProxyTrust(settings.trusted_proxies)
    third_parties = build_third_parties(register)
    callers = Callers(
        OwnRegister(register.credentials),
        keys=keys,
        public_url=settings.public_url,
        proxies=proxies,
        limit=ClientLimit(settings.requests_per_client),
        confirm=LiveTokens(register.clients, third_parties.consents.scopes_of).confirm,
    )
    handshake = build_handshake(register, callers, clock, LedgerClient(ledger), tokens_transport)
    pages = Pages(
        "partner_onboarding",
        settings,
        proxies,
        static_path="/static",
        form_key=settings.key_for("form tokens"),
        scripts=("show-password.js", "once.js", "copy.js"),
        functions={
            "words_of": words_of,
            "kind_of_entry": kind_of_entry,
            "signed_number": signed_number,
            "audited": audited,
        },
    )
    events = build_events(settings, register.database)
    sandbox_tenants = build_sandbox_tenants(
        register,
        {"points-ledger": ledger_transport, "sso-issuer": issuer_transport, "token-service": tokens_transport},
    )
    chores = Chores()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(register.close)
            closing.push_async_callback(keys.aclose)
            closing.push_async_callback(issuer.aclose)
            closing.push_async_callback(ledger.aclose)
            closing.push_async_callback(register.credentials.write_last_uses)
            closing.push_async_callback(register.failed_sign_ins.write_down)
            closing.push_async_callback(register.password_resets.mail_links)
            closing.push_async_callback(handshake.close)
            closing.push_async_callback(events.close)
            closing.push_async_callback(sandbox_tenants.aclose)
            await register.sandboxes.refuse_to_start()
            await closing.enter_async_context(
                chores.running(
                    Chore("audit-failed-sign-ins", register.failed_sign_ins.write_down, _AUDIT_EVERY_SECONDS),
                    Chore("mail-password-links", register.password_resets.mail_links, _AUDIT_EVERY_SECONDS),
                    Chore("write-last-uses", register.credentials.write_last_uses, settings.last_used_every_seconds),
                    Chore("end-sessions", register.sessions.tidy_up, _TIDY_EVERY_SECONDS),
                    Chore("forget-answers", register.answers.forget_old, _TIDY_EVERY_SECONDS),
                    Chore("forget-form-answers", register.form_notes.forget_old, _MINUTE_SECONDS),
                    Chore("forget-handovers", third_parties.handovers.forget_old, _MINUTE_SECONDS),
                    Chore("forget-codes", third_parties.consents.tidy_up, _TIDY_EVERY_SECONDS),
                    *handshake.chores(),
                    *events.chores(),
                    *retention(register.database, settings),
                    Sealing(register.database, seals, [sealed_audit(settings)]).chore(),
                    keys.watching(),
                    sandbox_tenants.chore(settings.sandboxes_every_seconds),
                )
            )
            yield

    app = create_service_app(
        settings,
        title="partner-onboarding",
        description="The register of tenants, clients and users, sign-in, and the pages for people.",
        lifespan=lifespan,
        readiness=checks_of(register.database, "partner_onboarding", metadata, register.sealer),
        neighbours=(ledger, issuer),
        render=partial(page_or_problem, pages),
        hot_routes=[partners.INIT_REGISTER_HANDSHAKE, *INTERNAL_LISTS, FIND_CONSENTS],
        chores=chores,
    )
    extend_openapi(app, document_inactive_tokens)
    form_answers = FormAnswers(register.form_notes, pages.cookies)
    app.add_middleware(NotesOrigin, proxies=proxies)
    points, shops = LedgerClient(ledger), IssuerClient(issuer)
    provide(app, settings, callers, service_tokens, pages, form_answers, points, shops)
    provide(app, sandbox_tenants, build_developers_clients(register, sandbox_tenants))
    records = (handshake.records, PointsRecords(points), ShopsRecords(shops), third_parties.records)
    _provide_houses(app, register, handshake, third_parties, records, build_erasing(register, clock), pages)
    for routes in (
        partners,
        clients,
        users,
        entitlements,
        integrations,
        consents,
        audit,
        internal,
        foreign_acts,
        sandboxes,
        internal_consents,
        documents,
        confirmation,
        registration,
        unlinking,
        own_account,
        own_profile,
        own_sessions,
        password_reset,
        test_client,
        sign_in,
        second_factor,
        account,
        statement,
        applying,
        operations,
        operated_clients,
        edited_clients,
        operated_people,
        operated_audit,
        handovers,
        setup,
        consent_pages,
    ):
        app.include_router(routes.router)
    events.provide_to(app)
    app.router.routes.append(pages.static.route())
    return app


def build_events(settings: Settings, database: Database) -> Events:
    """The service's topic. The commands use it as well."""
    sealer = Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))
    return Events.of(settings, database, event_tables, TOPIC, sealer, idempotent_answers)


def _provide_houses(
    app: FastAPI,
    register: Register,
    handshake: Handshake,
    third_parties: ThirdParties,
    records: Sequence[Records],
    erasing: Erasing,
    pages: Pages,
) -> None:
    own_account_service = OwnAccount(
        register.database,
        register.profiles,
        register.passwords,
        register.throttle,
        register.sessions,
        records,
        erasing,
    )
    provide(
        app,
        register.audit,
        ForeignActs(register.database, register.answers, register.notices),
        register.clients,
        register.credentials,
        register.sessions,
        register.password_resets,
        register.second_factors,
        register.sign_in,
        register.tenants,
        register.users,
        PeoplePages(pages, register.users, register.sessions, register.second_factors),
        own_account_service,
        OwnProfile(register.database, register.profiles, own_account_service),
    )
    provide(
        app,
        handshake.access,
        handshake.billing,
        handshake.documents,
        handshake.handshakes,
        handshake.links,
        handshake.mails,
        RegistrationPages(
            pages,
            register.sessions,
            register.users,
            register.tenants,
            handshake.handshakes,
            handshake.links,
            handshake.registrations,
            handshake.access,
            handshake.documents,
        ),
    )
    provide(
        app,
        third_parties.applications,
        third_parties.consents,
        third_parties.handovers,
        third_parties.integrations,
    )
