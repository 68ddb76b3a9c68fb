"""Builds the register: what the web application and the operators' command line have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import httpx
import structlog
from shared.brief_notes import BriefNotes
from shared.calling import ServiceClient
from shared.db import Database
from shared.errors import Refusal
from shared.idempotency import Answers
from shared.rate_limits import Counts, RateLimit
from shared.sandboxes.domain import Move
from shared.sandboxes.service import Sandboxes
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.service_tokens import ServiceTokens
from shared.settings import Mode

from partner_onboarding.register.audit.service import Audit
from partner_onboarding.register.clients.credentials import Credentials
from partner_onboarding.register.clients.secret_hashing import SecretHashing
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.notices.service import Notices
from partner_onboarding.register.password_resets.service import PasswordResets
from partner_onboarding.register.sandboxes.developers import DevelopersClients
from partner_onboarding.register.sandboxes.domain import PEOPLE
from partner_onboarding.register.sandboxes.service import Neighbours, SandboxTenants
from partner_onboarding.register.second_factors.service import SecondFactors
from partner_onboarding.register.sessions.domain import SessionRules
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.sign_in.devices import Devices
from partner_onboarding.register.sign_in.failures import FailedSignIns
from partner_onboarding.register.sign_in.service import SignIn
from partner_onboarding.register.sign_in.throttle import SignInThrottle
from partner_onboarding.register.tables import idempotent_answers
from partner_onboarding.register.tables import sandboxes as sandbox_tables
from partner_onboarding.register.tenants.service import Tenants
from partner_onboarding.register.users.passwords import Argon2Cost, PasswordHashing
from partner_onboarding.register.users.profiles import Profiles
from partner_onboarding.register.users.service import Users
from partner_onboarding.settings import Settings

#: How long the double of a form gets the first one's answer.
FORM_ANSWERS_KEPT_FOR = timedelta(minutes=10)
_WRONG_CODES_SECONDS: Final = 900
_HOUR_SECONDS: Final = 3600
#: A sandbox with many rows takes its time to be moved.
_SANDBOX_SECONDS: Final = 10.0
_log = structlog.get_logger("sandboxes")


@dataclass(frozen=True, slots=True)
class Register:
    """The use cases of tenants, clients, users and sessions, and their parts."""

    settings: Settings
    database: Database
    #: Where the audit is read, if there is one.
    standby: Database | None
    answers: Answers
    form_notes: BriefNotes
    counts: Counts
    sandboxes: Sandboxes
    tenants: Tenants
    clients: Clients
    credentials: Credentials
    users: Users
    sessions: Sessions
    sign_in: SignIn
    second_factors: SecondFactors
    failed_sign_ins: FailedSignIns
    throttle: SignInThrottle
    password_resets: PasswordResets
    audit: Audit
    notices: Notices
    passwords: PasswordHashing
    profiles: Profiles
    sealer: Sealer

    @property
    def allows_plain_http(self) -> bool:
        """Whether addresses on the same machine may be plain http."""
        return self.settings.mode is Mode.DEVELOPMENT

    async def close(self) -> None:
        self.passwords.close()
        await self.database.dispose()
        if self.standby is not None:
            await self.standby.dispose()


def build_register(settings: Settings, cost: Argon2Cost | None = None, move: Move | None = None) -> Register:
    """The register on the database and keys of the settings.

    Args:
        move: moves the rows of all houses with the clock of a sandbox; commands move nothing.
    """
    database = Database.of(settings)
    standby = settings.standby(
        pool_size=settings.database_pool_size, statement_seconds=settings.database_statement_seconds
    )
    sealer = Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))
    profiles = Profiles(sealer, settings.account_name_key_bytes)
    hashing, passwords = SecretHashing(settings.pepper_bytes), PasswordHashing(cost or Argon2Cost())
    answers = Answers(database, idempotent_answers, sealer)
    counts = Counts.at(settings.rate_limit_url)
    throttle = SignInThrottle(
        counts,
        per_account=settings.wrong_passwords_per_account,
        per_address=settings.wrong_passwords_per_address,
        window_seconds=settings.wrong_passwords_window_seconds,
    )
    sessions = Sessions(
        database,
        SessionRules(
            idle=timedelta(seconds=settings.session_idle_seconds),
            lifetime=timedelta(seconds=settings.session_lifetime_seconds),
        ),
    )
    second_factors = SecondFactors(
        database,
        profiles,
        sealer,
        settings.key_for("recovery codes"),
        RateLimit(counts, settings.wrong_codes_per_account, _WRONG_CODES_SECONDS, "wrong-codes", sliding=True),
        required=settings.second_factor_required,
        site=settings.product_name,
    )
    failures, notices = FailedSignIns(database), Notices(sealer)
    sandboxes = Sandboxes(database, sandbox_tables, allowed=settings.allows_sandboxes, move=move)
    return Register(
        settings=settings,
        database=database,
        standby=standby,
        answers=answers,
        form_notes=BriefNotes(database, idempotent_answers, sealer, "form", FORM_ANSWERS_KEPT_FOR),
        counts=counts,
        sandboxes=sandboxes,
        tenants=Tenants(database, sandboxes),
        clients=Clients(database, answers, hashing, notices, plain_http=settings.mode is Mode.DEVELOPMENT),
        credentials=Credentials(database, hashing),
        users=Users(database, profiles, passwords),
        sessions=sessions,
        sign_in=SignIn(
            database,
            profiles,
            passwords,
            throttle,
            sessions,
            second_factors,
            Devices(settings.key_for("known devices")),
            failures,
        ),
        failed_sign_ins=failures,
        second_factors=second_factors,
        throttle=throttle,
        password_resets=PasswordResets(
            database,
            profiles,
            passwords,
            throttle,
            RateLimit(counts, settings.registrations_per_address, _HOUR_SECONDS, "password-forgotten"),
        ),
        audit=Audit(standby or database),
        notices=notices,
        passwords=passwords,
        profiles=profiles,
        sealer=sealer,
    )


def build_sandbox_tenants(
    register: Register, transports: Mapping[str, httpx.AsyncBaseTransport | None] | None = None
) -> SandboxTenants:
    """The use cases of sandboxes, and the ways to the other services; close it after use.

    Args:
        transports: by the name of the service; tests pass their apps.
    """
    settings = register.settings
    service_tokens = ServiceTokens(settings.service_key, settings.service_peers)
    urls = {
        "points-ledger": settings.ledger_url,
        "sso-issuer": settings.issuer_url,
        "token-service": settings.tokens_url,
    }
    clients = {
        name: ServiceClient(
            url,
            audience=name,
            service_tokens=service_tokens,
            transport=(transports or {}).get(name),
            timeout_seconds=_SANDBOX_SECONDS,
        )
        for name, url in urls.items()
    }

    async def settle_people(tenant: str) -> None:
        present = {user.user_id for user in await register.users.get_enabled(tenant, [one.user_id for one in PEOPLE])}
        for person in PEOPLE:
            if person.user_id in present:
                continue
            try:
                await register.users.put(
                    tenant,
                    person.user_id,
                    email=person.email,
                    firstname=person.firstname,
                    lastname=person.lastname,
                    password=None,
                )
            except Refusal as refusal:
                # Somebody else has the address: then the sandbox goes without this one.
                _log.warning("a sandbox misses a user", tenant=tenant, user=person.user_id, why=refusal.stable_code)

    return SandboxTenants(register.database, register.answers, register.sandboxes, Neighbours(clients), settle_people)


def build_developers_clients(register: Register, sandbox_tenants: SandboxTenants) -> DevelopersClients:
    """The use case of test clients that developers make for themselves."""
    settings = register.settings
    return DevelopersClients(
        register.database,
        register.sandboxes,
        register.clients,
        RateLimit(register.counts, settings.test_clients_per_address, _HOUR_SECONDS, "test-clients"),
        sandbox_tenants.agree,
        tenant=settings.developers_sandbox,
        at_most=settings.test_clients,
    )
