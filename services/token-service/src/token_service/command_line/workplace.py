"""The parts of the service that commands need, without the server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from shared.db import Database
from shared.errors import Malformed
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.settings import Mode

from token_service.clock import DatabaseClock
from token_service.imports.writing import RowWriters
from token_service.keys import store
from token_service.keys.ring import KeyRing
from token_service.keys.sequences import Sequences
from token_service.keys.store import KeyRow
from token_service.settings import Settings
from token_service.tokens.terms import Rules


class NameTheTenant(Malformed):
    """There is not exactly one tenant, so the command has to name one."""

    code = "name_the_tenant"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a command works with."""

    database: Database
    ring: KeyRing
    row_writers: RowWriters
    rules: Rules

    async def keys(self, tenant: str | None) -> list[KeyRow]:
        """The keys of one tenant or of all, newest last."""
        async with self.database.transaction() as connection:
            _, keys = await store.read_clock_and_all(connection)
        return [key for key in keys if tenant is None or key.tenant == tenant]

    async def tenant(self, named: str | None, *, is_new: bool = False) -> str:
        """The named tenant, or the only one.

        Args:
            is_new: whether the named one may have no key yet. A tenant that was misspelt must not get one.

        Raises:
            NameTheTenant: see there.
        """
        tenants = sorted({key.tenant for key in await self.keys(None)})
        if named is not None:
            if named not in tenants and not is_new:
                known = f"; known are: {', '.join(tenants[:20])}" if tenants else ""
                raise NameTheTenant(f"No tenant {named[:60]} has tokens here{known}. A new one needs --new-tenant.")
            return named
        if len(tenants) != 1:
            known = f": {', '.join(tenants)}" if tenants else ""
            raise NameTheTenant(f"Name the tenant with --tenant{known}.")
        return tenants[0]


@asynccontextmanager
async def parts_of(settings: Settings) -> AsyncIterator[Parts]:
    """The parts; closes their connections at the end."""
    database = Database.of(settings)
    sealer = Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))
    ring = KeyRing(
        database,
        sealer,
        DatabaseClock(),
        ahead=timedelta(seconds=settings.key_ahead_seconds),
        notice=settings.key_notice,
    )
    zones = settings.zones
    writers = RowWriters(database, ring, Sequences(database, ring), zones)
    try:
        yield Parts(database, ring, writers, Rules(plain_http=settings.mode is Mode.DEVELOPMENT))
    finally:
        await database.dispose()
