"""partner-onboarding's audit hears of every change by an administrator, also where something fails on the way. Every
other route and command has its reason why it leaves no row there."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from platform_testing.acts import COMMON_COMMANDS, changing_routes, commands_of, noted_actions
from platform_testing.databases import alone_with
from platform_testing.issuer_world import World
from shared.dependencies import provided
from sso_issuer.__main__ import cli
from sso_issuer.receipts.service import Receipts
from sso_issuer.tables import acts
from starlette.responses import Response

#: What each changing route or command writes down.
WRITTEN: Mapping[tuple[str, str], set[str]] = {
    ("PUT", "/sso/v1/vendors/{vendor_id}"): {"vendor_changed"},
    ("POST", "/sso/v1/vendors/{vendor_id}/secrets"): {"vendor_secret_added"},
    ("POST", "/sso/v1/keys/rotate"): {"signing_keys_rotated"},
    ("POST", "/internal/tenants/{tenant}/test-clients"): {"vendor_changed"},
}
#: Why the others leave no row.
NOT_WRITTEN = {
    ("POST", "/sso/v1/redirects"): "issues, which its own audit holds",
    ("POST", "/sso/v1/tokens/redeem"): "uses a token up, which its own audit holds",
    ("POST", "/sso/v1/redeem/{vendor_id}"): "issues, which its own audit holds",
    ("POST", "/tenants/{tenant}/oauth/token"): "issues, which its own audit holds",
    ("POST", "/tenants/{tenant}/oauth/introspect"): "asks, which its own audit holds",
    ("POST", "/tenants/{tenant}/oauth/revoke"): "ends a client's own access token, which its own audit holds",
    ("POST", "/sso/v1/inspect"): "asks",
    ("POST", "/developers/inspect"): "asks",
    ("POST", "/internal/tenants/{tenant}/receipts"): "signs what the ledger keeps",
    ("POST", "/internal/sandboxes/{tenant}"): "follows partner-onboarding, which has written it",
}
COMMANDS = {
    "rotate-keys": {"signing_keys_rotated"},
    "rotate-receipt-keys": {"receipt_keys_rotated"},
    "take-back-receipt-keys": {"receipt_keys_taken_back"},
}
COMMANDS_NOT_WRITTEN = COMMON_COMMANDS | {"list-keys": "reads", "list-receipt-keys": "reads", "verify": "reads"}


async def waiting(world: World) -> int:
    async with world.database.begin() as connection:
        query = sa.select(sa.func.count()).select_from(acts).where(acts.c.tenant == world.tenant)
        return int((await connection.execute(query)).scalar_one())


async def told(world: World) -> list[dict[str, Any]]:
    """All acts of this tenant in the order in which they were done, once none waits any more."""
    async with asyncio.timeout(30):
        while await waiting(world):
            async with world.database.begin() as connection:
                await connection.execute(sa.text(alone_with(acts.fullname)))
                now = sa.update(acts).where(acts.c.tenant == world.tenant, acts.c.attempts != 1)
                await connection.execute(now.values(next_attempt_at=sa.func.now()))
    found = [act for act in world.onboarding.acts if act["tenant"] == world.tenant]
    return sorted(found, key=lambda act: str(act["acted_at"]))


def test_every_route_that_changes_something_has_its_row_or_a_reason(world: World) -> None:
    assert changing_routes(world.app) == set(WRITTEN) | set(NOT_WRITTEN)
    assert not set(WRITTEN) & set(NOT_WRITTEN)


def test_every_command_that_changes_something_has_its_row_or_a_reason() -> None:
    assert commands_of(cli) == set(COMMANDS) | set(COMMANDS_NOT_WRITTEN)


def test_every_action_is_noted_somewhere_and_stands_in_the_tables() -> None:
    assert noted_actions("sso_issuer") == set().union(*WRITTEN.values(), *COMMANDS.values())


async def test_a_change_of_a_vendor_is_told_with_what_was_before_and_after(world: World) -> None:
    await world.put_vendor(lifetime_seconds=60)
    await world.put_vendor(lifetime_seconds=90)
    await world.put_vendor(lifetime_seconds=90)
    made, changed = await told(world)
    assert (made["action"], made["subject"], made["before"]) == ("vendor_changed", "shop", None)
    assert (changed["before"]["lifetime_seconds"], changed["after"]["lifetime_seconds"]) == (60, 90)
    assert made["client_id"] == changed["client_id"]
    assert made["origin"] is not None
    assert made["request_id"] != changed["request_id"]


async def test_a_new_secret_is_told_without_the_secret(world: World) -> None:
    await world.put_vendor(algorithm="HS256", name="Rewards")
    first = await world.add_secret()
    second = await world.add_secret(overlap_seconds=0)
    added = [act for act in await told(world) if act["action"] == "vendor_secret_added"]
    assert [(act["before"]["live_secrets"], act["after"]["live_secrets"]) for act in added] == [
        ([], [first["kid"]]),
        ([first["kid"]], [second["kid"]]),
    ]
    assert {act["details"]["vendor"] for act in added} == {"Rewards"}
    assert first["secret"] not in str(added)
    assert second["secret"] not in str(added)


async def test_a_rotation_of_keys_is_told(world: World) -> None:
    await world.put_vendor()
    answer = await world.client.post("/sso/v1/keys/rotate", json={}, headers=world.admin)
    assert answer.status_code == 201
    (rotated,) = [act for act in await told(world) if act["action"] == "signing_keys_rotated"]
    assert rotated["subject"] in rotated["after"]
    assert rotated["subject"] not in rotated["before"]


async def test_a_rotation_of_receipt_keys_is_told(world: World) -> None:
    receipts = provided(world.app, Receipts)
    first = await receipts.rotate(world.tenant)
    second = await receipts.rotate(world.tenant, leaked=first)
    rotated = {act["subject"]: act for act in await told(world) if act["action"] == "receipt_keys_rotated"}
    assert set(rotated) == {first, second}
    assert (rotated[second]["before"], rotated[second]["after"]) == ({"signs": first}, {"signs": second})
    assert [rotated[kid]["details"]["leaked"] for kid in (first, second)] == [None, first]
    assert rotated[second]["client_id"] is None


async def test_receipt_keys_that_are_taken_back_are_told_once(world: World) -> None:
    receipts = provided(world.app, Receipts)
    other = f"{world.tenant}-other"
    world.onboarding.tenants.add(other)
    former = await receipts.rotate(other)
    await receipts.rotate(other, leaked=former)
    jwks = (await world.client.get(f"/tenants/{other}/receipts/jwks.json")).json()["keys"]
    for missing in (len(jwks), 0):
        assert await receipts.take_back(world.tenant, jwks) == missing
    (taken,) = [act for act in await told(world) if act["action"] == "receipt_keys_taken_back"]
    assert (taken["before"], taken["client_id"]) == (None, None)
    assert taken["after"] == {"published": [jwk["kid"] for jwk in jwks], "leaked": [former]}


@pytest.mark.parametrize("status", [500, 404, 403])
async def test_an_act_waits_until_it_is_in_the_audit(world: World, status: int) -> None:
    world.onboarding.answer = lambda: Response(status_code=status)
    await world.put_vendor()
    async with asyncio.timeout(30):
        attempts = 0
        while attempts == 0:
            async with world.database.begin() as connection:
                of_tenant = sa.select(acts.c.attempts).where(acts.c.tenant == world.tenant)
                attempts = (await connection.execute(of_tenant)).scalar_one()
    assert await waiting(world) == 1
    world.onboarding.answer = None
    assert [act["action"] for act in await told(world)] == ["vendor_changed"]
