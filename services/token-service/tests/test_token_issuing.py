"""Issuing one and many: what is answered, what is refused, and what a repeated call gives."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from platform_testing.callers import FakeRegister

from .campaign_house import ORDER, House, refusal


async def test_a_token_comes_with_its_link_and_times(house: House) -> None:
    answer = await house.client.post("/v1/tokens", json=ORDER | {"duration": "PT24H"}, headers=house.headers)
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"token", "url_link", "issued_at", "expires_at"}
    assert len(body["token"]) == 32
    assert body["url_link"] == f"{ORDER['base_url']}/{body['token']}"
    issued_at, expires_at = (datetime.fromisoformat(body[name]) for name in ("issued_at", "expires_at"))
    assert expires_at - issued_at == timedelta(days=1)
    assert body["issued_at"].endswith("Z")
    assert answer.headers["cache-control"] == "no-store"


async def test_everything_that_was_encoded_comes_back(house: House) -> None:
    attributes = {"discount": 50, "segment": "gold", "vip": True, "note": None, "name": "Jürgen “J.”"}
    token = await house.issue(
        attributes=attributes, product_id="housing", max_uses=3, not_before="2026-01-01T00:00:00+01:00"
    )
    body = (await house.verify(token)).json()
    assert body["attributes"] == attributes
    assert body | {"attributes": 0, "issued_at": 0, "expires_at": 0} == {
        "token": token,
        "url_link": f"{ORDER['base_url']}/{token}",
        "base_url": ORDER["base_url"],
        "customer_id": "customer-1",
        "campaign_id": "spring",
        "product_id": "housing",
        "attributes": 0,
        "issued_at": 0,
        "expires_at": 0,
        "not_before": "2025-12-31T23:00:00.000Z",
        "max_uses": 3,
        "uses": 1,
    }


async def test_a_token_may_be_for_ever(house: House) -> None:
    token = await house.issue(duration="never")
    assert (await house.verify(token)).json()["expires_at"] is None


async def test_thousands_issued_at_once_are_all_different_and_all_good(house: House) -> None:
    tokens = await asyncio.gather(*(house.issue(customer_id=f"customer-{number}") for number in range(300)))
    assert len(set(tokens)) == 300
    for number in (0, 150, 299):
        assert (await house.look(tokens[number])).json()["customer_id"] == f"customer-{number}"


async def test_a_batch_is_issued_in_its_order(house: House) -> None:
    orders = [ORDER | {"customer_id": f"customer-{number}", "campaign_id": f"c{number % 3}"} for number in range(1000)]
    answer = await house.client.post("/v1/tokens/batch", json=orders, headers=house.headers)
    assert answer.status_code == 201
    tokens = [each["token"] for each in answer.json()]
    assert len(set(tokens)) == 1000
    assert (await house.look(tokens[17])).json()["customer_id"] == "customer-17"
    assert (await house.get("/v1/campaigns/c0/stats"))["issued"] == 334


async def test_a_batch_of_ten_thousand_is_taken_and_one_more_is_not(house: House) -> None:
    answer = await house.client.post("/v1/tokens/batch", json=[ORDER] * 10_000, headers=house.headers)
    assert answer.status_code == 201
    assert len({each["token"] for each in answer.json()}) == 10_000
    for wrong in ([ORDER] * 10_001, [], {"tokens": []}, "x", 7):
        answer = await house.client.post("/v1/tokens/batch", json=wrong, headers=house.headers)
        assert refusal(answer) == (400, "malformed_request")


@pytest.mark.parametrize(
    "wrong", [{"duration": "P1.5M"}, {"base_url": "http:/x"}, {"not_before": "2099-01-01T00:00:00Z"}, {"max_uses": -1}]
)
async def test_a_batch_with_one_bad_order_issues_nothing_and_names_it(house: House, wrong: dict[str, Any]) -> None:
    orders = [ORDER, ORDER | wrong, ORDER]
    answer = await house.client.post("/v1/tokens/batch", json=orders, headers=house.headers)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"].startswith("1")
    assert not await house.fetch("SELECT 1 FROM token_service.tokens WHERE tenant = :tenant", tenant=house.tenant)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"base_url": "ftp://x.example"}, "malformed_base_url"),
        ({"base_url": "https://user:pw@x.example"}, "malformed_base_url"),
        ({"base_url": "https://x.example/#f"}, "malformed_base_url"),
        ({"base_url": "https://x.example/" + "a" * 2000}, "malformed_base_url"),
        ({"base_url": 7}, "malformed_base_url"),
        ({"duration": 0}, "malformed_duration"),
        ({"duration": -5}, "malformed_duration"),
        ({"duration": 1.5}, "malformed_duration"),
        ({"duration": True}, "malformed_duration"),
        ({"duration": None}, "malformed_duration"),
        ({"duration": "P1.5M"}, "malformed_duration"),
        ({"duration": [1]}, "malformed_duration"),
        ({"duration": 10**30}, "malformed_duration"),
        ({"customer_id": ""}, "malformed_request"),
        ({"customer_id": "x" * 129}, "malformed_request"),
        ({"customer_id": 7}, "malformed_request"),
        ({"customer_id": "a\0"}, "malformed_request"),
        ({"campaign_id": " a"}, "malformed_request"),
        ({"max_uses": 0}, "malformed_request"),
        ({"max_uses": 2**31}, "malformed_request"),
        ({"max_uses": "1"}, "malformed_request"),
        ({"attributes": [1]}, "malformed_request"),
        ({"attributes": {"a": {"b": 1}}}, "malformed_request"),
        ({"not_before": "2026-01-01T00:00:00"}, "malformed_request"),
        ({"not_before": "0001-01-01T00:00:00+23:00"}, "malformed_request"),
        ({"not_before": "2099-01-01T00:00:00Z"}, "never_valid"),
        ({"unknown": 1}, "malformed_request"),
    ],
)
async def test_malformed_orders_are_refused_with_a_stable_code(
    house: House, changed: dict[str, Any], code: str
) -> None:
    answer = await house.client.post("/v1/tokens", json=ORDER | changed, headers=house.headers)
    assert refusal(answer) == (400, code)


@pytest.mark.parametrize("field", ["base_url", "customer_id", "campaign_id", "duration"])
async def test_what_is_missing_is_named(house: House, field: str) -> None:
    order = {name: value for name, value in ORDER.items() if name != field}
    answer = await house.client.post("/v1/tokens", json=order, headers=house.headers)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("body", "media_type", "expected"),
    [
        (b"{", "application/json", (400, "malformed_json")),
        (b"", "application/json", (400, "malformed_json")),
        (b"\xff", "application/json", (400, "malformed_json")),
        (b"[" * 100_000, "application/json", (400, "malformed_json")),
        (b"[]", "application/json", (400, "malformed_request")),
        (b"{}", "text/plain", (415, "unsupported_media_type")),
        (b"x" * 1_100_000, "application/json", (413, "payload_too_large")),
    ],
)
async def test_bodies_that_are_none(house: House, body: bytes, media_type: str, expected: tuple[int, str]) -> None:
    headers = house.headers | {"Content-Type": media_type}
    assert refusal(await house.client.post("/v1/tokens", content=body, headers=headers)) == expected


async def test_a_batch_longer_than_agreed_is_refused(house: House) -> None:
    headers = house.headers | {"Content-Type": "application/json"}
    answer = await house.client.post("/v1/tokens/batch", content=b" " * 16_000_001, headers=headers)
    assert refusal(answer) == (413, "payload_too_large")


async def test_scopes_are_needed(house: House, register: FakeRegister, tenant: str) -> None:
    headers = register.add(tenant, "tokens:verify", "tokens:stats")
    assert refusal(await house.client.post("/v1/tokens", json=ORDER, headers=headers)) == (403, "insufficient_scope")
    assert refusal(await house.client.post("/v1/tokens/batch", json=[ORDER], headers=headers)) == (
        403,
        "insufficient_scope",
    )
    answer = await house.client.post("/v1/tokens", json=ORDER)
    assert refusal(answer) == (401, "invalid_credentials")
    assert "Basic" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("path", ["/v1/tokens", "/v1/tokens/batch"])
async def test_the_same_key_gives_the_same_tokens(house: House, path: str) -> None:
    body: Any = ORDER if path == "/v1/tokens" else [ORDER, ORDER]
    headers = house.headers | {"Idempotency-Key": '"campaign-run-1"'}

    async def call(body: Any) -> httpx.Response:
        return await house.client.post(path, json=body, headers=headers)

    first, second = await asyncio.gather(call(body), call(body))
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert {"idempotency-replayed" in answer.headers for answer in (first, second)} == {True, False}
    changed: Any = ORDER | {"duration": 7} if path == "/v1/tokens" else [ORDER]
    assert refusal(await call(changed)) == (409, "idempotency_key_reused")
    count = await house.fetch("SELECT count(*) FROM token_service.tokens WHERE tenant = :tenant", tenant=house.tenant)
    assert count[0][0] == (1 if path == "/v1/tokens" else 2)


async def test_kept_answers_lie_sealed(house: House) -> None:
    headers = house.headers | {"Idempotency-Key": "k"}
    token = (await house.client.post("/v1/tokens", json=ORDER, headers=headers)).json()["token"]
    rows = await house.fetch(
        "SELECT answer FROM token_service.idempotent_answers WHERE tenant = :tenant", tenant=house.tenant
    )
    assert len(rows) == 1
    assert token.encode() not in bytes(rows[0].answer)


async def test_no_row_holds_a_token(house: House) -> None:
    token = await house.issue()
    await house.verify(token)
    await house.tally.flush()
    for table in ("tokens", "campaign_counts", "placements", "keys", "token_refusals"):
        rows = await house.fetch(
            f"SELECT t::text FROM token_service.{table} t WHERE tenant = :tenant",  # noqa: S608 — the names are above
            tenant=house.tenant,
        )
        assert not any(token in row[0] for row in rows)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/tokens"),
        ("PUT", "/v1/tokens/batch"),
        ("GET", f"/v1/tokens/{'0' * 32}/verify"),
        ("PUT", "/v1/tokens/x"),
    ],
)
async def test_other_methods_are_told_what_an_address_takes(house: House, method: str, path: str) -> None:
    answer = await house.client.request(method, path, headers=house.headers)
    assert refusal(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"]
