"""The tenants that have rows in a table, found one after the other by its index.

Where the tables are distributed, no statement can look up a few rows of each tenant. A chore walks through the tenants
instead, and asks about each by a statement of its own: every server is asked once for each tenant that it finds.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

from shared.db import Database
from shared.errors import Unavailable
from shared.readings import Reading

_REMEMBERED_SECONDS: Final = 60.0


class TenantWalk:
    """The tenants of a table.

    Args:
        tenant: the table's column, which leads an index.
        conditions: that a row must fulfil; of a partial index, its own.
        remembered_seconds: for so long they are not looked for again, and a tenant's first row stays unknown.
        clock: seconds, monotonic; handed in by tests.
    """

    def __init__(
        self,
        database: Database,
        tenant: sa.Column[Any],
        *conditions: sa.ColumnElement[bool],
        remembered_seconds: float = _REMEMBERED_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        behind = tenant > sa.bindparam("after", type_=sa.Text)
        self._next = Reading(sa.select(sa.func.min(tenant).label("tenant")).where(behind, *conditions))
        self._remembered_seconds = remembered_seconds
        self._clock = clock
        self._found: list[str] = []
        self._found_at = float("-inf")

    async def tenants(self) -> list[str]:
        """In the database's order.

        Raises:
            Unavailable: the database, or one of its servers, cannot be asked, and none are remembered.
        """
        if self._clock() - self._found_at >= self._remembered_seconds:
            try:
                self._found, self._found_at = await self._walk(), self._clock()
            except Unavailable:
                # One server of several may be down. The tenants of the others go on.
                if not self._found:
                    raise
        return self._found

    async def _walk(self) -> list[str]:
        found: list[str] = []
        after: str | None = ""
        while (after := (await self._database.read(self._next, after=after))[0].tenant) is not None:
            found.append(after)
        return found
