"""Reading the audit. Writing belongs to the use cases, each in its own transaction."""

from shared.db import Database

from partner_onboarding.register.audit import store
from partner_onboarding.register.audit.domain import Entry


class Audit:
    """What was done in a tenant, and by whom."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self, tenant: str, *, before: int | None = None, limit: int = 100) -> list[Entry]:
        """Newest first, from before the entry of the number `before`."""
        async with self._database.transaction() as connection:
            return await store.newest(connection, tenant, before, limit)
