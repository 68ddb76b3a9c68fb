"""The same key and body within 24 hours: the first answer again, whatever it was and whatever has happened since."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable

import asyncpg
import httpx
import pytest
from platform_testing.callers import FakeRegister
from platform_testing.serving import running
from points_ledger.app import create_app
from points_ledger.settings import Settings

from .adding_up import what_does_not_add_up
from .parties import EAI, Platform, Vendor

MakeSettings = Callable[..., Settings]


@pytest.fixture(scope="module")
def register() -> FakeRegister:
    return FakeRegister()


@pytest.fixture(scope="module")
async def client(
    make_settings: MakeSettings, register: FakeRegister, ledger_url: str
) -> AsyncIterator[httpx.AsyncClient]:
    # Asks for the database by name as well: migrating it takes an event loop of its own.
    assert ledger_url
    # Its sweeper does not come by, which would forget what these tests make old.
    async with running(create_app(make_settings(sweep_seconds=86_400), register=register)) as client:
        yield client


def is_replay(answer: httpx.Response, of: httpx.Response) -> bool:
    """The first answer again, to the byte, and marked as such."""
    assert "idempotency-replayed" not in of.headers
    # A repeat counts against the caller's limit like any other request.
    own = {"x-request-id", "traceparent", "idempotency-replayed", "ratelimit", "ratelimit-policy"}
    heads = [{(k, v) for k, v in a.headers.items() if k not in own} for a in (answer, of)]
    return (
        answer.headers.get("idempotency-replayed") == "true"
        and (answer.status_code, answer.content) == (of.status_code, of.content)
        and heads[0] == heads[1]
    )


async def make_old(rows: asyncpg.Connection, tenant: str, age: str) -> None:
    await rows.execute(
        f"UPDATE points_ledger.idempotent_answers SET created_at = now() - interval '{age}' WHERE tenant = $1",  # noqa: S608
        tenant,
    )


async def test_the_first_answer_comes_again_whatever_has_happened_since(shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(100)
    held = await shop.commit(user, "t", 40, key="commit-1")
    confirmed = await shop.confirm(user, "t", 30, key="confirm-1")
    refunded = await shop.refund(user, "t", "r", 10, key="refund-1")
    assert [a.status_code for a in (held, confirmed, refunded)] == [200] * 3

    assert is_replay(await shop.commit(user, "t", 40, key="commit-1"), held)
    assert is_replay(await shop.confirm(user, "t", 30, key="confirm-1"), confirmed)
    assert is_replay(await shop.refund(user, "t", "r", 10, key="refund-1"), refunded)
    assert (await shop.confirm(user, "t")).json()["code"] == "points_already_deducted", "without the key"
    assert await platform.balance(user) == (80, 0)


async def test_refusals_that_are_final_come_again(shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(10)
    first = {
        "poor": await shop.commit(user, "t", 40, key="poor"),
        "unknown": await shop.commit("nobody", "u", 40, key="unknown"),
        "missing": await shop.confirm(user, "v", key="missing"),
        "early": await shop.rollback(user, "w", key="early"),
    }
    assert {name: a.status_code for name, a in first.items()} == {
        "poor": 400,
        "unknown": 404,
        "missing": 404,
        "early": 404,
    }
    await platform.credit(user, 100)

    assert is_replay(await shop.commit(user, "t", 40, key="poor"), first["poor"])
    assert is_replay(await shop.commit("nobody", "u", 40, key="unknown"), first["unknown"])
    assert is_replay(await shop.confirm(user, "v", key="missing"), first["missing"])
    assert is_replay(await shop.rollback(user, "w", key="early"), first["early"])


@pytest.mark.parametrize("key", ["k", "x" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324", '!"#~'])
async def test_a_key_for_another_request_is_refused(key: str, shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(100)
    first = await shop.commit(user, "t", 40, key=key)
    assert first.status_code == 200

    for other, named in (
        (await shop.commit(user, "t", 41, key=key), "t"),
        (await shop.commit(user, "t2", 40, key=key), "t2"),
        (await shop.confirm(user, "t", key=key), "t"),
        (await shop.rollback(user, "t", key=key), "t"),
    ):
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
        assert other.json()["transactionid"] == named
        assert other.json()["status"] == "failed"
    assert is_replay(await shop.commit(user, "t", 40, key=key), first)
    assert await platform.balance(user) == (60, 40)


async def test_a_key_may_wear_the_quotation_marks_of_a_structured_field(shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(100)
    first = await shop.commit(user, "t", 40, key='"abc"')
    assert is_replay(await shop.commit(user, "t", 40, key="abc"), first)


async def test_the_same_key_of_another_client_is_another_key(
    shop: Vendor, platform: Platform, register: FakeRegister, tenant: str
) -> None:
    colleague = Vendor(shop.client, register.add(tenant, "points:redeem", vendor_id="shop"))
    foreigner = Vendor(shop.client, register.add("other-tenant", "points:redeem", vendor_id="shop"))
    user = await platform.user_with(100)
    await shop.commit(user, "t", 40, key="k")

    for other in (colleague, foreigner):
        answer = await other.commit(user, "t", 41, key="k")
        assert "idempotency-replayed" not in answer.headers
        assert answer.json()["code"] in {"transaction_mismatch", "invalid_user"}


async def test_an_answer_is_kept_for_24_hours_and_no_longer(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    first = await shop.confirm(user, "t", key="k")
    await shop.commit(user, "t", 40)
    await make_old(rows, tenant, "23 hours 59 minutes")
    assert is_replay(await shop.confirm(user, "t", key="k"), first)

    await make_old(rows, tenant, "24 hours 1 second")
    anew = await shop.confirm(user, "t", key="k")

    assert (anew.status_code, anew.json()["state"]) == (200, "confirmed")
    assert is_replay(await shop.confirm(user, "t", key="k"), anew), "and it is kept in the old one's place"
    assert (await shop.confirm(user, "t", 1, key="k")).json()["code"] == "idempotency_key_reused"


async def test_a_forgotten_key_may_be_used_for_another_request(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "t", 40, key="k")
    await make_old(rows, tenant, "25 hours")

    assert (await shop.commit(user, "u", 10, key="k")).status_code == 200
    assert await platform.balance(user) == (50, 50)


async def test_credits_and_debits_are_repeated_by_key_and_by_reference(platform: Platform) -> None:
    user = await platform.user_with(0)
    credited = await platform.credit(user, 50, "r", key="k")
    assert credited.status_code == 201

    assert is_replay(await platform.credit(user, 50, "r", key="k"), credited)
    by_reference = await platform.credit(user, 50, "r")
    assert (by_reference.status_code, by_reference.json()) == (200, credited.json())
    assert "idempotency-replayed" not in by_reference.headers
    other_points = await platform.credit(user, 51, "r")
    assert (other_points.status_code, other_points.json()["code"]) == (409, "reference_mismatch")
    assert (await platform.credit(user, 51, "r", key="k")).json()["code"] == "idempotency_key_reused"

    poor = await platform.debit(user, 51, "d", key="d")
    assert (poor.status_code, poor.json()["code"]) == (400, "insufficient_points")
    await platform.credit(user, 1)
    assert is_replay(await platform.debit(user, 51, "d", key="d"), poor)
    assert (await platform.debit(user, 51, "d")).status_code == 201, "without the key it was never made"
    assert await platform.balance(user) == (0, 0)


async def test_of_many_at_once_with_one_key_one_acts_and_all_hear_the_same(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "t", 40)

    answers = await asyncio.gather(*(shop.confirm(user, "t", 30, key="k") for _ in range(40)))

    assert {(a.status_code, a.content) for a in answers} == {(200, answers[0].content)}
    assert sum("idempotency-replayed" not in a.headers for a in answers) == 1
    assert await platform.balance(user) == (70, 0)
    assert await what_does_not_add_up(rows, tenant) == []


async def test_of_many_at_once_with_one_key_and_different_bodies_one_acts(shop: Vendor, platform: Platform) -> None:
    """For different users, too: no account's lock is between them."""
    users = [await platform.user_with(100) for _ in range(10)]

    answers = await asyncio.gather(*(shop.commit(user, f"t-{user}", 40, key="k") for user in users))

    codes = sorted(answer.json().get("code", "") for answer in answers)
    assert codes == ["", *["idempotency_key_reused"] * 9]
    held = [await platform.balance(user) for user in users]
    assert sorted(held) == [(60, 40), *[(100, 0)] * 9]


async def test_the_same_request_may_be_spelled_in_another_way(shop: Vendor, platform: Platform) -> None:
    """Blanks, the order of members, the two spellings of names, and those of the operation in the query."""
    user = await platform.user_with(100)
    first = await shop.commit(user, "t", 40, key="k")
    body = {"description": "a mug", "transactionId": "t", "pointsToDeduct": 40, "userId": user}
    for query in ("commit", "commit=1"):
        assert is_replay(await shop.post(query, body, key="k"), first)
    for changed in ({"pointsToDeduct": 41}, {"description": "a cup"}, {"transactionId": "u"}):
        answer = await shop.post("commit", body | changed, key="k")
        assert (answer.status_code, answer.json()["code"]) in {
            (409, "idempotency_key_reused"),
            (400, "malformed_request"),
        }

    credited = await platform.credit(user, 5, "r", key="c")
    backwards = {"reason": "because", "reference": "r", "points": 5}
    headers = {**platform.headers, "Idempotency-Key": "c"}
    again = await platform.client.post(f"/v1/accounts/{user}/credits", json=backwards, headers=headers)
    assert is_replay(again, credited)


async def test_an_answer_that_an_earlier_version_kept_is_given_again(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    """Its fingerprint was made of the very bytes of the body."""
    user = await platform.user_with(100)
    body = f'{{"userid": "{user}", "transactionid": "t", "pointstodeduct": 40, "description": ""}}'.encode()
    headers = {**shop.headers, "Content-Type": "application/json", "Idempotency-Key": "k"}
    first = await shop.client.post(f"{EAI}?commit", content=body, headers=headers)
    digest = hashlib.blake2b(digest_size=32)
    for part in (b"POST", EAI.encode(), b"commit", body):
        digest.update(len(part).to_bytes(8, "big") + part)
    await rows.execute(
        "UPDATE points_ledger.idempotent_answers SET fingerprint = $2 WHERE tenant = $1", tenant, digest.digest()
    )
    assert is_replay(await shop.client.post(f"{EAI}?commit", content=body, headers=headers), first)
