"""What is told of the past and of single transactions is the whole truth, and the same whenever it is asked."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from platform_testing.callers import FakeRegister

from .parties import EAI, Platform, Vendor
from .refusals import is_failed, is_problem


async def test_refunds_stand_in_the_look_up_and_apart_from_their_transaction_in_the_statement(
    platform: Platform, shop: Vendor
) -> None:
    user = await platform.user_with(100)
    for name in ("t/1", "t"):
        assert (await shop.commit(user, name, 40)).status_code == 200
        assert (await shop.confirm(user, name)).status_code == 200
    for refund, points in (("r-1", 5), ("r/2", 7)):
        assert (await shop.refund(user, "t/1", refund, points)).json()["refundid"] == refund

    found = (await shop.look_up("t%2F1")).json()
    assert [(refund["refundid"], refund["points"]) for refund in found["refunds"]] == [("r-1", 5), ("r/2", 7)]
    assert all(refund["refundedat"].endswith("Z") for refund in found["refunds"])
    assert (await shop.look_up("t")).json()["refunds"] == []

    answer = await platform.client.get(f"/v1/accounts/{user}/entries", headers=platform.headers)
    told = [(entry["kind"], entry["transactionid"], entry["refundid"]) for entry in answer.json()["entries"]]
    assert told == [
        ("refund", "t/1", "r/2"),
        ("refund", "t/1", "r-1"),
        ("redemption", "t", None),
        ("redemption", "t/1", None),
        ("credit", None, None),
    ]


async def test_an_entry_says_who_made_it_and_with_which_request(
    platform: Platform, register: FakeRegister, tenant: str, client: httpx.AsyncClient
) -> None:
    headers = {**register.add(tenant, "points:redeem", vendor_id="mall", client_id="mall-client")}
    mall = Vendor(client, headers)
    user = await platform.user_with(100)
    assert (await mall.commit(user, "t", 40)).status_code == 200
    mall.headers = {**headers, "X-Request-Id": "find-me"}
    assert (await mall.confirm(user, "t")).status_code == 200
    answer = await client.get(f"/v1/accounts/{user}/entries", headers=platform.headers)
    redemption, credit = answer.json()["entries"]
    assert (redemption["client_id"], redemption["subject"], redemption["request_id"]) == (
        "mall-client",
        None,
        "find-me",
    )
    assert credit["client_id"].startswith("client-")
    assert credit["request_id"]


async def test_a_balance_of_the_past_includes_the_very_millisecond(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    user = await platform.user_with(0)
    for points in range(1, 30):
        created_at = (await platform.credit(user, points)).json()["created_at"]
        answer = await client.get(f"/v1/accounts/{user}", params={"at": created_at}, headers=platform.headers)
        body = answer.json()
        assert (body["available"], body["as_of"]) == (points * (points + 1) // 2, created_at)


async def test_a_balance_of_a_moment_ago_is_the_same_whenever_it_is_asked(
    platform: Platform, shop: Vendor, client: httpx.AsyncClient, rows: asyncpg.Connection
) -> None:
    """Also while commands with an earlier time are still being written."""
    user = await platform.user_with(10_000)

    async def spend() -> None:
        for number in range(60):
            assert (await shop.commit(user, f"t-{number}", 1)).status_code == 200
            assert (await shop.confirm(user, f"t-{number}")).status_code == 200

    async def ask(moment: str) -> dict[str, Any]:
        answer = await client.get(f"/v1/accounts/{user}", params={"at": moment}, headers=platform.headers)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    spending = asyncio.create_task(spend())
    told = []
    while not spending.done():
        now = (await rows.fetchval("SELECT clock_timestamp()")).isoformat()
        told.append((now, await ask(now)))
    await spending
    assert len(told) > 10
    for moment, answer in told:
        assert await ask(moment) == answer


@pytest.mark.parametrize(
    "time", ["2026", "1764000000", "2026-12-01", "2026-12-01T08:00:00", "2026-12-01T08:00:00 01:00", "now", ""]
)
async def test_a_time_is_iso_8601_with_a_zone_and_nothing_else(time: str, platform: Platform, shop: Vendor) -> None:
    user = await platform.user_with(1)
    answer = await platform.client.get(f"/v1/accounts/{user}", params={"at": time}, headers=platform.headers)
    assert is_problem(answer, 400, "malformed_request")
    for name in ("since", "updated_since"):
        answer = await shop.client.get(EAI, params={name: time}, headers=shop.headers)
        assert is_failed(answer, 400, "malformed_request")


async def test_a_vendor_lists_its_transactions_by_last_change(platform: Platform, shop: Vendor) -> None:
    user = await platform.user_with(100)
    for name in ("a", "b", "c"):
        assert (await shop.commit(user, name, 1)).status_code == 200
    made = (await shop.look_up("a")).json()["createdat"]

    async def changed(since: str, **more: str) -> list[str]:
        seen: list[str] = []
        cursor: str | None = None
        while True:
            asked = {"updated_since": since, "limit": "1", **more} | ({"cursor": cursor} if cursor else {})
            page = (await shop.client.get(EAI, params=asked, headers=shop.headers)).json()
            seen += [transaction["transactionid"] for transaction in page["transactions"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return seen

    assert await changed(made) == ["a", "b", "c"]
    assert (await shop.confirm(user, "a")).status_code == 200
    assert (await shop.refund(user, "a", "r", 1)).status_code == 200
    assert (await shop.rollback(user, "b")).status_code == 200
    assert await changed(made) == ["c", "a", "b"]
    assert await changed(made, state="confirmed") == ["a"]
    ended = (await shop.look_up("b")).json()["rolledbackat"]
    assert await changed(ended) in (["b"], ["a", "b"])
    assert await changed("2999-01-01T00:00:00Z") == []


@pytest.mark.parametrize("state", ["held", "confirmed", "rolled_back", "expired", "rejected", "cancelled"])
async def test_a_vendor_lists_its_transactions_of_each_state_in_pages(
    state: str, platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    wanted = {}
    for number in range(3):
        for each in ("held", "confirmed", "rolled_back", "expired", "swept", "rejected", "cancelled"):
            name = f"{each}-{number}"
            wanted.setdefault("expired" if each == "swept" else each, []).append(name)
            if each == "cancelled":
                assert (await shop.rollback(user, name)).status_code == 404
                continue
            await shop.commit(user, name, 1000 if each == "rejected" else 1)
            if each == "confirmed":
                assert (await shop.confirm(user, name)).status_code == 200
            if each == "rolled_back":
                assert (await shop.rollback(user, name)).status_code == 200
            if each in {"expired", "swept"}:
                await rows.execute(
                    "UPDATE points_ledger.transactions SET expires_at = clock_timestamp()"
                    " WHERE tenant = $1 AND transaction_id = $2",
                    tenant,
                    name,
                )
            if each == "swept":
                # Any command of the account releases what has expired in it.
                await shop.commit(user, f"held-{number}", 1)
    seen, cursor = [], None
    while True:
        asked = {"state": state, "limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await shop.client.get(EAI, params=asked, headers=shop.headers)).json()
        assert {transaction["state"] for transaction in page["transactions"]} <= {state}
        seen += [transaction["transactionid"] for transaction in page["transactions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == wanted[state]


async def test_a_vendor_sees_of_an_account_what_may_be_spent_and_nothing_else(
    platform: Platform, shop: Vendor, client: httpx.AsyncClient
) -> None:
    user = await platform.user_with(100)
    assert (await shop.commit(user, "t", 40)).status_code == 200
    answer = await client.get(f"/eai/v1/balances/{user}", headers=shop.headers)
    body = answer.json()
    assert body.pop("as_of").endswith("Z")
    assert (answer.status_code, body) == (200, {"status": "success", "userid": user, "available": 60})
    assert is_failed(await client.get("/eai/v1/balances/nobody", headers=shop.headers), 404, "invalid_user")


async def test_the_platform_sees_open_holds_over_all_vendors(
    platform: Platform,
    shop: Vendor,
    register: FakeRegister,
    client: httpx.AsyncClient,
    tenant: str,
    rows: asyncpg.Connection,
) -> None:
    mall = Vendor(client, register.add(tenant, "points:redeem", vendor_id="mall"))
    ann, bob = await platform.user_with(100), await platform.user_with(100)
    for vendor, user, name in (
        (shop, ann, "1"),
        (mall, ann, "2"),
        (shop, bob, "3"),
        (shop, bob, "over"),
        (mall, bob, "4"),
    ):
        assert (await vendor.commit(user, name, 5)).status_code == 200
    await rows.execute(
        "UPDATE points_ledger.transactions SET expires_at = clock_timestamp() WHERE transaction_id = 'over'"
        " AND tenant = $1",
        tenant,
    )
    assert (await shop.commit(bob, "done", 5)).status_code == 200
    assert (await shop.confirm(bob, "done")).status_code == 200

    async def holds(**asked: str) -> list[str]:
        seen: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": "2", **asked} | ({"cursor": cursor} if cursor else {})
            answer = await client.get("/v1/holds", params=query, headers=platform.headers)
            assert answer.status_code == 200, answer.text
            seen += [hold["transactionid"] for hold in answer.json()["holds"]]
            cursor = answer.json()["next_cursor"]
            if cursor is None:
                return seen

    assert await holds() == ["1", "2", "3", "4"]
    assert await holds(user_id=ann) == ["1", "2"]
    assert await holds(vendor_id="mall") == ["2", "4"]
    assert await holds(user_id=bob, vendor_id="shop") == ["3"]
    assert await holds(older_than="3600") == []
    await rows.execute(
        "UPDATE points_ledger.transactions SET created_at = created_at - interval '2 hours'"
        " WHERE tenant = $1 AND transaction_id = '2'",
        tenant,
    )
    assert await holds(older_than="3600") == ["2"]
    first = (await client.get("/v1/holds?limit=1", headers=platform.headers)).json()["holds"][0]
    assert first.keys() == {"vendor_id", "transactionid", "user_id", "points", "created_at", "expires_at"}
    assert is_problem(await client.get("/v1/holds", headers=shop.headers), 403, "insufficient_scope")


async def test_one_client_has_no_more_reports_under_way_than_agreed(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(1)
    lock = rows.transaction()
    await lock.start()
    await rows.execute("SELECT FROM points_ledger.accounts WHERE tenant = $1 FOR UPDATE", tenant)
    now = (await rows.fetchval("SELECT clock_timestamp()")).isoformat()
    try:
        asked = [
            asyncio.create_task(
                platform.client.get(f"/v1/accounts/{user}", params={"at": now}, headers=platform.headers)
            )
            for _ in range(5)
        ]
        (refused,), _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        answer = refused.result()
        assert is_problem(answer, 429, "too_many_reports")
        assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= {
            name.title().replace("Ratelimit", "RateLimit") for name in answer.headers
        }
        assert (await shop.client.get(EAI, headers=shop.headers)).status_code == 200
    finally:
        await lock.rollback()
    assert sorted(answer.status_code for answer in await asyncio.gather(*asked)) == [200, 200, 200, 200, 429]


async def test_an_id_may_contain_a_slash_on_every_path(
    platform: Platform, shop: Vendor, client: httpx.AsyncClient
) -> None:
    headers = platform.headers
    for user in ("a%2Fb", "a/b/c", "%2F", "a%2F"):
        assert (await client.put(f"/v1/accounts/{user}", headers=headers)).status_code == 201
        body = {"points": 10, "reference": "r", "reason": ""}
        for kind in ("credits", "debits"):
            answer = await client.post(f"/v1/accounts/{user}/{kind}", json=body, headers=headers)
            assert answer.status_code == 201
        assert (await client.get(f"/v1/accounts/{user}/entries", headers=headers)).json()["entries"]
        assert (await client.get(f"/v1/accounts/{user}", headers=headers)).json()["total"] == 0
        assert (await client.get(f"/eai/v1/balances/{user}", headers=shop.headers)).json()["available"] == 0
        assert (await client.delete(f"/v1/accounts/{user}?reason=x", headers=headers)).status_code == 200
    for vendor in ("a%2Fb", "a/b"):
        answer = await client.put(f"/v1/vendors/{vendor}", json={"hold_seconds": 5}, headers=headers)
        assert answer.json() == {"vendor_id": "a/b", "hold_seconds": 5, "known": None}
        assert (await client.get(f"/v1/vendors/{vendor}", headers=headers)).json()["hold_seconds"] == 5
