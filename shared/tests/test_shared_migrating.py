"""Migrations: whole or not at all, one at a time, and a service that knows whether they were made."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from shared.db import Database
from shared.errors import Unavailable
from shared.migrating import differences, downgrade, upgrade
from shared.readiness import check_database

ENV = """
import sqlalchemy as sa
from shared.migrating import run_migrations

metadata = sa.MetaData(schema="{package}")
sa.Table("notes", metadata, sa.Column("id", sa.Text, primary_key=True), sa.Column("text", sa.Text))
run_migrations(metadata)
"""
REVISION = '''
"""A step."""

from alembic import op

revision, down_revision, branch_labels, depends_on = {revision!r}, {before!r}, None, None


def upgrade():
    op.execute({up!r})


def downgrade():
    op.execute({down!r})
'''
FIRST, SECOND = "2026_01_01_0001", "2026_02_01_0001"


class Service:
    """A package with migrations, and a database for it."""

    def __init__(self, directory: Path, postgres: EmbeddedPostgres) -> None:
        self.package = f"sample_{secrets.token_hex(4)}"
        self._versions = directory / self.package / "migrations" / "versions"
        self._versions.mkdir(parents=True)
        (directory / self.package / "__init__.py").touch()
        (self._versions.parent / "env.py").write_text(ENV.format(package=self.package))
        postgres.create_role_and_database(self.package, "password")
        self.url = postgres.url(self.package, self.package, "password")

    def add(self, revision: str, before: str | None, up: str, down: str = "SELECT 1") -> None:
        text = REVISION.format(revision=revision, before=before, up=up, down=down)
        (self._versions / f"{revision}.py").write_text(text)

    def forget(self, revision: str) -> None:
        (self._versions / f"{revision}.py").unlink()

    def add_both(self) -> None:
        table = f"{self.package}.notes"
        self.add(FIRST, None, f"CREATE TABLE {table} (id text PRIMARY KEY)", f"DROP TABLE {table}")
        self.add(SECOND, FIRST, f"ALTER TABLE {table} ADD text text", f"ALTER TABLE {table} DROP text")

    def columns(self) -> list[str]:
        return self.ask("SELECT column_name FROM information_schema.columns WHERE table_name = 'notes' ORDER BY 1")

    def ask(self, query: str) -> list[str]:
        async def run() -> list[str]:
            connection = await asyncpg.connect(self.url, server_settings={"search_path": self.package})
            try:
                return [row[0] for row in await connection.fetch(query)]
            finally:
                await connection.close()

        return in_own_loop(run())


@pytest.fixture
def service(tmp_path: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Service(tmp_path, postgres)


@pytest.fixture
async def database(service: Service) -> AsyncIterator[Database]:
    database = Database(service.url, pool_size=2)
    yield database
    await database.dispose()


def test_a_schema_is_built_taken_back_and_built_again(service: Service) -> None:
    service.add_both()
    upgrade(service.url, service.package)
    assert service.columns() == ["id", "text"]
    upgrade(service.url, service.package)
    downgrade(service.url, service.package, FIRST)
    assert service.columns() == ["id"]
    downgrade(service.url, service.package, "base")
    assert service.columns() == []
    upgrade(service.url, service.package, FIRST)
    assert service.columns() == ["id"]


def test_all_lies_in_the_services_own_schema(service: Service) -> None:
    service.add_both()
    upgrade(service.url, service.package)
    found = service.ask(
        "SELECT table_schema || '.' || table_name FROM information_schema.tables"
        " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
    )
    assert found == [f"{service.package}.alembic_version", f"{service.package}.notes"]


def test_a_step_that_fails_leaves_nothing_of_the_steps_before(service: Service) -> None:
    service.add_both()
    service.add("2026_03_01_0001", SECOND, "SELECT 1 / 0")
    with pytest.raises(sa.exc.DBAPIError, match="division by zero"):
        upgrade(service.url, service.package)
    assert service.columns() == []


async def test_replicas_that_start_at_once_take_turns(service: Service, postgres: EmbeddedPostgres) -> None:
    """Two that found the schema missing would both build it, and one would fail to start."""
    service.add_both()
    spy = await asyncpg.connect(postgres.url())

    async def is_anybody_waiting() -> bool:
        waiting = "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database WHERE NOT granted AND datname = $1"
        return bool(await spy.fetchval(waiting, service.package))

    first = await asyncpg.connect(service.url)
    turn = first.transaction()
    await turn.start()
    await first.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"migrate {service.package}")
    second = asyncio.create_task(asyncio.to_thread(upgrade, service.url, service.package))
    async with asyncio.timeout(30):
        while not (second.done() or await is_anybody_waiting()):  # noqa: ASYNC110 — the server gives no word
            await asyncio.sleep(0.01)
    assert not second.done()
    assert service.columns() == []
    await turn.rollback()
    await second
    assert service.columns() == ["id", "text"]
    await first.close()
    await spy.close()


async def test_a_migration_does_not_wait_long_for_a_lock_that_requests_hold(service: Service) -> None:
    """Whoever waits for a table's lock stops all who come after, readers too."""
    service.add_both()
    await asyncio.to_thread(upgrade, service.url, service.package, FIRST)
    seen = f"CREATE TABLE {service.package}.seen AS SELECT current_setting('lock_timeout')"
    service.add("2026_03_01_0001", SECOND, seen)
    await asyncio.to_thread(upgrade, service.url, service.package)
    assert service.ask("SELECT current_setting FROM seen") == ["5s"]


# ——— is it current? ———


async def test_a_database_is_current_when_it_is_at_least_as_far_as_the_program(
    service: Service, database: Database
) -> None:
    service.add_both()
    with pytest.raises(Unavailable, match=f"at revision None, this program needs {SECOND}"):
        await check_database(database, service.package)
    await asyncio.to_thread(upgrade, service.url, service.package, FIRST)
    with pytest.raises(Unavailable, match=f"at revision {FIRST}, this program needs {SECOND}"):
        await check_database(database, service.package)
    await asyncio.to_thread(upgrade, service.url, service.package)
    await check_database(database, service.package)
    # A newer program has gone ahead; each migration is compatible with the code before it.
    service.add("2026_03_01_0001", SECOND, "SELECT 1")
    await asyncio.to_thread(upgrade, service.url, service.package)
    service.forget("2026_03_01_0001")
    await check_database(database, service.package)


async def test_a_database_that_was_taken_back_is_not_current(service: Service, database: Database) -> None:
    service.add_both()
    await asyncio.to_thread(upgrade, service.url, service.package)
    await asyncio.to_thread(downgrade, service.url, service.package, "base")
    with pytest.raises(Unavailable):
        await check_database(database, service.package)


async def test_a_database_that_is_away_is_unavailable(service: Service, unused_tcp_port: int) -> None:
    service.add_both()
    away = Database(f"postgresql://a:b@127.0.0.1:{unused_tcp_port}/c")
    with pytest.raises(Unavailable):
        await check_database(away, service.package)
    await away.dispose()


# ——— do tables and migrations agree? ———


async def test_what_migrations_forgot_is_found(service: Service, database: Database) -> None:
    service.add_both()
    await asyncio.to_thread(upgrade, service.url, service.package)

    async def agrees_with(**types: sa.types.TypeEngine[Any]) -> bool:
        metadata = sa.MetaData(schema=service.package)
        columns = [sa.Column(name, type_) for name, type_ in types.items()]
        sa.Table("notes", metadata, sa.Column("id", sa.Text, primary_key=True), *columns)
        async with database.engine.connect() as connection:
            return await connection.run_sync(differences, metadata) == []

    assert await agrees_with(text=sa.Text())
    assert not await agrees_with()
    assert not await agrees_with(text=sa.Text(), more=sa.Text())
    assert not await agrees_with(text=sa.Integer())
