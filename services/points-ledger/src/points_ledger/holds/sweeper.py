"""Tidies up expired holds. Nothing depends on it: expiry is decided at the moment of use."""

import asyncio
from typing import Final

from prometheus_client import Counter, Gauge
from shared.db import Database
from shared.idempotency import Answer

from points_ledger.domain.accounts import Expire
from points_ledger.holds import queries
from points_ledger.ledger import Ledger, Order, Settled

#: Holds that one round looks at; when it finds so many, more may wait.
SLICE: Final = 500
_oldest = Gauge("ledger_oldest_hold_seconds", "Age of the oldest open hold.")
_held = Gauge("ledger_held_points", "Points of all open holds.")
_swept = Counter("ledger_swept_accounts", "Accounts in which the sweeper released expired holds.")


async def sweep(database: Database, ledger: Ledger) -> int:
    """Releases expired holds and returns their number. Several replicas may sweep at once."""
    async with database.transaction() as connection:
        holds = await queries.open_holds(connection)
        due = await queries.users_with_expired_holds(connection, SLICE)
    _held.set(holds.points)
    _oldest.set(holds.oldest_seconds)
    await asyncio.gather(*(ledger.carry_out(Order(Expire(tenant, user_id), _nothing)) for tenant, user_id in due))
    _swept.inc(len(due))
    return sum(due.values())


def _nothing(_settled: Settled) -> Answer:
    return Answer(204, b"")
