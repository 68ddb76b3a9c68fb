"""Holds without number in one account: they stop nobody else, and the account comes round by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import asyncpg
import httpx
import pytest
from platform_testing.callers import FakeRegister
from platform_testing.serving import running
from points_ledger.app import create_app
from points_ledger.settings import Settings

from .adding_up import what_does_not_add_up
from .parties import Platform, Vendor
from .refusals import is_failed, no_trace

MakeSettings = Callable[..., Settings]

IS_WAITED_FOR = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))"
OPEN_HOLDS = "SELECT count(*) FROM points_ledger.transactions WHERE tenant = $1 AND state = 'held'"


@pytest.fixture
async def client(make_settings: MakeSettings, register: FakeRegister) -> AsyncIterator[httpx.AsyncClient]:
    """Of a ledger that never sweeps by itself."""
    settings = make_settings(sweep_seconds=86_400, max_open_holds=20)
    async with running(create_app(settings, register=register)) as client:
        yield client


async def hold_many(rows: asyncpg.Connection, tenant: str, user: str, holds: int, *, expired: bool) -> None:
    """As if a vendor had held a point so many times."""
    await rows.execute(
        "INSERT INTO points_ledger.transactions SELECT $1, 'shop', 'old-' || n, $2, 'held', 1, 0, 0, '', now(),"
        " now() + CASE WHEN $4 THEN interval '0' ELSE interval '1 day' END, NULL, now() FROM generate_series(1, $3) n",
        tenant, user, holds, expired,
    )  # fmt: skip
    await rows.execute(
        "UPDATE points_ledger.accounts SET available = available - $3, held = held + $3"
        " WHERE tenant = $1 AND user_id = $2",
        tenant, user, holds,
    )  # fmt: skip


async def test_commands_of_an_account_with_many_expired_holds_are_decided_as_if_all_were_released(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str
) -> None:
    holds = 3_000
    user = await platform.user_with(holds + 10)
    await hold_many(rows, tenant, user, holds, expired=True)

    few = await shop.commit(user, "few", 5)
    assert (few.status_code, few.json()["available"]) == (200, holds + 5)
    assert await rows.fetchval(OPEN_HOLDS, tenant) > holds / 2, "what needs no more is not kept waiting"
    most = await shop.commit(user, "most", holds)
    assert (most.status_code, most.json()["available"]) == (200, 5)
    assert is_failed(await shop.commit(user, "more", 6), 400, "insufficient_points")

    assert await rows.fetchval(OPEN_HOLDS, tenant) == 2
    assert await what_does_not_add_up(rows, tenant) == []


async def test_a_vendor_may_have_so_many_holds_open_in_one_account_and_no_more(
    platform: Platform, shop: Vendor, register: FakeRegister, rows: asyncpg.Connection, tenant: str
) -> None:
    user, other = await platform.user_with(1_000), await platform.user_with(1_000)
    for number in range(20):
        assert (await shop.commit(user, f"t-{number}", 1)).status_code == 200
    async with no_trace(rows):
        assert is_failed(await shop.commit(user, "one more", 1), 409, "too_many_open_holds")
    together = await asyncio.gather(*(shop.commit(other, f"o-{number}", 1) for number in range(40)))
    assert [answer.status_code for answer in together].count(200) == 20

    assert (await shop.commit(user, "t-3", 1)).status_code == 200, "a repeat holds nothing more"
    mall = Vendor(shop.client, register.add(tenant, "points:redeem", vendor_id="mall"))
    assert (await mall.commit(user, "t", 1)).status_code == 200, "another vendor's holds do not count"
    assert (await shop.rollback(user, "t-3")).status_code == 200
    assert (await shop.commit(user, "one more", 1)).status_code == 200, "nothing was remembered of the refusal"


async def test_expired_holds_are_not_open_any_more(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(1_000)
    await hold_many(rows, tenant, user, 500, expired=True)
    assert (await shop.commit(user, "t", 1)).status_code == 200


async def test_a_vendor_may_have_so_many_holds_open_over_all_accounts(
    make_settings: MakeSettings, register: FakeRegister, rows: asyncpg.Connection, tenant: str
) -> None:
    """Counted now and then: so it may be some more."""
    settings = make_settings(sweep_seconds=0.01, max_open_holds_of_vendor=30)
    async with running(create_app(settings, register=register)) as client:
        shop = Vendor(client, register.add(tenant, "points:redeem", vendor_id=f"shop-{tenant}"))
        platform = Platform(client, register.add(tenant, "points:admin"))
        user = await platform.user_with(10_000)
        async with asyncio.timeout(20):
            number = 0
            while (answer := await shop.commit(user, f"t-{number}", 1)).status_code == 200:
                number += 1
        assert is_failed(answer, 409, "too_many_open_holds")
        assert number >= 30
        assert (await shop.commit(user, "t-0", 1)).status_code == 200
        for done in range(number - 20):
            assert (await shop.confirm(user, f"t-{done}")).status_code == 200
        async with asyncio.timeout(20):
            while (await shop.commit(user, "later", 1)).status_code != 200:
                pass


async def test_half_a_hundred_thousand_expired_holds_stop_nobody_and_go_by_themselves(
    make_settings: MakeSettings, register: FakeRegister, rows: asyncpg.Connection, tenant: str
) -> None:
    holds = 50_000
    settings = make_settings(sweep_seconds=86_400)
    async with running(create_app(settings, register=register)) as client:
        platform = Platform(client, register.add(tenant, "points:admin"))
        shop = Vendor(client, register.add(tenant, "points:redeem", vendor_id="shop"))
        full, other = await platform.user_with(holds), await platform.user_with(1_000_000)
        await hold_many(rows, tenant, full, holds, expired=True)
        waiting = asyncio.create_task(shop.commit(full, "all", holds))
        number = 0
        while not waiting.done():
            assert (await shop.commit(other, f"t-{number}", 1)).status_code == 200
            number += 1
        # One could have been under way before; more have overtaken it.
        assert number > 20
        # Whether it came round in time or was told to come again: nothing is stuck.
        assert (await waiting).status_code in {200, 503}
        async with asyncio.timeout(60):
            while (await shop.commit(full, "all", holds)).status_code != 200:
                pass
    assert await what_does_not_add_up(rows, tenant) == []


async def test_commands_of_an_account_whose_holds_are_being_released_keep_no_others_waiting(
    make_settings: MakeSettings, register: FakeRegister, rows: asyncpg.Connection, ledger_url: str, tenant: str
) -> None:
    """They wait in front of the line. In it, the one lane would wait for the account's lock."""
    async with contextlib.AsyncExitStack() as closing:
        settings = make_settings(sweep_seconds=0.01, lanes=1)
        client = await closing.enter_async_context(running(create_app(settings, register=register)))
        platform = Platform(client, register.add(tenant, "points:admin"))
        shop = Vendor(client, register.add(tenant, "points:redeem", vendor_id="shop"))
        user, other = await platform.user_with(10), await platform.user_with(10)
        await hold_many(rows, tenant, user, 3, expired=False)
        stranger = await asyncpg.connect(ledger_url)
        closing.push_async_callback(stranger.close)
        async with stranger.transaction():
            await stranger.execute(
                "SELECT FROM points_ledger.accounts WHERE tenant = $1 AND user_id = $2 FOR UPDATE", tenant, user
            )
            await rows.execute("UPDATE points_ledger.transactions SET expires_at = now() WHERE tenant = $1", tenant)
            async with asyncio.timeout(20):
                while not await rows.fetchval(IS_WAITED_FOR, await stranger.fetchval("SELECT pg_backend_pid()")):
                    pass
            waiting = asyncio.create_task(shop.commit(user, "all", 10))
            async with asyncio.timeout(20):
                assert (await shop.commit(other, "t", 1)).status_code == 200
            assert not waiting.done()
        assert (await waiting).status_code == 200
    assert await what_does_not_add_up(rows, tenant) == []
