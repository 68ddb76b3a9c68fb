"""The chore that seals: a few short transactions a round, none on the way of a request.

Several replicas may do it at once: the second one to write a seal with a number finds it there, and writes nothing. A
seal is one row, so a process that is killed leaves a whole seal or none, and the next round goes on behind the last.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final

import sqlalchemy as sa
import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.dialects import postgresql

from shared.chores import Chore
from shared.db import Database
from shared.errors import Unavailable
from shared.seals.domain import Slice, next_seal
from shared.seals.rows import SealedTable
from shared.seals.store import last_seal
from shared.tenant_walk import TenantWalk

#: Rows of one seal at most.
ROWS: Final = 1000
_EVERY_SECONDS: Final = 20.0
_TENANTS_AT_ONCE: Final = 100
# Young tables have no statistics, and the planner would read all of their rows.
_BY_INDEX: Final = sa.text("SET LOCAL enable_seqscan = off")
_log = structlog.get_logger("seals")
_lag = Gauge("seals_lag_seconds", "Age of the oldest row that is in no seal yet. Alarm when it grows.", ["chain"])
_sealed = Counter("sealed_rows", "Rows that were sealed.", ["chain"])


class Sealing:
    """One in a process."""

    def __init__(self, database: Database, seals: sa.Table, tables: Sequence[SealedTable]) -> None:
        self._database = database
        self._seals = seals
        self._tables = tables
        self._walks = {one.chain: TenantWalk(database, one.table.c.tenant, one.is_dated) for one in tables}

    def chore(self) -> Chore:
        """A row is sealed within a minute."""
        return Chore("seal rows", self.seal, every_seconds=_EVERY_SECONDS, full_slice=ROWS)

    async def seal(self) -> int:
        """One seal for each tenant and table with new rows; returns how many rows the longest has."""
        longest = 0
        for sealed in self._tables:
            async with self._database.transaction() as connection:
                now, horizon = await sealed.horizon(connection)
            find = self._waiting_of_each if self._database.is_distributed else self._waiting
            waiting = await find(sealed, horizon)
            _lag.labels(sealed.chain).set((now - waiting[0][1]).total_seconds() if waiting else 0.0)
            for tenant, _ in waiting:
                longest = max(longest, await self._seal(sealed, tenant, now, horizon))
        return longest

    async def _waiting(self, sealed: SealedTable, horizon: datetime) -> list[tuple[str, datetime]]:
        """The tenants that wait, and since when; those that have waited longest come first."""
        async with self._database.transaction() as connection:
            await connection.execute(_BY_INDEX)
            rows = await connection.execute(sealed.waiting(self._seals, horizon, _TENANTS_AT_ONCE))
            return [(row.tenant, row.at) for row in rows]

    async def _waiting_of_each(self, sealed: SealedTable, horizon: datetime) -> list[tuple[str, datetime]]:
        """The same, with a statement for each tenant. One whose server is down keeps no other from being sealed."""
        waiting: list[tuple[str, datetime]] = []
        for tenant in await self._walks[sealed.chain].tenants():
            try:
                async with self._database.transaction() as connection:
                    await connection.execute(_BY_INDEX)
                    oldest = await connection.execute(sealed.waiting_of(tenant, self._seals, horizon))
                    waiting += [(tenant, row.at) for row in oldest]
            except Unavailable as trouble:
                _log.warning("a tenant's rows are not sealed now", tenant=tenant, chain=sealed.chain, why=trouble.log)
        return sorted(waiting, key=lambda one: one[1])

    async def _seal(self, sealed: SealedTable, tenant: str, now: datetime, horizon: datetime) -> int:
        async with self._database.transaction() as connection:
            await connection.execute(_BY_INDEX)
            if sealed.taken_under is not None:
                # A sandbox begins anew with a lock on all of these. Without this one it could delete the chain between
                # two statements here, and this seal would be the first of the next chain.
                await connection.execute(_lock_one(sealed.taken_under, tenant))
            last = await last_seal(connection, self._seals, tenant, sealed.chain)
            query = sealed.slice(tenant, sealed.version, after=last, before=horizon, limit=ROWS)
            found = Slice(*(await connection.execute(query)).one())
            if not found.rows:
                return 0
            # A full one ends with its last row: there may be more of the same time.
            until = found.last_at if found.rows == ROWS else horizon
            seal = next_seal(tenant, sealed.chain, sealed.version, found, after=last, until=until, sealed_at=now)
            written = await connection.execute(
                postgresql.insert(self._seals).values(asdict(seal)).on_conflict_do_nothing()
            )
        if written.rowcount:
            _sealed.labels(sealed.chain).inc(found.rows)
        return found.rows


def _lock_one(table: sa.Table, tenant: str) -> sa.Select[tuple[str]]:
    """Holds up nobody who changes the row, only who deletes it."""
    one = sa.select(table.c.tenant).where(table.c.tenant == tenant).limit(1)
    return one.with_for_update(read=True, key_share=True)
