"""Sandbox tenants: a signed token cannot change, so its end is judged by the clock of the sandbox."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from platform_testing.callers import ServiceKeys
from platform_testing.issuer_world import World
from shared.dependencies import provided
from shared.sandboxes.service import Sandboxes

Declare = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def sandbox(world: World, service_keys: ServiceKeys) -> Declare:
    """Declares the state of the tenant, as partner-onboarding does; it is a sandbox."""

    async def do(round_: int = 1, ahead_seconds: int = 0) -> httpx.Response:
        body = {"round": round_, "ahead_ms": ahead_seconds * 1000, "users": []}
        headers = service_keys.headers("partner-onboarding", "sso-issuer")
        return await world.client.post(f"/internal/sandboxes/{world.tenant}", json=body, headers=headers)

    assert (await do()).status_code == 200
    return do


async def test_a_redirect_token_expires_when_the_clock_passes_its_end(world: World, sandbox: Declare) -> None:
    await world.put_vendor()
    token, vendor = (await world.redirect())["token"], world.vendor_client("shop")
    await sandbox(1, 300)
    refused = await world.redeem(token, vendor)
    assert (refused.status_code, refused.json()["code"]) == (400, "token_expired")
    inspected = await world.client.post("/sso/v1/inspect", json={"token": token}, headers=vendor)
    assert [finding["code"] for finding in inspected.json()["findings"]] == ["expired"]
    # A token of after the advance is as good as ever.
    assert (await world.redeem((await world.redirect())["token"], vendor)).status_code == 200


async def test_a_movement_that_does_not_reach_the_end_changes_nothing(world: World, sandbox: Declare) -> None:
    await world.put_vendor()
    token = (await world.redirect())["token"]
    await sandbox(1, 5)
    assert (await world.redeem(token)).status_code == 200


async def test_a_new_round_knows_no_token_of_the_former_and_keeps_keys_and_vendors(
    world: World, sandbox: Declare
) -> None:
    await world.put_vendor()
    token, vendor = (await world.redirect())["token"], world.vendor_client("shop")
    assert (await world.redeem(token, vendor)).status_code == 200
    published = (await world.client.get(f"/tenants/{world.tenant}/jwks.json")).json()
    assert (await sandbox(2)).status_code == 200
    assert (await world.redeem(token, vendor)).json()["code"] == "token_not_issued"
    assert (await world.client.get("/sso/v1/issuances", headers=world.admin)).json()["issuances"] == []
    assert (await world.client.get(f"/tenants/{world.tenant}/jwks.json")).json() == published
    assert (await world.redeem((await world.redirect())["token"], vendor)).status_code == 200


async def test_a_tenant_with_issuances_never_becomes_a_sandbox(world: World, service_keys: ServiceKeys) -> None:
    await world.put_vendor()
    token = (await world.redirect())["token"]
    headers = service_keys.headers("partner-onboarding", "sso-issuer")
    body = {"round": 2, "ahead_ms": 300_000, "users": []}
    answer = await world.client.post(f"/internal/sandboxes/{world.tenant}", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "tenant_in_use")
    assert world.tenant not in provided(world.app, Sandboxes)
    assert (await world.redeem(token)).status_code == 200
