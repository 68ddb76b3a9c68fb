"""What a rewards vendor is answered over HTTP: every cell of the contract's table, and all that surrounds it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import asyncpg
import httpx
import pytest
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.serving import running
from points_ledger.app import create_app
from points_ledger.settings import Settings

from .parties import EAI, Platform, Vendor

MakeSettings = Callable[..., Settings]

#: What every cell must say: (operation, state before) → (status, code or message, state after).
CELLS = {
    ("commit", None): (200, "points committed for transaction", "held"),
    ("commit", "held"): (200, "points committed for transaction", "held"),
    ("commit", "confirmed"): (409, "points_already_deducted", "confirmed"),
    ("commit", "rolled_back"): (409, "transaction_rolled_back", "rolled_back"),
    ("commit", "expired"): (409, "hold_expired", "expired"),
    ("commit", "rejected"): (400, "insufficient_points", "rejected"),
    ("commit", "cancelled"): (409, "transaction_rolled_back", "cancelled"),
    ("confirm", None): (404, "transaction_not_found", None),
    ("confirm", "held"): (200, "points successfully deducted", "confirmed"),
    ("confirm", "confirmed"): (409, "points_already_deducted", "confirmed"),
    ("confirm", "rolled_back"): (409, "transaction_rolled_back", "rolled_back"),
    ("confirm", "expired"): (409, "hold_expired", "expired"),
    ("confirm", "rejected"): (409, "transaction_rejected", "rejected"),
    ("confirm", "cancelled"): (409, "transaction_rolled_back", "cancelled"),
    ("rollback", None): (404, "transaction_not_found", "cancelled"),
    ("rollback", "held"): (200, "points successfully rolled back", "rolled_back"),
    ("rollback", "confirmed"): (409, "points_already_deducted", "confirmed"),
    ("rollback", "rolled_back"): (409, "no_points_to_roll_back", "rolled_back"),
    ("rollback", "expired"): (409, "no_points_to_roll_back", "expired"),
    ("rollback", "rejected"): (409, "no_points_to_roll_back", "rejected"),
    ("rollback", "cancelled"): (404, "transaction_not_found", "cancelled"),
    ("refund", None): (404, "transaction_not_found", None),
    ("refund", "held"): (409, "transaction_not_confirmed", "held"),
    ("refund", "confirmed"): (200, "points successfully refunded", "confirmed"),
    ("refund", "rolled_back"): (409, "transaction_not_confirmed", "rolled_back"),
    ("refund", "expired"): (409, "transaction_not_confirmed", "expired"),
    ("refund", "rejected"): (409, "transaction_not_confirmed", "rejected"),
    ("refund", "cancelled"): (404, "transaction_not_found", "cancelled"),
}
#: (available, held) of a user with 100 points after a cell that succeeds; before it otherwise.
BEFORE = {None: (100, 0), "held": (60, 40), "confirmed": (60, 0)}
AFTER = {("commit", None): (60, 40), ("confirm", "held"): (60, 0), ("refund", "confirmed"): (70, 0)}


@pytest.fixture(scope="module")
def register() -> FakeRegister:
    return FakeRegister()


@pytest.fixture(scope="module")
async def client(make_settings: MakeSettings, register: FakeRegister) -> AsyncIterator[httpx.AsyncClient]:
    """Of a ledger whose sweeper does not come by: expiry is decided at use."""
    async with running(create_app(make_settings(sweep_seconds=86_400), register=register)) as client:
        yield client


async def run_out(rows: asyncpg.Connection, tenant: str, transaction: str) -> None:
    """As if the hold had been made long ago."""
    await rows.execute(
        "UPDATE points_ledger.transactions SET expires_at = clock_timestamp()"
        " WHERE tenant = $1 AND transaction_id = $2",
        tenant, transaction,
    )  # fmt: skip


async def bring_to(
    state: str | None, shop: Vendor, user: str, rows: asyncpg.Connection, tenant: str, name: str = "order-1"
) -> None:
    """`name` over 40 points of a user who has 100."""
    if state in {"held", "confirmed", "rolled_back", "expired"}:
        assert (await shop.commit(user, name, 40)).status_code == 200
    if state == "confirmed":
        assert (await shop.confirm(user, name)).status_code == 200
    elif state == "rolled_back":
        assert (await shop.rollback(user, name)).status_code == 200
    elif state == "expired":
        await run_out(rows, tenant, name)
    elif state == "rejected":
        assert (await shop.commit(user, name, 101)).status_code == 400
    elif state == "cancelled":
        assert (await shop.rollback(user, name)).status_code == 404


async def ask(operation: str, shop: Vendor, user: str, name: str = "order-1") -> httpx.Response:
    match operation:
        case "commit":
            return await shop.commit(user, name, 40)
        case "confirm":
            return await shop.confirm(user, name)
        case "rollback":
            return await shop.rollback(user, name)
        case _:
            return await shop.refund(user, name, "return-1", 10)


@pytest.mark.parametrize(("operation", "before"), CELLS)
async def test_each_cell_of_the_table_over_http(
    operation: str, before: str | None, shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    await bring_to(before, shop, user, rows, tenant)
    status, said, after = CELLS[operation, before]

    answer = await ask(operation, shop, user)
    body = answer.json()

    assert answer.status_code == status, body
    assert answer.headers["content-type"] == "application/json"
    expected: dict[str, Any] = {"transactionid": "order-1"} | ({} if after is None else {"state": after})
    if status == 200:
        points = 10 if operation == "refund" else 40
        expected |= {"status": "success", "message": said, "points": points}
        if operation == "refund":
            expected["refundid"] = "return-1"
        if after == "held":
            assert datetime.fromisoformat(body.pop("expiresat")).tzinfo is not None
    else:
        assert body.pop("message")
        expected |= {"status": "failed", "code": said}
    available, _ = await platform.balance(user)
    if status == 200 or said == "insufficient_points":
        assert body.pop("available") == available, "what the user may spend after it"
    assert body == expected
    balance = AFTER.get((operation, before), BEFORE.get(before, (100, 0)))
    assert await platform.balance(user) == ((100, 0) if operation == "rollback" and before == "held" else balance)

    if status == 200 and operation != "rollback" and (operation, before) != ("confirm", "held"):
        assert (await ask(operation, shop, user)).json() == answer.json(), "the same question gets the same answer"
        assert await platform.balance(user) == balance


async def test_the_words_of_the_source_document_are_kept(shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(100)
    assert (await shop.confirm(user, "t")).json()["message"] == "transaction not found"
    await shop.commit(user, "u", 10)
    await shop.confirm(user, "u")
    assert (await shop.confirm(user, "u")).json()["message"] == "points already deducted"
    await shop.commit(user, "v", 10)
    await shop.rollback(user, "v")
    assert (await shop.rollback(user, "v")).json()["message"] == "no points to roll back"


async def test_an_unknown_user_is_refused_and_nothing_is_recorded(shop: Vendor, platform: Platform) -> None:
    answer = await shop.commit("nobody", "t", 10)

    assert (answer.status_code, answer.json()["code"]) == (404, "invalid_user")
    assert (await shop.look_up("t")).status_code == 404
    user = await platform.user_with(10)
    assert (await shop.commit(user, "t", 10)).status_code == 200, "the id is still free"


async def test_a_late_duplicate_never_holds_points_after_the_shop_has_said_no(shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(10)
    assert (await shop.commit(user, "t", 40)).status_code == 400
    await platform.credit(user, 100)

    again = await shop.commit(user, "t", 40)

    assert (again.status_code, again.json()["code"]) == (400, "insufficient_points")
    assert await platform.balance(user) == (110, 0)


async def test_a_commit_that_its_rollback_overtook_strands_no_points(shop: Vendor, platform: Platform) -> None:
    user, other = await platform.user_with(100), await platform.user_with(100)
    assert (await shop.rollback(user, "t")).status_code == 404
    for late in (user, other):
        assert (await shop.commit(late, "t", 40)).json()["code"] == "transaction_rolled_back"
        assert await platform.balance(late) == (100, 0)


@pytest.mark.parametrize(("operation", "field"), [
    ("user", "userid"), ("points", "pointstodeduct"), ("confirm", "userid"), ("rollback", "userid"),
    ("refund", "userid"), ("more", "pointstodeduct"),
])  # fmt: skip
async def test_a_mismatch_names_the_field_and_changes_nothing(
    operation: str, field: str, shop: Vendor, platform: Platform
) -> None:
    user, other = await platform.user_with(100), await platform.user_with(100)
    await shop.commit(user, "t", 40)
    ask_wrongly = {
        "user": lambda: shop.commit(other, "t", 40),
        "points": lambda: shop.commit(user, "t", 41),
        "confirm": lambda: shop.confirm(other, "t"),
        "rollback": lambda: shop.rollback(other, "t"),
        "refund": lambda: shop.refund(other, "t", "r", 1),
        "more": lambda: shop.confirm(user, "t", 41),
    }[operation]

    answer = await ask_wrongly()

    body = answer.json()
    assert (answer.status_code, body["code"]) == (409, "transaction_mismatch")
    assert (body["field"], body["state"]) == (field, "held")
    assert await platform.balance(user) == (60, 40)
    assert await platform.balance(other) == (100, 0)


async def test_a_partial_confirm_gives_the_rest_back(shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "t", 40)

    answer = await shop.confirm(user, "t", 15)

    assert (answer.json()["points"], answer.json()["state"]) == (15, "confirmed")
    assert await platform.balance(user) == (85, 0)


async def test_refunds_together_never_exceed_what_was_deducted(shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "t", 40)
    await shop.confirm(user, "t", 30)

    assert (await shop.refund(user, "t", "r1", 20)).status_code == 200
    assert (await shop.refund(user, "t", "r1", 20)).status_code == 200, "again, and given back once"
    assert (await shop.refund(user, "t", "r1", 19)).json()["code"] == "transaction_mismatch"
    too_much = await shop.refund(user, "t", "r2", 11)
    assert (too_much.status_code, too_much.json()["code"]) == (409, "refund_exceeds_deduction")
    assert (await shop.refund(user, "t", "r2", 10)).status_code == 200
    assert await platform.balance(user) == (100, 0)


async def test_refund_ids_of_two_transactions_are_never_taken_for_each_other(shop: Vendor, platform: Platform) -> None:
    """However the ids are cut: a + bc is not ab + c."""
    user = await platform.user_with(100)
    for transaction in ("a", "a/b", "ab"):
        await shop.commit(user, transaction, 10)
        await shop.confirm(user, transaction)
    for transaction, refund in (("a", "b/c"), ("a/b", "c"), ("a", "bc"), ("ab", "c")):
        assert (await shop.refund(user, transaction, refund, 5)).status_code == 200
    assert await platform.balance(user) == (90, 0)


@pytest.mark.parametrize("query", ["commit", "commit=", "commit=1", "%63ommit"])
async def test_the_operation_may_be_named_in_each_of_these_ways(query: str, shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(100)
    body = {"userid": user, "transactionid": "t", "pointstodeduct": 40, "description": "a mug"}

    assert (await shop.post(query, body, key="k")).status_code == 200
    again = await shop.post("commit", body, key="k")
    assert again.headers["idempotency-replayed"] == "true", "and they are one and the same request"


async def test_both_spellings_are_one(shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(100)
    camel = {"userId": user, "transactionId": "t"}

    held = await shop.post("commit", camel | {"pointsToDeduct": 40, "description": "a mug"})
    assert held.json() == (await shop.commit(user, "t", 40)).json()
    confirmed = await shop.post("confirm", camel | {"pointsToDeduct": 30})
    assert (confirmed.json()["state"], confirmed.json()["points"]) == ("confirmed", 30)
    refunded = await shop.post("refund", camel | {"refundId": "r", "points": 10})
    assert refunded.json() == (await shop.refund(user, "t", "r", 10)).json()
    assert (await shop.post("rollback", camel)).json()["code"] == "points_already_deducted"


async def test_two_vendors_may_use_the_same_transaction_id(
    shop: Vendor, platform: Platform, register: FakeRegister, tenant: str
) -> None:
    mall = Vendor(shop.client, register.add(tenant, "points:redeem", vendor_id="mall"))
    user = await platform.user_with(100)

    assert (await shop.commit(user, "t", 40)).status_code == 200
    assert (await mall.look_up("t")).status_code == 404
    assert (await mall.commit(user, "t", 50)).status_code == 200
    assert (await shop.confirm(user, "t")).json()["points"] == 40
    assert (await mall.rollback(user, "t")).json()["points"] == 50
    assert await platform.balance(user) == (60, 0)


async def test_a_vendors_clients_share_its_transactions_and_a_client_without_a_vendor_is_its_own(
    shop: Vendor, platform: Platform, register: FakeRegister, tenant: str
) -> None:
    colleague = Vendor(shop.client, register.add(tenant, "points:redeem", vendor_id="shop"))
    namesake = Vendor(shop.client, register.add(tenant, "points:redeem", client_id="lonely"))
    lonely_vendor = Vendor(shop.client, register.add(tenant, "points:redeem", vendor_id="lonely"))
    user = await platform.user_with(100)

    await shop.commit(user, "t", 40)
    assert (await colleague.confirm(user, "t")).status_code == 200
    await namesake.commit(user, "u", 10)
    assert (await lonely_vendor.look_up("u")).json()["state"] == "held"


@pytest.mark.parametrize(
    ("state", "times", "points"),
    [
        ("held", {"heldat", "expiresat"}, (40, 40, 0)),
        ("confirmed", {"heldat", "expiresat", "confirmedat"}, (40, 0, 40)),
        ("rolled_back", {"heldat", "expiresat", "rolledbackat"}, (40, 0, 0)),
        ("expired", {"heldat", "expiresat", "expiredat"}, (40, 0, 0)),
        ("rejected", {"rejectedat"}, (101, 0, 0)),
        ("cancelled", {"cancelledat"}, (0, 0, 0)),
    ],
)
async def test_a_look_up_tells_state_points_and_every_time(
    state: str,
    times: set[str],
    points: tuple[int, int, int],
    shop: Vendor,
    platform: Platform,
    rows: asyncpg.Connection,
    tenant: str,
) -> None:
    user = await platform.user_with(100)
    await bring_to(state, shop, user, rows, tenant, "a/strange id?ä")

    body = (await shop.look_up("a/strange%20id%3F%C3%A4")).json()

    assert (body["transactionid"], body["userid"], body["state"]) == ("a/strange id?ä", user, state)
    assert (body["pointsrequested"], body["pointsheld"], body["pointsdeducted"]) == points
    assert {name for name in body if name.endswith("at") and name != "createdat"} == times
    for name in times | {"createdat"}:
        assert len(body[name]) == len("2026-11-21T08:15:30.123Z")
        assert body[name].endswith("Z")


async def test_a_hold_is_over_when_its_time_has_come_whether_or_not_anybody_has_swept(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "t", 80)
    assert (await shop.commit(user, "too much", 80)).status_code == 400

    await run_out(rows, tenant, "t")

    assert await platform.balance(user) == (100, 0)
    looked_up = (await shop.look_up("t")).json()
    assert (looked_up["state"], looked_up["pointsheld"]) == ("expired", 0)
    assert looked_up["expiredat"] == looked_up["expiresat"]
    assert (await shop.commit(user, "next", 80)).status_code == 200, "its points are there for others"
    for answer in (await shop.confirm(user, "t"), await shop.commit(user, "t", 80)):
        assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (409, "hold_expired", "expired")
    assert (await shop.rollback(user, "t")).json()["code"] == "no_points_to_roll_back"
    assert await platform.balance(user) == (20, 80)


async def test_the_first_to_touch_an_expired_hold_may_be_its_own_confirm(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "t", 80)
    await run_out(rows, tenant, "t")

    assert (await shop.confirm(user, "t")).json()["code"] == "hold_expired"
    stored = await rows.fetchrow("SELECT available, held FROM points_ledger.accounts WHERE user_id = $1", user)
    assert tuple(stored) == (100, 0)


async def test_the_vendors_own_hold_time_counts_by_the_databases_clock(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection
) -> None:
    set_to = await shop.client.put("/v1/vendors/shop", json={"hold_seconds": 1}, headers=platform.headers)
    assert set_to.status_code == 200
    user = await platform.user_with(100)
    held = (await shop.commit(user, "t", 80)).json()
    created = datetime.fromisoformat((await shop.look_up("t")).json()["createdat"])
    assert (datetime.fromisoformat(held["expiresat"]) - created).total_seconds() == pytest.approx(1, abs=0.002)

    async with asyncio.timeout(20):
        while not await rows.fetchval("SELECT clock_timestamp() > $1", datetime.fromisoformat(held["expiresat"])):
            pass

    assert (await shop.confirm(user, "t")).json()["code"] == "hold_expired"
    assert await platform.balance(user) == (100, 0)


async def test_without_a_time_of_its_own_a_vendors_hold_lasts_a_quarter_of_an_hour(
    shop: Vendor, platform: Platform
) -> None:
    user = await platform.user_with(100)
    held = (await shop.commit(user, "t", 80)).json()
    created = datetime.fromisoformat((await shop.look_up("t")).json()["createdat"])
    assert (datetime.fromisoformat(held["expiresat"]) - created).total_seconds() == pytest.approx(900, abs=0.002)


async def test_another_tenants_data_look_like_what_does_not_exist(
    shop: Vendor, platform: Platform, register: FakeRegister, service_keys: ServiceKeys
) -> None:
    """Same vendor id, same transaction id, same user id: only the credential says whose."""
    foreign_shop = Vendor(shop.client, register.add("other", "points:redeem", vendor_id="shop"))
    foreign_admin = register.add("other", "points:admin")
    user = await platform.user_with(100)
    await shop.commit(user, "t", 40)

    async def same(one: httpx.Response, other: httpx.Response, *names: tuple[str, str]) -> None:
        def plain(answer: httpx.Response) -> str:
            text = answer.text.replace(answer.headers["x-request-id"], "")
            for mine, none in names:
                text = text.replace(mine, none)
            return text

        assert one.status_code == other.status_code == 404
        assert plain(one) == plain(other)

    names = ((user, "nobody"), ('"t"', '"none"'))
    await same(await foreign_shop.look_up("t"), await foreign_shop.look_up("none"), *names)
    await same(await foreign_shop.confirm(user, "t"), await foreign_shop.confirm("nobody", "none"), *names)
    await same(await foreign_shop.commit(user, "t", 1), await foreign_shop.commit("nobody", "none", 1), *names)
    get, post = shop.client.get, shop.client.post
    body = {"points": 1, "reference": "r", "reason": ""}
    for path in ("", "/entries", "?at=2026-01-01T00:00:00Z"):
        await same(
            await get(f"/v1/accounts/{user}{path}", headers=foreign_admin),
            await get(f"/v1/accounts/nobody{path}", headers=foreign_admin),
        )
    for path in ("credits", "debits"):
        await same(
            await post(f"/v1/accounts/{user}/{path}", json=body, headers=foreign_admin),
            await post(f"/v1/accounts/nobody/{path}", json=body, headers=foreign_admin),
        )
    headers = service_keys.headers("partner-onboarding", "points-ledger")
    await same(
        await get(f"/internal/tenants/other/accounts/{user}", headers=headers),
        await get("/internal/tenants/other/accounts/nobody", headers=headers),
    )
    headers = service_keys.headers("sso-issuer", "points-ledger")
    asked = await post("/internal/tenants/other/balances", json={"user_ids": [user, "nobody"]}, headers=headers)
    assert asked.json() == {"balances": [], "absent": [user, "nobody"]}
    assert (await foreign_shop.client.get(EAI, headers=foreign_shop.headers)).json()["transactions"] == []
    assert (await foreign_shop.rollback(user, "t")).status_code == 404, "a tombstone of its own"
    assert (await shop.confirm(user, "t")).status_code == 200
