"""Reads the audit. Each use case writes its own entry, in its transaction."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Final, NamedTuple

from shared.db import Database
from shared.paging import Listing, Number, Page, Pages

from partner_onboarding.register.audit import store
from partner_onboarding.register.audit.domain import EVERYTHING, Entry, Filter

_EXPORTED_AT_ONCE: Final = 1000


class AuditPlace(NamedTuple):
    """The audit is listed by the numbers of its entries, the highest first."""

    entry_id: Number


AUDIT: Final = Listing("audit", AuditPlace)


def audit_pages(tenant: str, wanted: Filter) -> Pages[AuditPlace]:
    """The tenant's audit as somebody asks for it; its cursors lead on with the same filter alone."""
    return AUDIT.of(tenant, **asdict(wanted))


class Audit:
    """The audit of all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(
        self, tenant: str, wanted: Filter = EVERYTHING, *, before: AuditPlace | None = None, limit: int = 100
    ) -> Page[Entry]:
        """Newest first, from before the place `before`. With a filter a page may be short and lead on."""
        number = None if before is None else before.entry_id
        async with self._database.transaction() as connection:
            found, looked_at = await store.newest(connection, tenant, number, limit + 1, wanted)
        pages = audit_pages(tenant, wanted)
        page = pages.cut(found, limit, lambda entry: AuditPlace(entry.entry_id))
        return page if looked_at is None else Page(page.items, pages.cursor(AuditPlace(looked_at)))

    async def export(self, tenant: str, wanted: Filter) -> AsyncIterator[list[Entry]]:
        """All entries that the filter lets through, newest first, by the thousand."""
        pages, before = audit_pages(tenant, wanted), None
        while True:
            page = await self.newest(tenant, wanted, before=before, limit=_EXPORTED_AT_ONCE)
            yield page.items
            if page.next_cursor is None:
                return
            before = pages.place(page.next_cursor)
