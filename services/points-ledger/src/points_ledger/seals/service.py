"""The use case of seals."""

from typing import Final, NamedTuple

from shared.paging import Listing, Number, Page
from shared.reports import Reports
from shared.seals.store import ListedSeal, list_seals

from points_ledger.seals.sealed import SEALED_ENTRIES
from points_ledger.tables import seals


class SealPlace(NamedTuple):
    """Where a page of seals ended."""

    number: Number


SEALS: Final = Listing("seals", SealPlace)


class SealService:
    """One in a process."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def list_seals(self, tenant: str, *, reader: str, cursor: str | None, limit: int) -> Page[ListedSeal]:
        """The chain of the tenant's entries, newest first.

        Args:
            reader: whose reports under way this one is counted among.

        Raises:
            InvalidCursor: of another list.
            TooManyReports: the client asks for too many at once.
        """
        pages = SEALS.of(tenant)
        place = pages.place(cursor)
        before = None if place is None else place.number
        async with self._reports.transaction(tenant, reader, may_be_old=True) as connection:
            found = await list_seals(connection, seals, tenant, SEALED_ENTRIES.chain, before=before, limit=limit + 1)
        return pages.cut(found, limit, lambda seal: SealPlace(seal.number))
