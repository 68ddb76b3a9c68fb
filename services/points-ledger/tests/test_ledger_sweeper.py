"""What has run out is tidied up by itself, whatever happens to a sweep; nothing else depends on it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
from platform_testing.callers import FakeRegister
from platform_testing.serving import running
from points_ledger.app import create_app
from points_ledger.holds import queries
from points_ledger.holds.watching import ENOUGH_HOLDS
from points_ledger.settings import Settings
from shared.db import Database
from sqlalchemy.exc import ProgrammingError

from .parties import Platform, Vendor

MakeSettings = Callable[..., Settings]

OPEN_HOLDS = "SELECT count(*) FROM points_ledger.transactions WHERE tenant = $1 AND state = 'held'"


@pytest.fixture
async def client(make_settings: MakeSettings, register: FakeRegister) -> AsyncIterator[httpx.AsyncClient]:
    """Of a ledger that sweeps all the time."""
    async with running(create_app(make_settings(sweep_seconds=0.01), register=register)) as client:
        yield client


async def none_left(rows: asyncpg.Connection, question: str, tenant: str) -> None:
    async with asyncio.timeout(20):
        while await rows.fetchval(question, tenant):
            pass


async def run_out(rows: asyncpg.Connection, tenant: str) -> None:
    """As if the holds had been made long ago."""
    await rows.execute(
        "UPDATE points_ledger.transactions SET expires_at = clock_timestamp() WHERE tenant = $1 AND state = 'held'",
        tenant,
    )


async def test_the_sweeper_releases_what_has_run_out(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    for number in range(3):
        assert (await shop.commit(user, f"t-{number}", 10)).status_code == 200
    await run_out(rows, tenant)

    await none_left(rows, OPEN_HOLDS, tenant)

    account = await rows.fetchrow("SELECT available, held FROM points_ledger.accounts WHERE tenant = $1", tenant)
    assert tuple(account) == (100, 0)
    assert (await shop.look_up("t-0")).json()["state"] == "expired"


async def test_what_is_held_can_be_watched(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor, rows: asyncpg.Connection
) -> None:
    """Other tests hold points, too: what is looked for is what these holds add."""
    user = await platform.user_with(3 * 10**12)
    assert await watched(client, "ledger_held_points", lambda points: points < 10**12)
    for number in range(2):
        assert (await shop.commit(user, f"t-{number}", 10**12)).status_code == 200
    await rows.execute(
        "UPDATE points_ledger.transactions SET created_at = created_at - interval '1000 days' WHERE user_id = $1", user
    )
    assert await watched(client, "ledger_held_points", lambda points: 2 * 10**12 <= points < 3 * 10**12)
    assert await watched(client, "ledger_oldest_hold_seconds", lambda age: age >= 86_400_000)
    for number in range(2):
        assert (await shop.confirm(user, f"t-{number}")).status_code == 200
    assert await watched(client, "ledger_held_points", lambda points: points < 10**12)


async def test_a_vendor_that_never_confirms_is_named(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor, rows: asyncpg.Connection, ledger_url: str, tenant: str
) -> None:
    user = await platform.user_with(10**15)

    async def silent() -> bool:
        database = Database(ledger_url)
        try:
            async with database.transaction() as connection:
                found = await queries.vendors_that_never_confirm(connection, at_least=ENOUGH_HOLDS)
                alone = await queries.vendors_of_one_that_never_confirm(connection, tenant, at_least=ENOUGH_HOLDS)
        finally:
            await database.dispose()
        # The text for distributed tables finds the same.
        assert alone == {one for one in found if one[0] == tenant}
        return (tenant, "shop") in found

    assert (await shop.commit(user, "too much", 10**15 + 1)).status_code == 400
    for number in range(ENOUGH_HOLDS):
        assert not await silent()
        await shop.commit(user, f"t-{number}", 1)
        assert (await shop.rollback(user, f"t-{number}")).status_code == 200
    assert await silent()
    assert await watched(client, "ledger_vendors_that_never_confirm", lambda vendors: vendors >= 1)
    await shop.commit(user, "good", 1)
    assert (await shop.confirm(user, "good")).status_code == 200
    assert not await silent()
    # What happened two days ago says nothing about today.
    await rows.execute(
        "UPDATE points_ledger.transactions SET touched_at = touched_at - interval '2 days'"
        " WHERE tenant = $1 AND transaction_id <> 't-1'",
        tenant,
    )
    assert not await silent()


async def test_a_tenants_held_share_can_be_watched(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor, ledger_url: str, tenant: str
) -> None:
    user = await platform.user_with(100)
    await platform.user_with(100)
    await shop.commit(user, "t-1", 50)
    database = Database(ledger_url)
    try:
        async with database.transaction() as connection:
            assert (await queries.held_shares(connection))[tenant] == 0.25
    finally:
        await database.dispose()
    assert await watched(client, "ledger_greatest_held_share", lambda share: 0.25 <= share <= 1)


async def test_a_hold_that_nobody_releases_can_be_watched(
    platform: Platform, shop: Vendor, ledger_url: str, tenant: str
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "t-1", 50)
    database = Database(ledger_url)
    try:
        # Nobody else sees this: no sweeper comes by.
        async with database.transaction() as connection:
            before = (await queries.open_holds(connection)).overdue
            await connection.execute(
                sa.text(
                    "UPDATE points_ledger.transactions SET expires_at = clock_timestamp() - interval '61 seconds'"
                    " WHERE tenant = :tenant"
                ),
                {"tenant": tenant},
            )
            assert (await queries.open_holds(connection)).overdue == before + 1
    finally:
        await database.dispose()


async def watched(client: httpx.AsyncClient, name: str, holds: Callable[[float], bool]) -> bool:
    """Whether a figure comes to be as it must, before long."""
    async with asyncio.timeout(20):
        while True:
            lines = (await client.get("/metrics")).text.splitlines()
            (value,) = [float(line.split()[1]) for line in lines if line.startswith(f"{name} ")]
            if holds(value):
                return True
            await asyncio.sleep(0.01)


async def test_a_sweep_that_fails_is_not_the_last_one(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that came before the tables did."""
    look, failed = queries.expired_holds, asyncio.Event()

    async def fail_once(*arguments: object, **named: object) -> object:
        if not failed.is_set():
            failed.set()
            raise ProgrammingError("SELECT", {}, Exception("relation does not exist"))
        return await look(*arguments, **named)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(queries, "expired_holds", fail_once)
    async with asyncio.timeout(20):
        await failed.wait()
    user = await platform.user_with(100)
    assert (await shop.commit(user, "t", 10)).status_code == 200
    await run_out(rows, tenant)

    await none_left(rows, OPEN_HOLDS, tenant)


async def test_answers_past_their_time_do_not_pile_up(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    assert (await shop.commit(user, "old", 10, key="old")).status_code == 200
    assert (await shop.commit(user, "young", 10, key="young")).status_code == 200
    await rows.execute(
        "UPDATE points_ledger.idempotent_answers SET created_at = now() - interval '24 hours 1 second'"
        " WHERE tenant = $1 AND key = 'old'",
        tenant,
    )

    await none_left(rows, "SELECT 1 FROM points_ledger.idempotent_answers WHERE tenant = $1 AND key = 'old'", tenant)

    kept = await rows.fetch("SELECT key FROM points_ledger.idempotent_answers WHERE tenant = $1", tenant)
    assert [row["key"] for row in kept] == ["young"]


async def test_more_than_one_look_takes_are_released_without_a_pause(
    make_settings: MakeSettings, register: FakeRegister, rows: asyncpg.Connection, tenant: str
) -> None:
    """Also when they belong to few accounts: a backlog must not outgrow the sweeper."""
    users, holds = 300, 900
    await rows.execute(
        "INSERT INTO points_ledger.accounts SELECT $1, 'u' || n, 0, 3, 1, now() FROM generate_series(1, $2) n",
        tenant, users,
    )  # fmt: skip
    await rows.execute(
        "INSERT INTO points_ledger.entries"
        " SELECT $1, 'u' || n, 1, 'credit', 3, 3, '', 'r', '', now() FROM generate_series(1, $2) n",
        tenant, users,
    )  # fmt: skip
    await rows.execute(
        "INSERT INTO points_ledger.transactions SELECT $1, 'shop', 't' || n, 'u' || (n % $2 + 1), 'held', 1, 0, 0, '',"
        " now(), now(), NULL, now() FROM generate_series(1, $3) n",
        tenant, users, holds,
    )  # fmt: skip

    # It would come back for the rest only after a day.
    async with running(create_app(make_settings(sweep_seconds=86_400), register=register)):
        await none_left(rows, OPEN_HOLDS, tenant)
