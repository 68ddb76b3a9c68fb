"""partner-onboarding's audit hears of every change by an administrator, also where something fails on the way."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from platform_testing.issuer_world import World
from sso_issuer.tables import acts
from starlette.responses import Response


async def waiting(world: World) -> int:
    async with world.database.begin() as connection:
        query = sa.select(sa.func.count()).select_from(acts).where(acts.c.tenant == world.tenant)
        return int((await connection.execute(query)).scalar_one())


async def told(world: World) -> list[dict[str, Any]]:
    """All acts of this tenant, once none waits any more."""
    async with asyncio.timeout(30):
        while await waiting(world):
            async with world.database.begin() as connection:
                now = sa.update(acts).where(acts.c.tenant == world.tenant, acts.c.attempts != 1)
                await connection.execute(now.values(next_attempt_at=sa.func.now()))
    return [act for act in world.onboarding.acts if act["tenant"] == world.tenant]


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
