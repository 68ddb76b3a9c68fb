"""Events of points: each transition once, in order for each transaction, and to nobody who may not know."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from platform_testing.callers import FakeRegister
from platform_testing.events import heard, types_heard
from platform_testing.serving import running
from points_ledger.app import create_app
from points_ledger.settings import Settings
from points_ledger.store import due_in

from .parties import Platform, Vendor

MakeSettings = Callable[..., Settings]

OPEN_HOLDS = "SELECT count(*) FROM points_ledger.transactions WHERE tenant = $1 AND state = 'held'"


async def run_out(rows: asyncpg.Connection, tenant: str) -> None:
    """As if the holds had been made an hour ago."""
    await rows.execute(
        "UPDATE points_ledger.transactions SET created_at = created_at - interval '1 h',"
        " expires_at = expires_at - interval '1 h' WHERE tenant = $1",
        tenant,
    )


async def test_every_transition_is_told_once_and_in_order_and_a_repeat_or_refusal_never(
    app: FastAPI, shop: Vendor, platform: Platform
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "t-1", 60, key="one")
    await shop.commit(user, "t-1", 60, key="one")
    await shop.commit(user, "t-1", 60)
    await shop.commit(user, "too-much", 1000)
    await shop.rollback(user, "never-there")
    await shop.confirm(user, "t-1", 50)
    await shop.confirm(user, "t-1")
    await shop.refund(user, "t-1", "r-1", 20)
    await shop.refund(user, "t-1", "r-1", 20)
    await shop.commit(user, "t-2", 10)
    await shop.rollback(user, "t-2")
    await shop.rollback(user, "t-2")
    events = await heard(app, shop.client, dict(shop.headers))
    assert [(event["type"], event["data"]["transactionid"]) for event in events] == [
        ("points.held", "t-1"),
        ("points.confirmed", "t-1"),
        ("points.refunded", "t-1"),
        ("points.held", "t-2"),
        ("points.rolled_back", "t-2"),
    ]
    confirmed, refunded = events[1]["data"], events[2]["data"]
    assert (confirmed["state"], confirmed["points"], confirmed["userid"]) == ("confirmed", 50, user)
    assert (refunded["refundid"], refunded["refundedpoints"], refunded["pointsrefunded"]) == ("r-1", 20, 20)


async def test_the_platform_hears_of_credits_and_debits_too_and_a_vendor_of_nobody_else_s(
    app: FastAPI, shop: Vendor, platform: Platform, register: FakeRegister, tenant: str
) -> None:
    other = Vendor(shop.client, register.add(tenant, "points:redeem", vendor_id="other"))
    user = await platform.user_with(100)
    await platform.debit(user, 10)
    await shop.commit(user, "t-1", 5)
    await other.commit(user, "t-1", 6)
    expected = ["points.credited", "points.debited", "points.held", "points.held"]
    assert await types_heard(app, shop.client, dict(platform.headers)) == expected
    events = await heard(app, shop.client, dict(other.headers))
    assert [(event["type"], event["data"]["points"]) for event in events] == [("points.held", 6)]


async def test_a_hold_that_runs_out_is_told_whoever_notices(
    app: FastAPI, shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    """By the sweeper, or by the next command of the account; each once."""
    user = await platform.user_with(100)
    for number in range(3):
        await shop.commit(user, f"t-{number}", 10)
    await run_out(rows, tenant)
    await platform.credit(user, 1)
    await shop.commit(user, "later", 1)
    events = await heard(app, shop.client, dict(shop.headers), type="points.expired")
    assert sorted(event["data"]["transactionid"] for event in events) == ["t-0", "t-1", "t-2"]
    assert {event["data"]["state"] for event in events} == {"expired"}


@pytest.mark.parametrize("closing", [False, True])
async def test_the_sweeper_tells_of_each_hold_that_it_releases(
    closing: bool, make_settings: MakeSettings, register: FakeRegister, rows: asyncpg.Connection, tenant: str
) -> None:
    """Also in an account that is closing, whose points lapse then. No command comes to notice it."""
    app = create_app(make_settings(sweep_seconds=0.01), register=register)
    async with running(app) as client:
        platform = Platform(client, register.add(tenant, "points:admin", "points:read"))
        shop = Vendor(client, register.add(tenant, "points:redeem", vendor_id="shop"))
        user = await platform.user_with(100)
        for number in (1, 2):
            assert (await shop.commit(user, f"t-{number}", 10 * number)).status_code == 200
        if closing:
            closed = await client.delete(f"/v1/accounts/{user}?reason=left", headers=platform.headers)
            assert closed.json()["state"] == "closing"
        await run_out(rows, tenant)
        async with asyncio.timeout(20):
            while await rows.fetchval(OPEN_HOLDS, tenant):
                pass
        events = await heard(app, client, dict(shop.headers))
        told = {event["data"]["transactionid"]: event for event in events if event["type"] == "points.expired"}
        assert sorted(event["type"] for event in events) == ["points.expired"] * 2 + ["points.held"] * 2
        for number in (1, 2):
            expired = told[f"t-{number}"]
            looked_up: dict[str, Any] = (await shop.look_up(f"t-{number}")).json()
            assert expired["data"]["state"] == "expired"
            assert expired["data"] == {name: looked_up[name] for name in looked_up.keys() - {"status", "refunds"}}
            assert expired["timestamp"] == expired["data"]["expiredat"] == expired["data"]["expiresat"]


async def test_holds_beyond_what_a_batch_releases_are_told_too_each_once(
    make_settings: MakeSettings, register: FakeRegister, rows: asyncpg.Connection, tenant: str
) -> None:
    """The batch of a command tells of some, the slices that it waits for tell of the rest."""
    holds = due_in(1) + 50
    app = create_app(make_settings(sweep_seconds=86_400), register=register)
    async with running(app) as client:
        platform = Platform(client, register.add(tenant, "points:admin"))
        shop = Vendor(client, register.add(tenant, "points:redeem", vendor_id="shop"))
        user = await platform.user_with(holds)
        await asyncio.gather(*(shop.commit(user, f"t-{number}", 1) for number in range(holds)))
        await run_out(rows, tenant)
        assert (await shop.commit(user, "all", holds)).status_code == 200
        events = await heard(app, client, dict(shop.headers), type="points.expired")
    assert sorted(event["data"]["transactionid"] for event in events) == sorted(f"t-{n}" for n in range(holds))
    assert len({event["id"] for event in events}) == holds
