"""The use case of open holds."""

from shared.paging import Page
from shared.reports import Reports

from points_ledger.holds import queries


class HoldService:
    """One in a process."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def open_holds(
        self,
        tenant: str,
        *,
        reader: str,
        user_id: str | None,
        vendor_id: str | None,
        older_than_seconds: int | None,
        cursor: str | None,
        limit: int,
    ) -> Page[queries.Hold]:
        """The tenant's open holds, oldest first.

        Args:
            reader: whose reports under way this one is counted among.

        Raises:
            InvalidCursor: of another list, or with other filters.
            TooManyReports: the client asks for too many at once.
        """
        pages = queries.HOLDS.of(tenant, user_id=user_id, vendor_id=vendor_id, older_than=older_than_seconds)
        after = pages.place(cursor)
        async with self._reports.transaction(tenant, reader) as connection:
            found = await queries.read_holds(
                connection,
                tenant,
                user_id=user_id,
                vendor_id=vendor_id,
                older_than_seconds=older_than_seconds,
                after=after,
                limit=limit + 1,
            )
        return pages.cut(
            found.rows,
            limit,
            lambda hold: queries.HoldPlace(hold.created_at, hold.vendor_id, hold.transactionid),
            reached=found.reached,
        )
