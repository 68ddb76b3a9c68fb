"""Receipts: which transactions have one, what the issuer is asked to sign, and when it cannot be asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from platform_testing.callers import FakeRegister, private_jwk
from platform_testing.serving import running
from points_ledger.app import create_app
from shared.jwt import SigningKey

from .conftest import MakeSettings
from .parties import Platform, Vendor
from .test_ledger_eai import bring_to, run_out

KEY = dict(private_jwk("receipts"))


class Issuer:
    """sso-issuer, as far as it signs receipts. `answer` replaces what it says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: httpx.Response | Exception | None = None
        self.before: Callable[[], Awaitable[None]] | None = None
        self._key = SigningKey.from_jwk(KEY)

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/internal/revoked-keys"):
            return httpx.Response(200, json={"revoked": []})
        facts = json.loads(request.content)
        self.asked.append((request.url.path, facts))
        if self.before is not None:
            await self.before()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or httpx.Response(200, json={"receipt": self._key.sign(facts, "receipt+jwt")})


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def client(
    make_settings: MakeSettings, register: FakeRegister, issuer: Issuer
) -> AsyncIterator[httpx.AsyncClient]:
    """Of a ledger whose sweeper does not come by."""
    app = create_app(make_settings(sweep_seconds=86_400), register=register, issuer_transport=issuer.transport())
    async with running(app) as client:
        yield client


async def ask(vendor: Vendor, transaction: str) -> httpx.Response:
    return await vendor.client.get(f"/eai/v1/receipts/{transaction}", headers=vendor.headers)


@pytest.mark.parametrize(
    ("state", "points"), [("confirmed", (40, 40, 0)), ("rolled_back", (40, 0, 0)), ("expired", (40, 0, 0))]
)
async def test_what_has_ended_has_a_receipt(
    state: str,
    points: tuple[int, int, int],
    app: FastAPI,
    shop: Vendor,
    platform: Platform,
    rows: asyncpg.Connection,
    issuer: Issuer,
    tenant: str,
) -> None:
    user = await platform.user_with(100)
    await bring_to(state, shop, user, rows, tenant)
    answer = await ask(shop, "order-1")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"transactionid", "state", "receipt"}
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema["/eai/v1/receipts/{transactionid}"]["GET"].validate_response(answer)
    assert (body["transactionid"], body["state"]) == ("order-1", state)
    seen = (await shop.look_up("order-1")).json()
    (asked,) = issuer.asked
    held, deducted, refunded = points
    assert asked == (
        f"/internal/tenants/{tenant}/receipts",
        {
            "vendor_id": "shop",
            "transactionid": "order-1",
            "userid": user,
            "state": state,
            "points_held": held,
            "points_deducted": deducted,
            "points_refunded": refunded,
            "created_at": seen["createdat"],
            "ended_at": seen[
                {"confirmed": "confirmedat", "rolled_back": "rolledbackat", "expired": "expiredat"}[state]
            ],
        },
    )


async def test_a_receipt_after_a_part_and_refunds_says_so(shop: Vendor, platform: Platform, issuer: Issuer) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "order-1", 40)
    await shop.confirm(user, "order-1", 30)
    await shop.refund(user, "order-1", "return-1", 10)
    await shop.refund(user, "order-1", "return-2", 5)
    assert (await ask(shop, "order-1")).status_code == 200
    facts = issuer.asked[0][1]
    assert (facts["points_held"], facts["points_deducted"], facts["points_refunded"]) == (40, 30, 15)


@pytest.mark.parametrize("state", ["rejected", "cancelled"])
async def test_what_never_held_points_has_none(
    state: str, shop: Vendor, platform: Platform, rows: asyncpg.Connection, issuer: Issuer, tenant: str
) -> None:
    user = await platform.user_with(100)
    await bring_to(state, shop, user, rows, tenant)
    answer = await ask(shop, "order-1")
    assert answer.status_code == 409
    body = answer.json()
    assert body.pop("message")
    assert body == {"status": "failed", "code": "no_receipt", "transactionid": "order-1", "state": state}
    assert issuer.asked == []


async def test_what_is_held_has_none_yet(shop: Vendor, platform: Platform, issuer: Issuer) -> None:
    user = await platform.user_with(100)
    held = (await shop.commit(user, "order-1", 40)).json()
    answer = await ask(shop, "order-1")
    assert answer.status_code == 409
    body = answer.json()
    assert body.pop("message")
    assert body == {
        "status": "failed",
        "code": "transaction_still_held",
        "transactionid": "order-1",
        "state": "held",
        "expiresat": held["expiresat"],
    }
    assert issuer.asked == []


async def test_another_vendor_or_tenant_sees_nothing(
    shop: Vendor, platform: Platform, register: FakeRegister, issuer: Issuer, tenant: str
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "order-1", 40)
    await shop.confirm(user, "order-1")
    for headers in (
        register.add(tenant, "points:redeem", vendor_id="other"),
        register.add(f"{tenant}-2", "points:redeem", vendor_id="shop"),
    ):
        answer = await ask(Vendor(shop.client, headers), "order-1")
        assert (answer.status_code, answer.json()["code"]) == (404, "transaction_not_found")
    assert (await ask(shop, "order-2")).status_code == 404
    assert issuer.asked == []


async def test_an_id_may_have_any_character(shop: Vendor, platform: Platform, issuer: Issuer) -> None:
    user = await platform.user_with(100)
    for transaction in ("a/b", "orders/2026/4711", "ä ö?#%2F", "a//b"):
        await shop.commit(user, transaction, 1)
        await shop.confirm(user, transaction)
        for spelled in {quote(transaction, safe="/"), quote(transaction, safe="")}:
            answer = await ask(shop, spelled)
            assert answer.status_code == 200, (spelled, answer.text)
            assert issuer.asked[-1][1]["transactionid"] == transaction
    assert (await ask(shop, "a%00b")).status_code == 400


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("away"),
        httpx.ReadTimeout("slow"),
        httpx.Response(500),
        httpx.Response(400, json={"code": "malformed_request"}),
        httpx.Response(200, json={}),
        httpx.Response(404, json={"code": "tenant_not_found"}),
    ],
    ids=repr,
)
async def test_without_the_issuer_the_vendor_is_asked_to_come_again(
    trouble: httpx.Response | Exception, shop: Vendor, platform: Platform, issuer: Issuer
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "order-1", 40)
    await shop.confirm(user, "order-1")
    issuer.answer = trouble
    answer = await ask(shop, "order-1")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    body = answer.json()
    assert (body["status"], body["code"]) == ("failed", "temporarily_unavailable")
    issuer.answer = None
    assert (await ask(shop, "order-1")).status_code == 200


async def test_no_transaction_is_open_while_the_issuer_is_asked(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, issuer: Issuer, tenant: str
) -> None:
    """A slow issuer must not keep a transaction from being refunded."""
    user = await platform.user_with(100)
    await bring_to("confirmed", shop, user, rows, tenant)
    free: list[bool | None] = []

    async def look() -> None:
        free.append(
            await rows.fetchval(
                "SELECT true FROM points_ledger.transactions WHERE tenant = $1 FOR UPDATE SKIP LOCKED", tenant
            )
        )

    issuer.before = look
    assert (await ask(shop, "order-1")).status_code == 200
    assert free == [True]


async def test_a_confirm_under_way_is_never_called_expired(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, ledger_url: str, tenant: str
) -> None:
    """It was decided in time; its COMMIT comes after the hold's end."""
    user = await platform.user_with(100)
    await bring_to("held", shop, user, rows, tenant)
    await run_out(rows, tenant, "order-1")
    lane = rows.transaction()
    await lane.start()
    await rows.execute(
        "SELECT FROM points_ledger.accounts WHERE tenant = $1 AND user_id = $2 FOR NO KEY UPDATE", tenant, user
    )
    asking = asyncio.create_task(ask(shop, "order-1"))
    watcher = await asyncpg.connect(ledger_url)
    try:
        lane_pid = await rows.fetchval("SELECT pg_backend_pid()")
        while not await watcher.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))", lane_pid
        ):
            assert not asking.done(), asking.result().text
            await asyncio.sleep(0.01)
    finally:
        await watcher.close()
    await rows.execute(
        "UPDATE points_ledger.transactions SET state = 'confirmed', deducted = points, ended_at = expires_at"
        " WHERE tenant = $1",
        tenant,
    )
    await rows.execute("UPDATE points_ledger.accounts SET held = 0 WHERE tenant = $1 AND user_id = $2", tenant, user)
    await lane.commit()
    assert (await asking).json()["state"] == "confirmed"
