"""Builds the register: what the web application and the operators' command line have in common."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.brief_notes import BriefNotes
from shared.db import Database
from shared.idempotency import Answers
from shared.rate_limits import Counts, RateLimit
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.settings import Mode

from partner_onboarding.register.audit.service import Audit
from partner_onboarding.register.clients.secret_hashing import SecretHashing
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.notices.service import Notices
from partner_onboarding.register.password_resets.service import PasswordResets
from partner_onboarding.register.second_factors.service import SecondFactors
from partner_onboarding.register.sessions.domain import SessionRules
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.sign_in.devices import Devices
from partner_onboarding.register.sign_in.failures import FailedSignIns
from partner_onboarding.register.sign_in.service import SignIn
from partner_onboarding.register.sign_in.throttle import SignInThrottle
from partner_onboarding.register.tables import idempotent_answers
from partner_onboarding.register.tenants.service import Tenants
from partner_onboarding.register.users.passwords import Argon2Cost, PasswordHashing
from partner_onboarding.register.users.profiles import Profiles
from partner_onboarding.register.users.service import Users
from partner_onboarding.settings import Settings

#: How long the double of a form gets the first one's answer.
FORM_ANSWERS_KEPT_FOR = timedelta(minutes=10)
_WRONG_CODES_SECONDS: Final = 900
_HOUR_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Register:
    """The use cases of tenants, clients, users and sessions, and their parts."""

    settings: Settings
    database: Database
    answers: Answers
    form_notes: BriefNotes
    counts: Counts
    tenants: Tenants
    clients: Clients
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


def build_register(settings: Settings, cost: Argon2Cost | None = None) -> Register:
    """The register on the database and keys of the settings."""
    database = Database.of(settings)
    sealer = Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))
    profiles = Profiles(sealer, settings.account_name_key_bytes)
    passwords = PasswordHashing(cost or Argon2Cost())
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
    return Register(
        settings=settings,
        database=database,
        answers=answers,
        form_notes=BriefNotes(database, idempotent_answers, sealer, "form", FORM_ANSWERS_KEPT_FOR),
        counts=counts,
        tenants=Tenants(database),
        clients=Clients(
            database,
            answers,
            SecretHashing(settings.pepper_bytes),
            notices,
            plain_http=settings.mode is Mode.DEVELOPMENT,
        ),
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
        audit=Audit(database),
        notices=notices,
        passwords=passwords,
        profiles=profiles,
        sealer=sealer,
    )
