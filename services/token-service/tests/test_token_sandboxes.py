"""Sandbox tenants: their tokens end when their clock passes the end, and a new round knows none of the former."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from platform_testing.callers import ServiceKeys
from shared.dependencies import provided
from shared.sandboxes.service import Sandboxes
from shared.times import iso
from token_service.tokens import moving

from .campaign_house import ORDER, House, refusal

MINUTE = 60_000
Declare = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def sandbox(house: House, service_keys: ServiceKeys) -> Declare:
    """Declares the state of the tenant, as partner-onboarding does; it is a sandbox."""

    async def do(round_: int = 1, ahead_ms: int = 0) -> httpx.Response:
        body = {"round": round_, "ahead_ms": ahead_ms, "users": []}
        headers = service_keys.headers("partner-onboarding", "token-service")
        return await house.client.post(f"/internal/sandboxes/{house.tenant}", json=body, headers=headers)

    assert (await do()).status_code == 200
    return do


async def test_a_token_expires_when_the_clock_passes_its_end(house: House, sandbox: Declare) -> None:
    hour, day, forever = [await house.issue(duration=each) for each in ("PT1H", "P1D", "never")]
    assert (await sandbox(1, 59 * MINUTE)).status_code == 200
    assert [(await house.verify(token)).status_code for token in (hour, day, forever)] == [200, 200, 200]
    assert (await sandbox(1, 61 * MINUTE)).status_code == 200
    assert refusal(await house.verify(hour)) == (403, "token_expired")
    assert [(await house.verify(token)).status_code for token in (day, forever)] == [200, 200]
    listed = await house.get("/v1/campaigns/spring/tokens")
    assert sorted(one["state"] for one in listed["tokens"]) == ["expired", "used", "used"]


async def test_a_token_of_after_the_advance_lasts_as_long_as_ever(house: House, sandbox: Declare) -> None:
    await sandbox(1, 120 * MINUTE)
    token = await house.issue(duration="PT1H")
    await sandbox(1, 120 * MINUTE)
    assert (await house.verify(token)).status_code == 200


async def test_a_token_begins_when_the_clock_passes_its_beginning(house: House, sandbox: Declare) -> None:
    token = await house.issue(duration="P1D", not_before=iso(datetime.now(UTC) + timedelta(hours=2)))
    assert refusal(await house.verify(token)) == (403, "token_not_yet_valid")
    await sandbox(1, 121 * MINUTE)
    assert (await house.verify(token)).status_code == 200


async def test_what_somebody_edited_is_not_made_good(house: House, sandbox: Declare) -> None:
    token = await house.issue(duration="P1D", max_uses=1)
    await house.execute("UPDATE token_service.tokens SET max_uses = 9 WHERE tenant = :tenant", tenant=house.tenant)
    await sandbox(1, MINUTE)
    assert refusal(await house.verify(token)) == (403, "invalid_signature")


async def test_more_tokens_than_a_slice_are_moved_and_each_once(
    app: object, house: House, sandbox: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_AT_ONCE", 3)
    tokens = [await house.issue(duration="PT1H", customer_id=f"c-{n}") for n in range(8)]
    assert (await sandbox(1, 40 * MINUTE)).status_code == 200
    assert (await sandbox(1, 40 * MINUTE)).status_code == 200
    assert {(await house.verify(token)).status_code for token in tokens} == {200}
    assert (await sandbox(1, 70 * MINUTE)).status_code == 200
    assert {refusal(await house.verify(token)) for token in tokens} == {(403, "token_expired")}


async def test_a_new_round_knows_no_token_of_the_former(house: House, sandbox: Declare) -> None:
    token = await house.issue()
    first = await house.client.post("/v1/tokens", json=ORDER, headers=house.headers | {"Idempotency-Key": "one"})
    assert (await sandbox(2)).status_code == 200
    assert refusal(await house.verify(token)) == (404, "token_not_found")
    again = await house.client.post("/v1/tokens", json=ORDER, headers=house.headers | {"Idempotency-Key": "one"})
    assert again.status_code == 201
    assert again.json()["token"] not in {token, first.json()["token"]}
    assert (await house.verify(again.json()["token"])).status_code == 200


async def test_a_tenant_with_tokens_never_becomes_a_sandbox(house: House, service_keys: ServiceKeys) -> None:
    token = await house.issue()
    headers = service_keys.headers("partner-onboarding", "token-service")
    body = {"round": 2, "ahead_ms": MINUTE, "users": []}
    answer = await house.client.post(f"/internal/sandboxes/{house.tenant}", json=body, headers=headers)
    assert refusal(answer) == (409, "tenant_in_use")
    assert (await house.verify(token)).status_code == 200
    assert house.tenant not in provided(house.app, Sandboxes)
