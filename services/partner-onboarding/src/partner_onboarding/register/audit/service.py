"""Reads the audit. Each use case writes its own entry, in its transaction."""

from shared.db import Database

from partner_onboarding.register.audit import store
from partner_onboarding.register.audit.domain import Entry


class Audit:
    """The audit of all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self, tenant: str, *, before: int | None = None, limit: int = 100) -> list[Entry]:
        """Newest first, the entries before the number `before`."""
        async with self._database.transaction() as connection:
            return await store.newest(connection, tenant, before, limit)
