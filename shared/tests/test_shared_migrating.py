"""Migrations: whole or not at all, one at a time, and a service that knows whether they were made."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from local_platform.embedded_postgres import EmbeddedPostgres
from pydantic import SecretStr
from shared.db import Database
from shared.errors import Unavailable
from shared.migrating import differences, downgrade, migrate, upgrade
from shared.migration_failures import MigrationFailed
from shared.readiness import check_database
from shared.settings import DatabaseSettings

from .migrated_service import FIRST, SECOND, Service


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


async def test_a_migration_gives_way_to_a_lock_that_requests_hold_and_tries_again(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """A statement that waits for a table's lock stops all that come after it, reads too."""
    service.add_both()
    await asyncio.to_thread(upgrade, service.url, service.package, FIRST)
    holder = await asyncpg.connect(service.url)
    await holder.execute(f"BEGIN; LOCK TABLE {service.package}.notes IN ACCESS SHARE MODE")
    gave_way, has_ended = threading.Semaphore(0), threading.Event()

    def pause(_seconds: float) -> None:
        gave_way.release()
        has_ended.wait()

    migrating = asyncio.create_task(asyncio.to_thread(upgrade, service.url, service.package, pause=pause))
    await asyncio.to_thread(gave_way.acquire)
    await asyncio.to_thread(gave_way.release)
    await holder.execute("COMMIT")
    has_ended.set()
    await migrating
    assert service.columns() == ["id", "text"]
    assert "a lock is held" in capsys.readouterr().err
    await holder.close()


async def test_a_lock_that_stays_is_said_in_one_sentence_and_nothing_is_changed(service: Service) -> None:
    service.add_both()
    await asyncio.to_thread(upgrade, service.url, service.package, FIRST)
    holder = await asyncpg.connect(service.url)
    await holder.execute(f"BEGIN; LOCK TABLE {service.package}.notes IN ACCESS SHARE MODE")
    # Less patient than migrations are, so that the test is not slow.
    step = f"SET LOCAL lock_timeout = '10ms'; ALTER TABLE {service.package}.notes ADD text text"
    service.add(SECOND, FIRST, f"DO $$ BEGIN {step}; END $$")
    pauses: list[float] = []
    with pytest.raises(MigrationFailed, match="a transaction keeps a lock"):
        await asyncio.to_thread(upgrade, service.url, service.package, pause=pauses.append)
    assert len(pauses) == 9
    assert service.columns() == ["id"]
    await holder.close()


# ——— what an operator has to mend is one sentence ———


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("{role}:another@127.0.0.1:{port}/{role}", "password authentication failed for user"),
        ("{role}:password@127.0.0.1:{closed}/{role}", "cannot be reached"),
        ("{role}:password@127.0.0.1:{port}/no_such_database", "does not exist; create the database"),
    ],
)
def test_a_wrong_url_is_one_sentence_without_the_password(
    service: Service, postgres: EmbeddedPostgres, unused_tcp_port: int, url: str, sentence: str
) -> None:
    service.add_both()
    wrong = url.format(role=service.package, port=postgres.port, closed=unused_tcp_port)
    with pytest.raises(MigrationFailed, match=sentence) as caught:
        upgrade(f"postgresql://{wrong}", service.package)
    assert "\n" not in str(caught.value)
    assert not re.search("another|password@", str(caught.value))


def test_a_database_of_something_else_is_one_sentence(service: Service) -> None:
    service.add_both()
    service.ask(f"CREATE SCHEMA {service.package}")
    service.ask(f"CREATE TABLE {service.package}.notes ()")
    with pytest.raises(MigrationFailed, match="is it another service's database"):
        upgrade(service.url, service.package)


def test_a_database_of_a_newer_program_stays_as_it_is(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """Who rolls back starts the former images again, and they begin with `migrate`."""
    service.add_both()
    upgrade(service.url, service.package)
    service.forget(SECOND)
    migrate(DatabaseSettings(database_url=SecretStr(service.url)), service.package)
    said = capsys.readouterr().err
    assert said == f"{service.package}: the schema is at revision {SECOND} of a newer version, and stays as it is\n"
    assert service.revision() == SECOND
    # The newer one goes on from there.
    service.add_both()
    service.add("2026_03_01_0001", SECOND, "SELECT 1")
    upgrade(service.url, service.package)
    assert service.revision() == "2026_03_01_0001"


def test_a_database_of_another_program_is_one_sentence(service: Service) -> None:
    service.add_both()
    upgrade(service.url, service.package)
    service.ask(f"UPDATE {service.package}.alembic_version SET version_num = '0001'")  # noqa: S608 — our own name
    with pytest.raises(MigrationFailed, match=r"another version of this program: .*0001"):
        upgrade(service.url, service.package)


def test_the_command_says_the_sentence_and_nothing_else(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    service.add_both()
    settings = DatabaseSettings(database_url=SecretStr(service.url.replace("password@", "another@")))
    with pytest.raises(SystemExit) as caught:
        migrate(settings, service.package)
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{service.package}: cannot migrate: the database {service.package} at 127.0.0.1:")
    assert said.count("\n") == 1


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
