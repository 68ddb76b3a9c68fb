"""Events of points: each transition once, in order for each transaction, and to nobody who may not know."""

import asyncpg
from fastapi import FastAPI
from platform_testing.callers import FakeRegister
from platform_testing.events import heard, types_heard

from .parties import Platform, Vendor


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
    await rows.execute(
        "UPDATE points_ledger.transactions SET created_at = created_at - interval '1 h',"
        " expires_at = expires_at - interval '1 h' WHERE tenant = $1",
        tenant,
    )
    await platform.credit(user, 1)
    await shop.commit(user, "later", 1)
    events = await heard(app, shop.client, dict(shop.headers), type="points.expired")
    assert sorted(event["data"]["transactionid"] for event in events) == ["t-0", "t-1", "t-2"]
    assert {event["data"]["state"] for event in events} == {"expired"}
