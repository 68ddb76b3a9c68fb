"""The audits are kept as long as the settings say, and no longer."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from platform_testing.databases import MigratedDatabase
from platform_testing.issuer_world import World
from platform_testing.plans import connected, indexes_of
from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncEngine
from sso_issuer.retention import retention
from sso_issuer.tables import authority_events, issuances, redemptions

from .conftest import MakeSettings


async def test_old_issuances_go_with_their_redemptions_and_young_ones_stay(
    world: World, owner: AsyncEngine, make_settings: MakeSettings
) -> None:
    await world.put_vendor()
    old, young = [await world.redirect() for _ in range(2)]
    for issued in (old, young):
        assert (await world.redeem(issued["token"])).status_code == 200
    await _age(owner, world, old["jti"], timedelta(days=31))
    await _forget(make_settings(issuances_kept=timedelta(days=30)))
    async with world.database.connect() as connection:
        for table in (issuances, redemptions):
            kept = await connection.execute(sa.select(table.c.jti).where(table.c.tenant == world.tenant))
            assert kept.scalars().all() == [young["jti"]]


async def test_old_events_of_the_authority_go(world: World, owner: AsyncEngine, make_settings: MakeSettings) -> None:
    await world.put_vendor()
    assert (await world.oauth("token", grant_type="client_credentials")).status_code == 401
    columns = authority_events.c
    async with owner.begin() as connection:
        await connection.execute(
            sa.update(authority_events)
            .where(columns.tenant == world.tenant)
            .values(happened_at=columns.happened_at - timedelta(days=31))
        )
    await _forget(make_settings(authority_events_kept=timedelta(days=30)))
    async with world.database.connect() as connection:
        left = await connection.execute(sa.select(columns.event_id).where(columns.tenant == world.tenant))
        assert left.scalars().all() == []


@pytest.mark.parametrize(
    ("table", "written_at"),
    [("issuances", "issued_at"), ("redemptions", "redeemed_at"), ("authority_events", "happened_at")],
)
async def test_old_rows_are_found_by_their_age(young_database: MigratedDatabase, table: str, written_at: str) -> None:
    """Each hour, over all tenants: most rounds find nothing, and must not read everything for it."""
    statement = f"SELECT 1 FROM sso_issuer.{table} WHERE {written_at} < now() - $1::interval LIMIT 5000"  # noqa: S608
    async with connected(young_database("sso_issuer")) as young:
        [condition] = (await indexes_of(young, statement)).values()
    assert f"({written_at} < " in condition


async def _age(owner: AsyncEngine, world: World, jti: str, by: timedelta) -> None:
    async with owner.begin() as connection:
        for table, names in ((issuances, ("issued_at", "expires_at")), (redemptions, ("redeemed_at",))):
            await connection.execute(
                sa.update(table)
                .where(table.c.tenant == world.tenant, table.c.jti == jti)
                .values({name: table.c[name] - by for name in names})
            )


async def _forget(settings: object) -> None:
    database = Database.of(settings)  # type: ignore[arg-type]  # MakeSettings returns the service's own class
    for chore in retention(database, settings):  # type: ignore[arg-type]
        await chore.do()
    await database.dispose()
