"""Builds the register, for the web application and for the operators' command line.

A module of its own, so that a command starts without the web's libraries.
"""

from dataclasses import dataclass
from datetime import timedelta

from shared.db import Database
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.settings import Mode

from partner_onboarding.register.audit.service import Audit
from partner_onboarding.register.clients.secret_hashing import SecretHashing
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.sessions.domain import SessionRules
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.tenants.service import Tenants
from partner_onboarding.register.users.passwords import Argon2Cost, PasswordHashing
from partner_onboarding.register.users.profiles import Profiles
from partner_onboarding.register.users.service import Users
from partner_onboarding.settings import Settings


@dataclass(frozen=True, slots=True)
class Register:
    """The use cases of tenants, clients, users and sessions, and their parts."""

    settings: Settings
    database: Database
    tenants: Tenants
    clients: Clients
    users: Users
    sessions: Sessions
    audit: Audit
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
    rules = SessionRules(
        idle=timedelta(seconds=settings.session_idle_seconds),
        lifetime=timedelta(seconds=settings.session_lifetime_seconds),
    )
    return Register(
        settings=settings,
        database=database,
        tenants=Tenants(database),
        clients=Clients(database, SecretHashing(settings.pepper_bytes), plain_http=settings.mode is Mode.DEVELOPMENT),
        users=Users(database, profiles, passwords),
        sessions=Sessions(database, rules),
        audit=Audit(database),
        passwords=passwords,
        profiles=profiles,
        sealer=sealer,
    )
