"""Sandbox tenants: a signed token cannot change, so its end is judged by the clock of the sandbox."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from platform_testing.callers import ServiceKeys
from platform_testing.issuer_world import World
from shared.dependencies import provided
from shared.sandboxes.domain import new_test_client_id
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


# Test clients, which developers make for themselves


async def _agree(world: World, keys: ServiceKeys, client_id: str, tenant: str | None = None) -> httpx.Response:
    """Asks for the agreement as partner-onboarding does."""
    path, headers = (
        f"/internal/tenants/{tenant or world.tenant}/test-clients",
        keys.headers("partner-onboarding", "sso-issuer"),
    )
    return await world.client.post(path, json={"client_id": client_id}, headers=headers)


async def _issue(world: World, headers: dict[str, str], user_id: str, vendor_id: str, **more: str) -> httpx.Response:
    body = {"user_id": user_id, "vendor_id": vendor_id}
    return await world.client.post("/sso/v1/redirects", json=body, headers=headers | more)


def _client(world: World, client_id: str, tenant: str | None = None) -> dict[str, str]:
    """Registers it with the scopes of a test client."""
    return world.register.add(tenant or world.tenant, "points:redeem", "sso:issue", client_id=client_id)


@pytest.mark.usefixtures("sandbox")
async def test_a_test_client_tries_all_that_a_vendor_does(world: World, service_keys: ServiceKeys) -> None:
    client_id = new_test_client_id()
    assert [(await _agree(world, service_keys, client_id)).status_code for _ in range(2)] == [200, 200]
    headers = _client(world, client_id)
    issued = await _issue(world, headers, "user-1", client_id)
    assert issued.status_code == 201, issued.text
    token = issued.json()["token"]
    inspected = await world.client.post("/sso/v1/inspect", json={"token": token}, headers=headers)
    assert inspected.json()["verdict"] == "good"
    assert (await world.redeem(token, headers)).status_code == 200
    examples = await world.client.get(f"/sso/v1/vendors/{client_id}/examples", headers=headers)
    assert {one["expect"] for one in examples.json()["examples"]} == {"accept", "refuse"}


@pytest.mark.usefixtures("sandbox")
async def test_a_test_client_learns_nothing_of_people_and_gets_no_token_of_others(
    world: World, service_keys: ServiceKeys
) -> None:
    mine, yours = new_test_client_id(), new_test_client_id()
    for client_id in (mine, yours):
        await _agree(world, service_keys, client_id)
    await world.put_vendor()
    world.add_user("a-person")
    headers = _client(world, mine)
    for more in ({}, {"Idempotency-Key": "tried-with-a-key"}):
        for user_id, vendor_id, code in (
            ("a-person", mine, "user_not_found"),
            ("user-1", yours, "vendor_not_found"),
            ("user-1", "shop", "vendor_not_found"),
        ):
            refused = await _issue(world, headers, user_id, vendor_id, **more)
            assert (refused.status_code, refused.json()["code"]) == (404, code)
    assert (await world.client.get("/sso/v1/issuances", headers=world.admin)).json()["issuances"] == []
    # The sandbox's own back end sends everybody everywhere.
    assert (await _issue(world, world.platform, "a-person", mine)).status_code == 201


async def test_outside_of_a_sandbox_and_for_other_clients_nothing_is_agreed(
    world: World, service_keys: ServiceKeys, sandbox: Declare
) -> None:
    assert (await sandbox()).status_code == 200
    elsewhere = await _agree(world, service_keys, new_test_client_id(), "no-sandbox")
    other = await _agree(world, service_keys, "shop")
    assert [(one.status_code, one.json()["code"]) for one in (elsewhere, other)] == [(404, "not_found")] * 2
    assert (await world.client.get("/sso/v1/vendors", headers=world.admin)).json()["vendors"] == []


@pytest.mark.usefixtures("sandbox")
async def test_people_are_not_shown_test_clients_as_shops(world: World, service_keys: ServiceKeys) -> None:
    for vendor_id in ("shop", "test-kitchen"):
        await world.put_vendor(vendor_id)
    await _agree(world, service_keys, new_test_client_id())
    headers = service_keys.headers("partner-onboarding", "sso-issuer")
    shown = await world.client.get(f"/internal/tenants/{world.tenant}/vendors", headers=headers)
    assert [vendor["vendor_id"] for vendor in shown.json()["vendors"]] == ["shop", "test-kitchen"]
    listed = await world.client.get("/sso/v1/vendors", headers=world.admin)
    assert len(listed.json()["vendors"]) == 3
