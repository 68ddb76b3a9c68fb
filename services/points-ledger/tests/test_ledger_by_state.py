"""Pages of all states: parts of an index put together, of which no row is missing and none comes twice."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import asyncpg
import pytest
from points_ledger.domain.transactions import State
from points_ledger.eai import queries as eai
from points_ledger.reconciliations import queries as reconciliations
from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection

#: Many of one state in a row, also at one instant, and of all other states between them and behind.
STATES = "ccccccccccrreexkcccchhhhhcccchrrrrrrrrcexkhxxhee"
NAMES = {
    "c": State.CONFIRMED,
    "r": State.ROLLED_BACK,
    "e": State.EXPIRED,
    "x": State.REJECTED,
    "k": State.CANCELLED,
    "h": State.HELD,
}
BEGIN = datetime(2026, 11, 29, tzinfo=UTC)
Place = tuple[datetime, str]
#: The ids of a page, and the place behind them, None at the end.
Ids = tuple[list[str], Place | None]


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Database]:
    database = Database(ledger_url)
    yield database
    await database.dispose()


@pytest.fixture
async def in_order(rows: asyncpg.Connection, tenant: str) -> AsyncIterator[list[str]]:
    """The transactions of a vendor by creation, three at each instant. They go again: no account goes with them."""
    await rows.execute(
        "INSERT INTO points_ledger.transactions"
        " SELECT $1, 'shop', 't-' || lpad(n::text, 2, '0'), 'ada', state, (state <> 'cancelled')::int,"
        " (state = 'confirmed')::int, 0, '', at, CASE WHEN state NOT IN ('rejected', 'cancelled') THEN at END,"
        " CASE WHEN state <> 'held' THEN at END, at FROM unnest($2::text[]) WITH ORDINALITY AS made (state, n),"
        " LATERAL (SELECT $3::timestamptz + n / 3 * interval '1 s' AS at) AS times",
        tenant,
        [NAMES[letter].value for letter in STATES],
        BEGIN,
    )
    yield [f"t-{number:02}" for number in range(1, len(STATES) + 1)]
    await rows.execute("DELETE FROM points_ledger.transactions WHERE tenant = $1", tenant)


async def a_page(connection: AsyncConnection, tenant: str, behind: Place | None, limit: int) -> Ids:
    after = None if behind is None else eai.TransactionPlace(*behind)
    found = await eai.read_transactions(connection, tenant, "shop", state=None, since=None, after=after, limit=limit)
    last = found.rows[-1].place if len(found.rows) == limit else None
    return [row.transaction.transaction_id for row in found.rows], last


async def a_slice(connection: AsyncConnection, tenant: str, behind: Place | None, limit: int) -> Ids:
    after = reconciliations.Place(*(behind or (BEGIN,)))
    stands, last = await reconciliations.read_created(
        connection, tenant, "shop", after, datetime(2026, 11, 30, tzinfo=UTC), limit
    )
    return list(stands), last


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 11, 100])
@pytest.mark.parametrize("read", [a_page, a_slice])
async def test_each_transaction_comes_once_in_the_order_of_creation(
    ledger: Database, in_order: list[str], tenant: str, read: Callable[..., Awaitable[Ids]], limit: int
) -> None:
    found: list[str] = []
    behind: Place | None = None
    async with ledger.transaction() as connection:
        while True:
            ids, behind = await read(connection, tenant, behind, limit)
            found += ids
            if behind is None:
                break
    assert found == in_order


async def test_since_begins_with_what_was_created_then(ledger: Database, in_order: list[str], tenant: str) -> None:
    """Also where a page goes on from a place before it."""
    since = BEGIN.replace(second=4)
    for after in (None, eai.TransactionPlace(BEGIN, "t-02")):
        async with ledger.transaction() as connection:
            found = await eai.read_transactions(
                connection, tenant, "shop", state=None, since=since, after=after, limit=100
            )
        assert [row.transaction.transaction_id for row in found.rows] == in_order[11:]
