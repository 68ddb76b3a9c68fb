"""The use case: a vendor's list, of any length and in any order, against the ledger's transactions."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

import stamina
from shared.errors import Malformed, Unavailable
from shared.reports import Reports
from shared.times import earlier
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.eai.queries import read_horizon
from points_ledger.lists import TOO_LONG, Line, ListOf
from points_ledger.reconciliations import queries
from points_ledger.reconciliations.domain import Finding, Kind, Stand, StatedLine, Summary, judge
from points_ledger.reconciliations.named import NamedTransactions
from points_ledger.reconciliations.queries import Place

#: What comes in.
STATED: Final = ListOf(StatedLine, frozenset({"transactionid", "state", "points"}), frozenset({"points"}))
#: Without a range, transactions of so long ago are looked for.
RANGE: Final = timedelta(days=31)
#: Lines, or transactions, of one statement.
_SLICE: Final = 2000
#: A list that is longer is not read to its end: what it names lies on the service's disk.
MOST_LINES: Final = 5_000_000

_POLL_SECONDS: Final = 0.02
#: What writes has ended by then, or the server has ended it.
_POLLS: Final = 500

T = TypeVar("T")


class RangeBackwards(Malformed):
    code = "range_backwards"

    def __init__(self) -> None:
        super().__init__("`since` must lie before `until`.")


class ReconciliationService:
    """One in a process."""

    def __init__(self, reports: Reports, *, most_lines: int = MOST_LINES) -> None:
        self._reports = reports
        self._most_lines = most_lines

    async def compare(
        self,
        tenant: str,
        vendor_id: str,
        lines: AsyncIterator[list[Line[StatedLine]]],
        *,
        client_id: str,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncGenerator[list[Finding] | Summary, None]:
        """The findings as they come, at first an empty list when the comparison may begin, and at last a summary.

        Nothing is changed, and no transaction stays open while lines are awaited.

        Args:
            since, until: transactions created from and before these instants are looked for in the list.

        Raises:
            TooManyReports: the client has as many reports under way as it may.
            RangeBackwards: as it says.
            CallerGone: the list broke off.
            Unavailable: the database could not be asked, even after a while.
        """
        async with self._reports.place(tenant, client_id):
            now = await self._ask(queries.read_clock)
            # What is created from here on cannot be in the list.
            end = now if until is None else min(until, now)
            begin = earlier(end, RANGE) if since is None else since
            if since is not None and until is not None and since >= until:
                raise RangeBackwards
            yield []
            comparison = _Comparison(self._ask, tenant, vendor_id, self._most_lines)
            try:
                async with aclosing(comparison.findings(lines, begin, end)) as findings:
                    async for found in findings:
                        yield found
            finally:
                comparison.close()
            yield comparison.summary()

    async def _ask(self, read: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """One short transaction. A database that is away for a moment does not end a comparison of a million lines."""
        async for attempt in stamina.retry_context(on=Unavailable, attempts=5, wait_initial=0.1, timeout=30.0):
            with attempt:
                async with self._reports.slice() as connection:
                    return await read(connection)
        raise AssertionError("the last attempt returns or raises")


class Ask(Protocol):
    """Reads in one short transaction."""

    async def __call__(self, read: Callable[[AsyncConnection], Awaitable[T]]) -> T: ...


class _Comparison:
    """One list."""

    def __init__(self, ask: Ask, tenant: str, vendor_id: str, most_lines: int) -> None:
        self._ask = ask
        self._vendor = (tenant, vendor_id)
        self._most_lines = most_lines
        self._named = NamedTransactions()
        self._lines = 0
        self._ours = 0
        self._agreed = 0
        self._counts: Counter[Kind] = Counter()
        self._is_whole = True

    async def findings(
        self, lines: AsyncIterator[list[Line[StatedLine]]], begin: datetime, end: datetime
    ) -> AsyncGenerator[list[Finding], None]:
        async for block in lines:
            room = self._most_lines - self._lines
            for start in range(0, min(len(block), room), _SLICE):
                yield self._counted(await self._judge(block[start : min(start + _SLICE, room)]))
            if len(block) > room:
                self._is_whole = False
                yield self._counted([self._too_many(block[room].number)])
            if not self._is_whole:
                break
        if self._is_whole:
            await self._until_all_is_written(end)
            after: Place | None = Place(begin)
            while after is not None:
                missing, after = await self._not_named(after, end)
                yield self._counted(missing)

    async def _until_all_is_written(self, end: datetime) -> None:
        """Returns when no transaction of the range is being written any more, which takes moments.

        A database that does not say what its sessions do might let us wait for any of them; so there is a bound.
        """
        for _ in range(_POLLS):
            if await self._ask(read_horizon) >= end:
                return
            await asyncio.sleep(_POLL_SECONDS)

    def summary(self) -> Summary:
        kinds = [kind for kind in Kind if self._is_whole or kind is not Kind.ONLY_OURS]
        return Summary(self._lines, self._ours, self._agreed, {kind: self._counts[kind] for kind in kinds})

    def close(self) -> None:
        self._named.close()

    def _counted(self, findings: list[Finding]) -> list[Finding]:
        self._counts.update(finding.kind for finding in findings)
        return findings

    def _too_many(self, line: int) -> Finding:
        self._lines += 1
        detail = f"The list has more than {self._most_lines:,} lines; nothing after them was read."
        return Finding(Kind.MALFORMED, line=line, detail=detail)

    async def _judge(self, lines: list[Line[StatedLine]]) -> list[Finding]:
        self._lines += len(lines)
        said = {line.number: line.said for line in lines if isinstance(line.said, StatedLine)}
        first = await self._named.add([(one.transactionid, number) for number, one in said.items()])
        ids = [one.transactionid for number, one in said.items() if number not in first]
        ours = await self._ask(lambda connection: queries.read_named(connection, *self._vendor, ids)) if ids else {}
        self._ours += len(ours)
        found = []
        for number, one in lines:
            if isinstance(one, Malformed):
                self._is_whole = self._is_whole and one.stable_code != TOO_LONG
                found.append(Finding(Kind.MALFORMED, line=number, detail=one.message))
            elif number in first:
                detail = f"The transaction stood in line {first[number]} already."
                found.append(Finding(Kind.MALFORMED, one.transactionid, line=number, detail=detail))
            else:
                yours, stand = Stand(one.state, one.points), ours.get(one.transactionid)
                kind = judge(yours, stand)
                if kind is None:
                    self._agreed += 1
                else:
                    found.append(Finding(kind, one.transactionid, yours, stand))
        return found

    async def _not_named(self, after: Place, end: datetime) -> tuple[list[Finding], Place | None]:
        stands, last = await self._ask(
            lambda connection: queries.read_created(connection, *self._vendor, after, end, _SLICE)
        )
        missing = await self._named.missing(list(stands)) if stands else set()
        self._ours += len(missing)
        found = [Finding(Kind.ONLY_OURS, id_, ours=stand) for id_, stand in stands.items() if id_ in missing]
        return found, last
