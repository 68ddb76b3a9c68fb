"""Reads of a vendor's transactions, a slice at a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.domain.transactions import State
from points_ledger.reconciliations.domain import Stand
from points_ledger.tables import ONE_OF_A_PAGE

_STAND: Final = "transaction_id, state, points, deducted, state = 'held' AND expires_at <= clock_timestamp()"

# LATERAL with OFFSET makes PostgreSQL look up each row by its key, also without statistics of a young table.
_NAMED: Final = sa.text(
    f"""
    SELECT found.*
      FROM unnest(CAST(:ids AS text[])) AS named (id),
           LATERAL (SELECT {_STAND}
                      FROM points_ledger.transactions
                     WHERE tenant = :tenant AND vendor_id = :vendor_id AND transaction_id = named.id
                    OFFSET 0) AS found
    """  # noqa: S608 — the columns are a constant
)
_CREATED: Final = sa.text(
    f"""
    SELECT {_STAND}, created_at
      FROM points_ledger.transactions
     WHERE tenant = :tenant AND vendor_id = :vendor_id AND {ONE_OF_A_PAGE.text}
       AND (created_at, transaction_id) > (CAST(:at AS timestamptz), :transaction_id)
       AND created_at < CAST(:until AS timestamptz)
     ORDER BY created_at, transaction_id
     LIMIT :limit
    """  # noqa: S608 — the columns are a constant
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
    asked = {"tenant": tenant, "vendor_id": vendor_id, "until": until, "limit": limit, **after._asdict()}
    rows = (await connection.execute(_CREATED, asked)).all()
    last = Place(rows[-1][5], rows[-1][0]) if len(rows) == limit else None
    return {row[0]: _stand(*row[1:5]) for row in rows}, last


def _stand(state: str, points: int, deducted: int, is_over: bool | None) -> Stand:
    return Stand.ours(State.EXPIRED if is_over else State(state), points, deducted)
