"""A closed account: what is in it lapses, what is under way may end, and nobody earns or spends in it any more."""

import asyncio

import asyncpg
import httpx
import pytest

from .adding_up import what_does_not_add_up
from .parties import Platform, Vendor
from .refusals import is_failed, is_problem, no_trace


async def close(platform: Platform, user: str, reason: str = "left us") -> httpx.Response:
    return await platform.client.delete(f"/v1/accounts/{user}", params={"reason": reason}, headers=platform.headers)


async def kinds(platform: Platform, user: str) -> list[tuple[str, int, str]]:
    """(kind, points, reason) of the statement, oldest first."""
    answer = await platform.client.get(f"/v1/accounts/{user}/entries", headers=platform.headers)
    return [(entry["kind"], entry["points"], entry["reason"]) for entry in reversed(answer.json()["entries"])]


async def test_what_is_available_lapses_and_closing_again_tells_the_same(
    platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    for _ in range(2):
        answer = await close(platform, user)
        assert (answer.status_code, answer.json()) == (200, {"user_id": user, "state": "closed", "lapsed": 100})
    assert await platform.balance(user) == (0, 0)
    assert await kinds(platform, user) == [("credit", 100, "because"), ("lapse", -100, "left us")]
    assert await what_does_not_add_up(rows, tenant) == []


async def test_an_empty_account_is_closed_without_an_entry(platform: Platform) -> None:
    user = await platform.user_with(0)
    assert (await close(platform, user)).json() == {"user_id": user, "state": "closed", "lapsed": 0}
    assert await kinds(platform, user) == []


async def test_a_closed_account_takes_and_gives_nothing_any_more(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(100)
    assert (await platform.credit(user, 5, "early")).status_code == 201
    assert (await close(platform, user)).status_code == 200
    async with no_trace(rows):
        assert is_failed(await shop.commit(user, "t", 1), 404, "invalid_user")
        assert is_problem(await platform.credit(user, 1), 409, "account_closed")
        assert is_problem(await platform.debit(user, 1), 409, "account_closed")
        opened = await platform.client.put(f"/v1/accounts/{user}", headers=platform.headers)
        assert is_problem(opened, 409, "account_closed")
    assert (await platform.credit(user, 5, "early")).status_code == 200, "a repeat gets its first answer"


async def test_open_holds_may_be_confirmed_and_what_they_give_back_lapses(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    for name, points in (("whole", 10), ("part", 20), ("back", 30)):
        assert (await shop.commit(user, name, points)).status_code == 200
    assert (await close(platform, user)).json() == {"user_id": user, "state": "closing", "lapsed": 40}

    assert (await shop.confirm(user, "whole")).json()["available"] == 0
    assert (await shop.confirm(user, "part", 15)).json()["points"] == 15
    assert (await close(platform, user)).json() == {"user_id": user, "state": "closing", "lapsed": 45}
    assert (await shop.rollback(user, "back")).status_code == 200
    assert (await close(platform, user)).json() == {"user_id": user, "state": "closed", "lapsed": 75}
    assert (await shop.refund(user, "whole", "r", 4)).status_code == 200
    assert (await close(platform, user)).json() == {"user_id": user, "state": "closed", "lapsed": 79}

    assert await platform.balance(user) == (0, 0)
    assert await what_does_not_add_up(rows, tenant) == []


@pytest.mark.parametrize("swept", [True, False])
async def test_holds_that_expire_lapse_whether_or_not_anybody_has_swept(
    swept: bool, platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    assert (await shop.commit(user, "t", 30)).status_code == 200
    assert (await close(platform, user)).json()["state"] == "closing"
    expired_at = await rows.fetchval(
        "UPDATE points_ledger.transactions SET expires_at = clock_timestamp() WHERE tenant = $1 RETURNING expires_at",
        tenant,
    )
    if swept:
        async with asyncio.timeout(20):
            while await rows.fetchval("SELECT held FROM points_ledger.accounts WHERE tenant = $1", tenant):
                pass
    assert (await close(platform, user)).json() == {"user_id": user, "state": "closed", "lapsed": 100}
    assert await platform.balance(user) == (0, 0)
    # From that instant on, and not only from that of the entry.
    at = {"at": expired_at.isoformat()}
    then = (await platform.client.get(f"/v1/accounts/{user}", params=at, headers=platform.headers)).json()
    assert (then["available"], then["held"], then["total"]) == (0, 0, 0)
    assert await what_does_not_add_up(rows, tenant) == []


async def test_only_an_account_that_is_there_can_be_closed_and_only_for_a_reason(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(1)
    async with no_trace(rows):
        assert is_problem(await close(platform, "nobody"), 404, "account_not_found")
        assert is_problem(await close(platform, user, ""), 400, "malformed_request")
        answer = await shop.client.delete(f"/v1/accounts/{user}?reason=x", headers=shop.headers)
        assert is_problem(answer, 403, "insufficient_scope")
