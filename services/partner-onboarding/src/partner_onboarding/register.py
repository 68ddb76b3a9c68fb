"""Builds the register itself: what the web application and the operators' command line have in common.

Apart from `app`, so that a command starts without the web's libraries.
"""

from dataclasses import dataclass

from shared.db import Database
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.settings import Mode

from partner_onboarding.audit.service import Audit
from partner_onboarding.clients.secret_hashing import SecretHashing
from partner_onboarding.clients.service import Clients
from partner_onboarding.consents.service import Consents
from partner_onboarding.integrations.service import Integrations
from partner_onboarding.settings import Settings
from partner_onboarding.tenants.service import Tenants
from partner_onboarding.users.passwords import Argon2Cost, PasswordHashing
from partner_onboarding.users.profiles import Profiles
from partner_onboarding.users.service import Users


@dataclass(frozen=True, slots=True)
class Register:
    """The use cases about tenants, clients, users and third parties, and what they work with."""

    database: Database
    tenants: Tenants
    clients: Clients
    users: Users
    integrations: Integrations
    consents: Consents
    audit: Audit
    passwords: PasswordHashing
    profiles: Profiles
    sealer: Sealer

    async def close(self) -> None:
        self.passwords.close()
        await self.database.dispose()


def build_register(settings: Settings, cost: Argon2Cost | None = None) -> Register:
    """The register over the database and keys that the settings name."""
    database = Database.of(settings)
    sealer = Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))
    profiles = Profiles(sealer, settings.account_name_key_bytes)
    passwords = PasswordHashing(cost or Argon2Cost())
    plain_http = settings.mode is Mode.DEVELOPMENT
    clients = Clients(database, SecretHashing(settings.pepper_bytes), plain_http=plain_http)
    return Register(
        database=database,
        tenants=Tenants(database),
        clients=clients,
        users=Users(database, profiles, passwords),
        integrations=Integrations(database, clients, sealer, public_url=settings.public_url, plain_http=plain_http),
        consents=Consents(database, profiles),
        audit=Audit(database),
        passwords=passwords,
        profiles=profiles,
        sealer=sealer,
    )
