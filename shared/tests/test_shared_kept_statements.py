"""A batch whose first statement goes with BEGIN and whose last one goes with COMMIT, and the texts that call them."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from local_platform.embedded_postgres import EmbeddedPostgres
from shared.database_failures import OutcomeUnknown, is_passing
from shared.db import Database
from shared.kept_statements import KeptStatements, calling

from .wire import wire_to

NOTHING = "SELECT note FROM {} WHERE note = $1 FOR UPDATE"
ADD = "/* marked */\nINSERT INTO {} SELECT * FROM unnest($1::text[])"
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.fixture(scope="session")
def url(postgres: EmbeddedPostgres) -> str:
    password = secrets.token_urlsafe(16)
    postgres.create_role_and_database("shared_kept", password)
    return postgres.url("shared_kept", "shared_kept", password)


@pytest.fixture
async def other(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest.fixture
async def table(other: asyncpg.Connection) -> AsyncIterator[str]:
    name = f"notes_{secrets.token_hex(4)}"
    await other.execute(f"CREATE TABLE {name} (note text PRIMARY KEY)")
    yield name
    await other.execute(f"DROP TABLE {name}")


@pytest.fixture(params=[200, 0], ids=["kept", "behind a pool"])
async def database(url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """With one connection. Behind a pool of another program, no statement stays prepared."""
    database = Database(url, pool_size=1, statement_cache=request.param)
    yield database
    await database.dispose()


async def notes(connection: asyncpg.Connection, table: str) -> list[str]:
    return [row[0] for row in await connection.fetch(f"SELECT note FROM {table} ORDER BY note")]  # noqa: S608


async def add(database: Database, table: str, *added: str) -> int:
    async with database.raw_batch(NOTHING.format(table), "a") as batch:
        await batch.end_with(ADD.format(table), list(added))
        return batch.rows


async def test_a_batch_is_committed_with_its_last_statement(
    database: Database, other: asyncpg.Connection, table: str
) -> None:
    assert await add(database, table, "a", "b") == 0
    assert await add(database, table, "it's", "\\", "ä\n$1 $$ ; COMMIT") == 1
    assert await notes(other, table) == ["\\", "a", "b", "it's", "ä\n$1 $$ ; COMMIT"]


async def test_a_batch_without_a_last_statement_is_committed_too(
    database: Database, other: asyncpg.Connection, table: str
) -> None:
    async with database.raw_batch(NOTHING.format(table), "a") as batch:
        await batch.connection.execute(f"INSERT INTO {table} VALUES ('kept')")  # noqa: S608
    assert await notes(other, table) == ["kept"]


async def test_the_first_statement_is_in_the_transaction(
    database: Database, other: asyncpg.Connection, table: str
) -> None:
    await add(database, table, "a")
    async with database.raw_batch(NOTHING.format(table), "a") as batch:
        assert batch.rows == 1
        with pytest.raises(asyncpg.LockNotAvailableError):
            await other.execute(f"{NOTHING.format(table)} NOWAIT".replace("$1", "'a'"))
    await other.execute(f"{NOTHING.format(table)} NOWAIT".replace("$1", "'a'"))


async def test_a_last_statement_that_is_refused_leaves_nothing_behind(
    database: Database, other: asyncpg.Connection, table: str
) -> None:
    await add(database, table, "a")

    async def twice() -> None:
        async with database.raw_batch(NOTHING.format(table), "a") as batch:
            await batch.connection.execute(f"INSERT INTO {table} VALUES ('lost')")  # noqa: S608
            await batch.end_with(ADD.format(table), ["b", "a"])

    with pytest.raises(asyncpg.UniqueViolationError):
        await twice()
    assert await notes(other, table) == ["a"]
    assert await add(database, table, "b") == 1, "the connection is good for the next one"
    assert await notes(other, table) == ["a", "b"]


async def test_a_batch_in_which_something_fails_is_rolled_back(
    database: Database, other: asyncpg.Connection, table: str
) -> None:
    async def fail() -> None:
        async with database.raw_batch(NOTHING.format(table), "a") as batch:
            await batch.end_with(ADD.format(table), ["lost"])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await notes(other, table) == []


async def test_a_first_statement_that_is_refused_begins_nothing(database: Database, table: str) -> None:
    async def begin() -> None:
        async with database.raw_batch("SELECT 1 / $1::int", 0):
            pytest.fail("it has begun")

    for _ in range(2):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await begin()
    assert await add(database, table, "a") == 0


async def test_a_statement_that_cannot_be_prepared_ends_its_connection_alone(database: Database, table: str) -> None:
    async def begin() -> None:
        async with database.raw_batch("SELECT nothing FROM nowhere WHERE x = $1::int", 0):
            pytest.fail("it has begun")

    for _ in range(2):
        with pytest.raises(asyncpg.UndefinedTableError):
            await begin()
    assert await add(database, table, "a") == 0


async def test_a_change_of_the_tables_costs_one_try(database: Database, other: asyncpg.Connection, table: str) -> None:
    """As a migration makes it under a statement that the server keeps."""
    await add(database, table, "a")
    await other.execute(f"ALTER TABLE {table} ALTER COLUMN note TYPE varchar(100)")
    with contextlib.suppress(asyncpg.InvalidCachedStatementError):
        await add(database, table, "b")
    assert await add(database, table, "c") == 1
    assert "c" in await notes(other, table)


async def test_statements_that_the_server_has_forgotten_cost_one_try(
    url: str, other: asyncpg.Connection, table: str
) -> None:
    database = Database(url, pool_size=1)
    await add(database, table, "a")
    async with database.raw_statement() as driver:
        await driver.execute("DEALLOCATE ALL")
    with pytest.raises(asyncpg.InvalidSQLStatementNameError) as lost:
        await add(database, table, "b")
    assert is_passing(lost.value)
    assert await add(database, table, "b") == 1
    assert await notes(other, table) == ["a", "b"]
    await database.dispose()


async def test_a_last_statement_that_waits_too_long_for_a_lock_is_not_carried_out_later(
    url: str, other: asyncpg.Connection, table: str
) -> None:
    """The server gives up before the caller does, who would not know the outcome."""
    database = Database(url, pool_size=1, statement_seconds=0.5)
    async with other.transaction():
        await other.execute(f"LOCK TABLE {table} IN SHARE MODE")
        with pytest.raises(asyncpg.LockNotAvailableError) as waited:
            await add(database, table, "a")
        assert is_passing(waited.value)
    assert await notes(other, table) == []
    assert await add(database, table, "b") == 0
    await database.dispose()


@pytest.mark.parametrize("first", ["", "SELECT $1::int"])
async def test_every_transaction_runs_with_its_settings(database: Database, first: str) -> None:
    """Also after one of the other kind on the same connection. Nothing may be compiled: up to PostgreSQL 17, what the
    planner may not do and must counts as very dear."""
    expected = {
        "jit": "off",
        "enable_seqscan": "off",
        "idle_in_transaction_session_timeout": "5s",
        "lock_timeout": "4s",
    }
    for each in (first, "" if first else "SELECT $1::int", first):
        async with database.raw_batch(each, *([1] if each else [])) as batch:
            shown = {name: await batch.connection.fetchval(f"SHOW {name}") for name in [*expected, "enable_sort"]}
        assert shown == expected | {"enable_sort": "off" if each else "on"}


async def test_a_connection_that_others_use_too_keeps_no_setting_of_ours(url: str) -> None:
    database = Database(url, pool_size=1, statement_cache=0)
    async with database.raw_transaction() as driver:
        assert await driver.fetchval("SHOW enable_seqscan") == "off"
    async with database.raw_statement() as again:
        assert again is driver
        assert await again.fetchval("SHOW enable_seqscan") == "on"
    await database.dispose()


async def test_the_driver_asks_for_no_type_in_the_middle_of_a_transaction(url: str, table: str) -> None:
    database = Database(url, pool_size=1)
    sent: list[str] = []
    async with database.raw_transaction() as driver:
        driver.add_query_logger(lambda query: sent.append(query.query))
        await driver.fetch("SELECT $1::bytea[], $2::text[], $3::int[]", [b"a"], ["b"], [3])
    assert [text for text in sent if "pg_" in text] == []
    await database.dispose()


async def test_a_lost_answer_to_the_last_statement_leaves_the_outcome_unknown(
    url: str, other: asyncpg.Connection, table: str
) -> None:
    async with wire_to(url) as (wire, through):
        database = Database(through, pool_size=1)
        await add(database, table, "a")
        wire.cut_at_commit = 1
        with pytest.raises(OutcomeUnknown):
            await add(database, table, "b")
        assert wire.cuts == 1
        await add(database, table, "c")
        await database.dispose()
    assert await notes(other, table) == ["a", "b", "c"]


async def test_a_mark_is_in_front_of_whatever_the_server_is_sent(
    url: str, other: asyncpg.Connection, table: str
) -> None:
    """Others look for it in the statements that are under way."""
    database = Database(url, pool_size=1)
    await add(database, table, "a")
    query = "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with other.transaction():
        await other.execute(f"INSERT INTO {table} VALUES ('b')")  # noqa: S608
        adding = asyncio.create_task(add(database, table, "b"))
        while (seen := await other.fetchval(query)) is None:
            # Within a transaction the server would show what it has shown before.
            await other.execute("SELECT pg_stat_clear_snapshot()")
    assert seen.startswith("/* marked */ EXECUTE s_")
    with pytest.raises(asyncpg.UniqueViolationError):
        await adding
    await database.dispose()

    prepared = await asyncpg.connect(url)
    sent: list[str] = []
    prepared.add_query_logger(lambda query: sent.append(query.query))
    kept = KeptStatements()
    for _ in range(2):
        await kept.keep(prepared, ADD.format(table))
    await prepared.close()
    assert [text.partition(" s_")[0] for text in sent] == ["/* marked */ PREPARE"]


@pytest.fixture(scope="session")
async def echo(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, statement_cache_size=0)
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", -7),
        ("bigint", 2**63 - 1),
        ("text", None),
        ("text[]", []),
        ("text[]", [None, "it's", "NULL", "{}"]),
        ("int[]", [1, -2]),
        ("timestamptz", datetime(2026, 11, 30, 12, 0, 0, 123456, UTC) - timedelta(days=400_000)),
    ],
)
async def test_a_value_arrives_as_it_is(echo: asyncpg.Connection, kind: str, value: Any) -> None:
    assert await _echoed(echo, kind, value) == value


@given(text=TEXTS)
@example(text="'); DROP TABLE accounts; --")
@example(text="\\'; COMMIT; --")
async def test_a_text_arrives_as_it_is(echo: asyncpg.Connection, text: str) -> None:
    assert await _echoed(echo, "text", text) == text
    assert await _echoed(echo, "text[]", [text, text]) == [text, text]


async def _echoed(connection: asyncpg.Connection, kind: str, value: Any) -> Any:
    sql = f"SELECT $1::{kind} AS value"
    call = calling(sql, [value])
    name = call.split()[1].partition("(")[0]
    # The rows of a message of text are lost, so a table keeps them.
    await connection.execute(f"PREPARE {name} AS {sql}; CREATE TEMPORARY TABLE echoed AS {call}; DEALLOCATE {name}")
    try:
        return await connection.fetchval("SELECT value FROM echoed")
    finally:
        await connection.execute("DROP TABLE echoed")


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_cannot_be_sent_is_refused_before(text: str) -> None:
    with pytest.raises(ValueError, match=r"zero byte|surrogates"):
        calling("SELECT $1::text", [text])
