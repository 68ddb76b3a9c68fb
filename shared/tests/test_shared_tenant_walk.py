"""The tenants of a table are found one after the other, and remembered for a while."""

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from shared.db import Database
from shared.errors import Unavailable
from shared.tenant_walk import TenantWalk

ROWS = sa.Table(
    "walked_rows",
    sa.MetaData(),
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
async def database(shared_url: str) -> AsyncIterator[Database]:
    database = Database(shared_url, is_distributed=True)
    async with database.engine.begin() as connection:
        await connection.run_sync(ROWS.drop, checkfirst=True)
        await connection.run_sync(ROWS.create)
        rows = [{"tenant": tenant, "number": number} for tenant in ("b", "a", "c") for number in range(3)]
        await connection.execute(sa.insert(ROWS), rows)
    yield database
    await database.dispose()


async def add(database: Database, tenant: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.insert(ROWS).values(tenant=tenant, number=7))


async def test_each_tenant_is_found_once(database: Database) -> None:
    assert await TenantWalk(database, ROWS.c.tenant).tenants() == ["a", "b", "c"]
    assert await TenantWalk(database, ROWS.c.tenant, ROWS.c.number > 5).tenants() == []


async def test_a_new_tenant_is_found_after_a_minute(database: Database) -> None:
    clock = Clock()
    walk = TenantWalk(database, ROWS.c.tenant, clock=clock)
    await walk.tenants()
    await add(database, "aa")
    clock.seconds = 59.9
    assert await walk.tenants() == ["a", "b", "c"]
    clock.seconds = 60.0
    assert await walk.tenants() == ["a", "aa", "b", "c"]


async def test_while_a_server_is_down_the_known_tenants_go_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    walk = TenantWalk(database, ROWS.c.tenant, clock=clock)
    monkeypatch.setattr(database, "read", refuse)
    with pytest.raises(Unavailable):
        await walk.tenants()
    monkeypatch.undo()
    await walk.tenants()
    monkeypatch.setattr(database, "read", refuse)
    clock.seconds = 60.0
    assert await walk.tenants() == ["a", "b", "c"]


async def refuse(*_: object, **_named: object) -> None:
    raise Unavailable(log="a server is down")
