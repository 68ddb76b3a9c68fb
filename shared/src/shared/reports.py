"""Reads that may take long: listings, statements, sums over the past.

They have a pool of connections of their own, a time limit for each statement, and a bound for each client. So no
reader takes the connections that writes need, none runs for ever, and no client takes all of the pool. A read ends
when its caller is gone: `ReportRoute`.

Some may be old, such as statistics and statements: these go to a standby where the settings name one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import Field, SecretStr, field_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database_url import checked_database_url
from shared.db import Database
from shared.errors import Policy, TooManyRequests
from shared.settings import ServiceSettings

T = TypeVar("T")

#: The server ends a statement that takes too long; if it does not, the service waits no longer than this.
GRACE_SECONDS: Final = 1.0
#: In log and metrics, for a caller that was gone before there was an answer.
_HUNG_UP: Final = 499


class TooManyReports(TooManyRequests):
    """The client has as many reports under way as it may have."""

    code = "too_many_reports"


class StandbySettings(ServiceSettings):
    """Settings of a service that has something to read that may be old."""

    reports_database_url: SecretStr | None = Field(
        None,
        description="A standby of the same database, for what may be some seconds old: statements, statistics, lists of"
        " campaigns, seals, the audit. `target_session_attrs=prefer-standby` takes the primary while there is no"
        " standby.",
    )

    @field_validator("reports_database_url")
    @classmethod
    def _is_of_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            checked_database_url(value.get_secret_value())
        return value

    def standby(self, *, pool_size: int, statement_seconds: float) -> Database | None:
        """A pool of connections to it, if there is one."""
        if self.reports_database_url is None:
            return None
        return Database(
            self.reports_database_url.get_secret_value(),
            pool_size=pool_size,
            statement_cache=self.database_statement_cache,
            wait_seconds=self.database_wait_seconds,
            statement_seconds=statement_seconds,
            pool="reports-standby",
        )


class ReportSettings(StandbySettings):
    """Settings of a service that gives reports."""

    report_pool_size: int = Field(5, ge=1, le=100, description="Connections for reports, beside the other pool.")
    report_seconds: float = Field(8.0, gt=0, le=300, description="How long a statement of a report may take.")
    reports_at_once: int = Field(4, ge=1, le=100, description="Reports that one client may have under way.")


class Reports:
    """One in a process.

    Args:
        seconds: how long one statement may take.
        at_once: how many reports a client may have under way.
        standby: where those are read that may be old; the same database if None.
    """

    def __init__(self, database: Database, *, seconds: float, at_once: int, standby: Database | None = None) -> None:
        self._database, self._standby = database, standby
        # nosemgrep: sql-text-in-f-string — a whole number goes in
        self._limit_statement = sa.text(f"SET LOCAL statement_timeout = {round(seconds * 1000)}")
        self._at_once = at_once
        self._under_way: Counter[tuple[str, str]] = Counter()

    @classmethod
    def of(cls, settings: ReportSettings) -> "Reports":
        patience = settings.report_seconds + GRACE_SECONDS
        database = Database(
            settings.database_url.get_secret_value(),
            pool_size=settings.report_pool_size,
            statement_cache=settings.database_statement_cache,
            wait_seconds=settings.database_wait_seconds,
            statement_seconds=patience,
            pool="reports",
        )
        return cls(
            database,
            seconds=settings.report_seconds,
            at_once=settings.reports_at_once,
            standby=settings.standby(pool_size=settings.report_pool_size, statement_seconds=patience),
        )

    @asynccontextmanager
    async def transaction(
        self, tenant: str, client_id: str, *, may_be_old: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """A transaction for one report of a client.

        Args:
            may_be_old: it need not show what was committed in the last seconds, nor lock anything.

        Raises:
            TooManyReports: the client has as many under way as it may.
            Unavailable: the database cannot be reached, or a statement took too long.
        """
        async with self.place(tenant, client_id), self.slice(may_be_old=may_be_old) as connection:
            yield connection

    @asynccontextmanager
    async def place(self, tenant: str, client_id: str) -> AsyncIterator[None]:
        """Counts a report of a client as long as it is under way, for one that reads slice by slice.

        Raises:
            TooManyReports: the client has as many under way as it may.
        """
        client = (tenant, client_id)
        if self._under_way[client] >= self._at_once:
            raise TooManyReports(
                f"At most {self._at_once} reports of one client at once: wait for an answer before you ask again.",
                limit=Policy("reports", self._at_once),
            )
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]

    @asynccontextmanager
    async def slice(self, *, may_be_old: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction for a part of a report that has a place.

        Args:
            may_be_old: as for `transaction`.

        Raises:
            Unavailable: the database cannot be reached, or a statement took too long.
        """
        database = self._standby if may_be_old and self._standby is not None else self._database
        async with database.transaction() as connection:
            await connection.execute(self._limit_statement)
            yield connection

    async def close(self) -> None:
        await self._database.dispose()
        if self._standby is not None:
            await self._standby.dispose()


class ReportRoute(APIRoute):
    """A route whose reads end when the caller is gone: `APIRouter(route_class=ReportRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        if not (self.methods or set()) <= {"GET", "HEAD"}:
            return handler

        async def end_with_caller(request: Request) -> Response:
            answer = await while_connected(request, handler(request))
            return Response(status_code=_HUNG_UP) if answer is None else answer

        return end_with_caller


async def while_connected(request: Request, work: Awaitable[T]) -> T | None:
    """What `work` gives, or None if the caller went away before: then it is cancelled. For requests without a body."""
    working = asyncio.ensure_future(work)
    going = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({working, going}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        going.cancel()
        if not working.done():
            working.cancel()
            # Its connection goes back before this one answers for it.
            await asyncio.wait({working})


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
