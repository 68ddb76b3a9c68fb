"""Reads the audit. Each use case writes its own entry, in its transaction."""

from typing import NamedTuple

from shared.db import Database
from shared.paging import Listing, Number

from partner_onboarding.register.audit import store
from partner_onboarding.register.audit.domain import Entry


class AuditPlace(NamedTuple):
    """The audit is listed by the numbers of its entries, the highest first."""

    entry_id: Number


AUDIT = Listing("audit", AuditPlace)


class Audit:
    """The audit of all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self, tenant: str, *, before: AuditPlace | None = None, limit: int = 100) -> list[Entry]:
        """Newest first, from before the place `before`."""
        async with self._database.transaction() as connection:
            return await store.newest(connection, tenant, None if before is None else before.entry_id, limit)
