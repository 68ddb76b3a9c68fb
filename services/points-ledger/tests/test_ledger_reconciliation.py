"""A vendor that reads its transactions page by page, while they are made, misses none."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from asyncpg.transaction import Transaction
from platform_testing.interleaving import answers_between
from platform_testing.plans import connected
from points_ledger.domain.transactions import State
from points_ledger.eai import queries
from points_ledger.statements import DATED
from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection

INSERT = f"""{DATED}
INSERT INTO points_ledger.transactions
SELECT $1, 'shop', $2, 'nobody', 'cancelled', 0, 0, 0, '', clock_timestamp(), NULL, clock_timestamp(), clock_timestamp()
"""
#: Holds that have ended, each a second after the other, and that nobody has released yet.
ENDED = """
INSERT INTO points_ledger.transactions
SELECT $1, 'shop', 't-' || n, 'nobody', 'held', 1, 0, 0, '', made.at, made.at, NULL, made.at
  FROM generate_series(1, 9) AS n, LATERAL (SELECT clock_timestamp() - (10 - n) * interval '1 second' AS at) AS made
"""
#: Holds that end, each a little after the other, while they are read.
ENDING = """
INSERT INTO points_ledger.transactions
SELECT $1, 'shop', 't-' || n, 'nobody', 'held', 1, 0, 0, '', made.at, clock_timestamp(), NULL, made.at
  FROM generate_series(1, 9) AS n, LATERAL (SELECT clock_timestamp() - (10 - n) * interval '1 second' AS at) AS made
"""
RELEASE = """
UPDATE points_ledger.transactions SET state = 'expired', ended_at = expires_at, touched_at = expires_at
 WHERE tenant = $1 AND transaction_id = $2
"""


@pytest.fixture
async def database(ledger_url: str) -> AsyncIterator[Database]:
    database = Database(ledger_url, pool_size=1)
    yield database
    await database.dispose()


@pytest.fixture
async def spoilt(spoilt_url: str) -> AsyncIterator[Database]:
    database = Database(spoilt_url, pool_size=1)
    yield database
    await database.dispose()


@pytest.fixture
async def slow_writer(ledger_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(ledger_url)
    yield connection
    await connection.close()


class Reader:
    """Goes on from where the last page ended, as the contract tells vendors to."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant
        self._place: queries.TransactionPlace | None = None
        self.seen: list[str] = []

    async def read(self) -> None:
        async with self._database.transaction() as connection:
            page = await queries.read_transactions(
                connection, self._tenant, "shop", state=None, since=None, after=self._place, limit=1000
            )
        if page.rows:
            self.seen += [listed.transaction.transaction_id for listed in page.rows]
            self._place = page.rows[-1].place


async def test_what_is_committed_while_a_page_is_read_is_on_the_next_one(
    database: Database, rows: asyncpg.Connection, slow_writer: asyncpg.Connection, tenant: str
) -> None:
    """The older of two rows is committed later than the younger, at any moment of the reading."""
    reader = Reader(database, tenant)
    expected = []
    for number in range(150):
        slow = slow_writer.transaction()
        await slow.start()
        await slow_writer.execute(INSERT, tenant, f"{number} older")
        await rows.execute(INSERT, tenant, f"{number} younger")
        expected += [f"{number} older", f"{number} younger"]

        async def commit(moment: float, slow: Transaction = slow) -> None:
            await asyncio.sleep(moment)
            await slow.commit()

        # Not to wait for anything, but to hit another step of the reading each time.
        await asyncio.gather(reader.read(), commit(number % 50 * 0.0001))
        await reader.read()

    await reader.read()
    assert reader.seen == expected


@pytest.mark.parametrize("limit", [100, 4])
async def test_a_hold_that_is_released_during_the_reading_is_still_listed_as_expired_and_once(
    spoilt: Database, spoilt_url: str, tenant: str, limit: int
) -> None:
    """Its row moves from the held ones to the expired ones, and both are read."""

    async def read(connection: AsyncConnection) -> list[str]:
        page = await queries.read_transactions(
            connection, tenant, "shop", state=State.EXPIRED, since=None, after=None, limit=limit
        )
        return [listed.transaction.transaction_id for listed in page.rows]

    async with connected(spoilt_url) as rows:
        await rows.execute(ENDED, tenant)
        expected = [f"t-{n}" for n in range(1, 10)][:limit]
        async for listed in answers_between(spoilt, read, lambda step: rows.execute(RELEASE, tenant, f"t-{step}")):
            assert listed == expected


async def test_a_hold_that_ends_during_the_reading_hides_none_that_was_made_before_it(
    spoilt: Database, spoilt_url: str, tenant: str
) -> None:
    """A command releases those of its own account, and those of others wait for the sweeper."""

    async def read(connection: AsyncConnection) -> list[str]:
        page = await queries.read_transactions(
            connection, tenant, "shop", state=State.EXPIRED, since=None, after=None, limit=100
        )
        return [listed.transaction.transaction_id for listed in page.rows]

    async with connected(spoilt_url) as rows:

        async def end_and_release_the_last(_: int) -> None:
            await rows.execute(ENDING, tenant)
            await rows.execute(RELEASE, tenant, "t-9")

        async for listed in answers_between(spoilt, read, end_and_release_the_last):
            assert listed in ([], [f"t-{n}" for n in range(1, 10)])
            await rows.execute("DELETE FROM points_ledger.transactions WHERE tenant = $1", tenant)
