"""What is read is never taken back, not even at the instant at which a hold ends, and it adds up, whatever happens
meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import httpx
import pytest
from platform_testing.interleaving import answers_between
from points_ledger.accounts.queries import read_balance_and_lapsed
from points_ledger.eai import queries as eai
from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from .parties import EAI, Platform, Vendor

#: A confirm of 40 points as the ledger writes it, but for its COMMIT.
CONFIRM = (
    "UPDATE points_ledger.accounts SET held = held - 40, entries = entries + 1 WHERE tenant = $1",
    "INSERT INTO points_ledger.entries SELECT $1, user_id, 2, 'redemption', -40, 60, 'shop', 't-1', 'a mug', now()"
    " FROM points_ledger.accounts WHERE tenant = $1",
    "/* dated */ UPDATE points_ledger.transactions SET state = 'confirmed', deducted = 40, ended_at = now()"
    " WHERE tenant = $1",
)
IS_OVER = "/* dated */ SELECT expires_at <= clock_timestamp() FROM points_ledger.transactions WHERE tenant = $1"
SOMEBODY_WAITS = """
SELECT count(*) > 0 FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock' AND pg_backend_pid() = ANY (pg_blocking_pids(pid))
"""
Read = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture
async def user(client: httpx.AsyncClient, platform: Platform, shop: Vendor) -> str:
    """Who has 100 points, of which 40 are held for a second."""
    await client.put("/v1/vendors/shop", json={"hold_seconds": 1}, headers=platform.headers)
    user = await platform.user_with(100)
    assert (await shop.commit(user, "t-1", 40)).status_code == 200
    return user


@pytest.fixture
async def confirming(user: str, rows: asyncpg.Connection, tenant: str) -> AsyncIterator[asyncpg.Connection]:
    """Has confirmed before the hold's end, which has come since then, and has not committed yet."""
    async with rows.transaction():
        # The mark is on the statements of transactions that have taken a time, as on the ledger's own.
        for statement in CONFIRM:
            await rows.execute(statement, tenant)
        while not await rows.fetchval(IS_OVER, tenant):
            continue
        yield rows


async def answer_of(read: Read, confirming: asyncpg.Connection) -> httpx.Response:
    """The answer to a read that begins before the COMMIT and may wait for it."""
    reading = asyncio.ensure_future(read())
    while not reading.done() and not await confirming.fetchval(SOMEBODY_WAITS):
        continue
    await confirming.execute("COMMIT")
    await confirming.execute("BEGIN")
    return await reading


async def test_nobody_is_told_that_a_hold_has_expired_which_is_being_confirmed(
    shop: Vendor, confirming: asyncpg.Connection
) -> None:
    answer = await answer_of(lambda: shop.look_up("t-1"), confirming)
    assert answer.json()["state"] == "confirmed"


async def test_points_that_are_being_deducted_are_not_available(
    client: httpx.AsyncClient, platform: Platform, user: str, confirming: asyncpg.Connection
) -> None:
    answer = await answer_of(lambda: client.get(f"/v1/accounts/{user}", headers=platform.headers), confirming)
    assert (answer.json()["available"], answer.json()["held"]) == (60, 0)


async def test_a_vendor_does_not_see_points_that_are_being_deducted(
    client: httpx.AsyncClient, shop: Vendor, user: str, confirming: asyncpg.Connection
) -> None:
    answer = await answer_of(lambda: client.get(f"/eai/v1/balances/{user}", headers=shop.headers), confirming)
    assert answer.json()["available"] == 60


@pytest.mark.parametrize(("state", "listed"), [("", ["held"]), ("?state=held", ["held"]), ("?state=expired", [])])
async def test_a_list_says_expired_when_nothing_can_change_that_any_more(
    client: httpx.AsyncClient, shop: Vendor, confirming: asyncpg.Connection, state: str, listed: list[str]
) -> None:
    answer = await client.get(f"{EAI}{state}", headers=shop.headers)
    assert [one["state"] for one in answer.json()["transactions"]] == listed


@pytest.fixture
async def database(ledger_url: str) -> AsyncIterator[Database]:
    database = Database(ledger_url, pool_size=1)
    yield database
    await database.dispose()


async def test_the_refunds_that_are_listed_add_up_to_what_was_refunded(
    platform: Platform, shop: Vendor, database: Database, tenant: str
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "t-1", 40)
    await shop.confirm(user, "t-1")
    await shop.refund(user, "t-1", "first", 5)

    found = await eai.read_transaction(database, tenant, "shop", "t-1")
    assert found is not None
    await shop.refund(user, "t-1", "since then", 3)
    async with database.transaction() as connection:
        refunds = await eai.read_refunds(connection, found)
    assert [refund.points for refund in refunds] == [5]
    assert found.refunded == 5


async def test_what_has_lapsed_and_what_is_held_are_of_one_moment(
    platform: Platform, shop: Vendor, database: Database, tenant: str
) -> None:
    """In a closed account, what a hold gives back lapses at once."""
    user = await platform.user_with(100)
    for number in range(1, 6):
        await shop.commit(user, f"t-{number}", 10)
    await platform.client.delete(f"/v1/accounts/{user}", params={"reason": "left us"}, headers=platform.headers)

    async def read(connection: AsyncConnection) -> int:
        found = await read_balance_and_lapsed(connection, tenant, user)
        assert found is not None
        return found[0].account.held + found[1]

    async for held_and_lapsed in answers_between(database, read, lambda step: shop.rollback(user, f"t-{step}")):
        assert held_and_lapsed == 100
