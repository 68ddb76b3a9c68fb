"""Reads of a vendor's transactions, a slice at a time."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.by_state import EACH_STATE, Page, asked_of, first_of
from points_ledger.domain.transactions import State
from points_ledger.reconciliations.domain import Stand
from points_ledger.tables import transactions

_IS_OVER: Final = "state = 'held' AND expires_at <= clock_timestamp()"

# LATERAL with OFFSET makes PostgreSQL look up each row by its key, also without statistics of a young table.
_NAMED: Final = sa.text(
    f"""
    SELECT found.*
      FROM unnest(CAST(:ids AS text[])) AS named (id),
           LATERAL (SELECT transaction_id, state, points, deducted, {_IS_OVER}
                      FROM points_ledger.transactions
                     WHERE tenant = :tenant AND vendor_id = :vendor_id AND transaction_id = named.id
                    OFFSET 0) AS found
    """  # noqa: S608 — the condition is a constant
)
_NOW: Final = sa.select(sa.func.clock_timestamp())


class Place(NamedTuple):
    """The end of a slice. No transaction has an empty id: with one, the place is before all of its instant."""

    at: datetime
    transaction_id: str = ""


async def read_clock(connection: AsyncConnection) -> datetime:
    moment: datetime = (await connection.execute(_NOW)).scalar_one()
    return moment


async def read_named(connection: AsyncConnection, tenant: str, vendor_id: str, ids: Sequence[str]) -> dict[str, Stand]:
    """Where those of these transactions stand that there are."""
    asked = {"tenant": tenant, "vendor_id": vendor_id, "ids": list(ids)}
    return {row[0]: _stand(*row[1:5]) for row in await connection.execute(_NAMED, asked)}


async def read_created(
    connection: AsyncConnection, tenant: str, vendor_id: str, after: Place, until: datetime, limit: int
) -> tuple[dict[str, Stand], Place | None]:
    """A slice of the transactions by creation, the oldest first, and the place of the next one, if there may be one."""
    asked = asked_of(tenant, vendor_id, after, until, limit)
    rows: Sequence[Any] = (await connection.execute(_slice(), asked)).all()
    last = Place(rows[-1].at, rows[-1].transaction_id) if len(rows) == limit else None
    return {row[0]: _stand(*row[1:5]) for row in rows}, last


@cache
def _slice() -> Page:
    one = transactions.c
    is_over = sa.literal_column(_IS_OVER, sa.Boolean).label("is_over")
    return first_of([one.transaction_id, one.state, one.points, one.deducted, is_over], EACH_STATE)


def _stand(state: str, points: int, deducted: int, is_over: bool | None) -> Stand:
    return Stand.ours(State.EXPIRED if is_over else State(state), points, deducted)
