"""What holds of a transaction when the connection, the task or the schema under it goes away."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from shared.database_failures import OutcomeUnknown, is_passing
from shared.db import Database
from shared.errors import Unavailable
from shared.readings import Reading
from sqlalchemy import literal_column, select, text

from shared import raw_batches

from .wire import wire_to

Statement = str | Callable[[], Awaitable[None]]
Run = Callable[..., Awaitable[None]]
TROUBLE = (Unavailable, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@pytest.fixture(scope="session")
def url(postgres: EmbeddedPostgres) -> str:
    password = secrets.token_urlsafe(16)
    postgres.create_role_and_database("shared_transactions", password)
    return postgres.url("shared_transactions", "shared_transactions", password)


@pytest.fixture
async def table(url: str) -> AsyncIterator[str]:
    name = f"notes_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE TABLE {name} (note text PRIMARY KEY)")
        yield name
        await connection.execute(f"DROP TABLE {name}")
    finally:
        await connection.close()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """With one connection, so that whatever is left in the pool is what the next transaction gets."""
    database = Database(url, pool_size=1)
    yield database
    await database.dispose()


async def notes(url: str, table: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(f"SELECT note FROM {table} ORDER BY note")]  # noqa: S608
    finally:
        await connection.close()


async def in_raw_transaction(database: Database, *statements: Statement) -> None:
    async with database.raw_transaction() as driver:
        for statement in statements:
            await (driver.fetch(statement) if isinstance(statement, str) else statement())


async def in_transaction(database: Database, *statements: Statement) -> None:
    async with database.transaction() as connection:
        for statement in statements:
            await (connection.execute(text(statement)) if isinstance(statement, str) else statement())


both_ways = pytest.mark.parametrize("run", [in_raw_transaction, in_transaction])


@both_ways
@pytest.mark.parametrize("with_reset", [True, False])
async def test_a_commit_whose_answer_is_lost_has_an_unknown_outcome(
    url: str, table: str, run: Run, with_reset: bool
) -> None:
    async with wire_to(url) as (wire, through):
        database = Database(through, pool_size=1)
        wire.with_reset = with_reset
        wire.cut_at_commit = 1
        with pytest.raises(OutcomeUnknown):
            await run(database, f"INSERT INTO {table} VALUES ('kept')")  # noqa: S608
        assert wire.cuts == 1
        # The pool has not kept the dead connection.
        await database.ping()
        await database.dispose()
    # And indeed: it had happened.
    assert await notes(url, table) == ["kept"]


async def test_a_connection_that_goes_right_after_the_commit_leaves_it_a_success(
    url: str, table: str, database: Database
) -> None:
    """Between the server's answer and the way back into the pool: what is committed must not be done once more."""
    async with database.raw_transaction() as driver:

        def lose(query: asyncpg.connection.LoggedQuery) -> None:
            if query.query == "COMMIT":
                driver.terminate()

        driver.add_query_logger(lose)
        await driver.execute(f"INSERT INTO {table} VALUES ('kept')")  # noqa: S608
    assert await notes(url, table) == ["kept"]
    await in_raw_transaction(database, "SELECT 1")


@both_ways
async def test_a_connection_that_goes_before_the_commit_is_passing_trouble(
    url: str, table: str, database: Database, run: Run
) -> None:
    other = await asyncpg.connect(url)

    async def end() -> None:
        await other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'points-platform'"
        )

    with pytest.raises(TROUBLE) as caught:
        await run(database, f"INSERT INTO {table} VALUES ('lost')", end, "SELECT 1")  # noqa: S608
    assert not isinstance(caught.value, OutcomeUnknown)
    assert isinstance(caught.value, Unavailable) or is_passing(caught.value)
    await database.ping()
    await other.close()
    assert await notes(url, table) == []


@both_ways
async def test_after_a_restart_of_the_database_the_first_transaction_works_again(
    url: str, table: str, run: Run
) -> None:
    """However many connections the pool has kept from before."""
    database = Database(url, pool_size=8)
    all_open = asyncio.Barrier(8)
    lost: list[asyncpg.Connection] = []

    async def open_one() -> None:
        async with database.raw_transaction() as driver:
            driver.add_termination_listener(lost.append)
            await all_open.wait()

    await asyncio.gather(*(open_one() for _ in range(8)))
    other = await asyncpg.connect(url)
    await other.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'points-platform'"
    )
    await other.close()
    while len(lost) < 8:  # noqa: ASYNC110 - this loop is what gets the news from the server
        await asyncio.sleep(0)
    await run(database, f"INSERT INTO {table} VALUES ('kept')")  # noqa: S608
    await database.dispose()
    assert await notes(url, table) == ["kept"]


@both_ways
async def test_a_server_that_says_unasked_that_it_crashed_is_passing_trouble(url: str, table: str, run: Run) -> None:
    """The driver is then confused about what it was doing, and has an error of its own for that."""
    async with wire_to(url) as (wire, through):
        database = Database(through, pool_size=1)
        wire.say_crashed_after = b"INSERT 0 1"
        with pytest.raises(TROUBLE) as caught:
            await run(database, f"INSERT INTO {table} VALUES ('lost')", "SELECT 1")  # noqa: S608
        assert not isinstance(caught.value, OutcomeUnknown)
        assert isinstance(caught.value, Unavailable) or is_passing(caught.value), repr(caught.value)
        await database.ping()
        await database.dispose()
    assert await notes(url, table) == []


@both_ways
async def test_a_server_that_says_unasked_before_the_commit_that_it_crashed_has_an_unknown_outcome(
    url: str, table: str, run: Run
) -> None:
    async with wire_to(url) as (wire, through):
        database = Database(through, pool_size=1)
        wire.say_crashed_after = b"INSERT 0 1"
        with pytest.raises(Unavailable):
            await run(database, f"INSERT INTO {table} VALUES ('lost')")  # noqa: S608
        await database.ping()
        await database.dispose()
    assert await notes(url, table) == []


async def test_a_task_cancelled_twice_leaves_no_open_transaction_in_the_pool(
    url: str, table: str, database: Database
) -> None:
    """Once in the statement and again in the rollback that follows, as at the end of a process."""
    in_the_way = await asyncpg.connect(url)
    await in_the_way.execute("SELECT pg_advisory_lock(1)")
    begun = asyncio.Event()

    async def work() -> None:
        async with database.raw_transaction() as driver:
            await driver.execute(f"INSERT INTO {table} VALUES ('half')")  # noqa: S608
            begun.set()
            await driver.execute("SELECT pg_advisory_xact_lock(1)")

    for turns in range(6):
        begun.clear()
        task = asyncio.create_task(work())
        await begun.wait()
        # A cancellation that comes before its statement is lost on the server's side.
        while not await in_the_way.fetchval("SELECT true FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            continue
        task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async with database.raw_transaction() as driver:
            await driver.execute(f"INSERT INTO {table} VALUES ($1)", f"whole {turns}")  # noqa: S608
        # A server process that nobody talks to any more waits for this, and ends with it.
        await in_the_way.execute("SELECT pg_advisory_unlock(1)")
        await in_the_way.execute("SELECT pg_advisory_lock(1)")
    await in_the_way.close()
    assert await notes(url, table) == [f"whole {turns}" for turns in range(6)]


@both_ways
async def test_a_migration_under_a_prepared_statement_is_passing_trouble(
    url: str, table: str, database: Database, run: Run
) -> None:
    read = f"SELECT note FROM {table}"  # noqa: S608
    await run(database, read)
    other = await asyncpg.connect(url)
    await other.execute(f"ALTER TABLE {table} ALTER COLUMN note TYPE varchar(200)")
    await other.close()

    with pytest.raises(TROUBLE) as caught:
        await run(database, read)
    assert isinstance(caught.value, Unavailable) or is_passing(caught.value)
    await run(database, read)


@pytest.mark.parametrize("statement_cache", [200, 0])
async def test_a_process_that_stops_in_the_middle_of_a_transaction_keeps_its_locks_from_nobody(
    url: str, table: str, monkeypatch: pytest.MonkeyPatch, statement_cache: int
) -> None:
    """Frozen, or cut off from the database: the server ends its transaction, and the others go on."""
    monkeypatch.setattr(raw_batches, "IDLE_SECONDS", 0.2)
    database = Database(url, pool_size=1, statement_cache=statement_cache)
    other = await asyncpg.connect(url)
    update = f"UPDATE {table} SET note = $1"  # noqa: S608
    await other.execute(f"INSERT INTO {table} VALUES ('first')")  # noqa: S608

    async def go_on() -> None:
        async with asyncio.timeout(30):
            await other.execute(update, "of the others")

    with pytest.raises(TROUBLE) as caught:
        await in_raw_transaction(database, f"UPDATE {table} SET note = 'of the frozen one'", go_on, "SELECT 1")  # noqa: S608
    assert isinstance(caught.value, Unavailable) or is_passing(caught.value), repr(caught.value)
    await in_raw_transaction(database, "SELECT 1")
    await other.close()
    await database.dispose()
    assert await notes(url, table) == ["of the others"]


async def test_no_transaction_in_which_something_failed_is_taken_for_committed(
    url: str, table: str, database: Database
) -> None:
    """The server answers such a COMMIT without an error, and rolls back."""

    async def overlook() -> None:
        async with database.raw_transaction() as driver:
            await driver.execute(f"INSERT INTO {table} VALUES ('lost')")  # noqa: S608
            with contextlib.suppress(asyncpg.PostgresError):
                await driver.execute("SELECT 1 / 0")

    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await overlook()
    assert await notes(url, table) == []


def test_what_the_database_cannot_do_at_all_is_no_passing_trouble() -> None:
    assert not is_passing(asyncpg.FeatureNotSupportedError("no such thing"))


async def test_a_statement_that_writes_by_itself_is_kept_or_its_outcome_is_unknown(url: str, table: str) -> None:
    async with wire_to(url) as (wire, through):
        database = Database(through, pool_size=1)
        async with database.raw_write() as driver:
            await driver.execute(f"INSERT INTO {table} VALUES ('kept')")  # noqa: S608
        with pytest.raises(asyncpg.UndefinedTableError):
            async with database.raw_write() as driver:
                await driver.execute("INSERT INTO nowhere VALUES ('refused')")
        wire.lose_answer_to = b"of unknown outcome"
        with pytest.raises(OutcomeUnknown):
            async with database.raw_write() as driver:
                await driver.execute(f"INSERT INTO {table} VALUES ('of unknown outcome')")  # noqa: S608
        async with database.raw_write() as driver:
            await driver.execute(f"INSERT INTO {table} VALUES ('kept too')")  # noqa: S608
        await database.dispose()
    assert await notes(url, table) == ["kept", "kept too", "of unknown outcome"]


async def by_reading(database: Database, query: str) -> None:
    await database.read(Reading(select(literal_column(query))))


async def in_raw_statement(database: Database, query: str) -> None:
    async with database.raw_statement() as driver:
        await driver.fetch(f"SELECT {query}")


async def in_one_transaction(database: Database, query: str) -> None:
    await in_transaction(database, f"SELECT {query}")


async def in_one_raw_transaction(database: Database, query: str) -> None:
    await in_raw_transaction(database, f"SELECT {query}")


@pytest.mark.parametrize("ask", [by_reading, in_raw_statement, in_one_transaction, in_one_raw_transaction])
@pytest.mark.parametrize("hangs_up", [True, False])
async def test_what_nobody_waits_for_any_more_ends_on_the_server_too(
    url: str, ask: Callable[[Database, str], Awaitable[None]], hangs_up: bool
) -> None:
    """Each such statement would keep a process of the server beside all those that may be lent."""
    database = Database(url, pool_size=1, statement_seconds=30 if hangs_up else 0.2)
    watching = await asyncpg.connect(url)
    mark = secrets.token_hex(8)

    async def running() -> int:
        active = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE $1"
        return await watching.fetchval(active, f"%{mark}%") or 0

    asking = asyncio.create_task(ask(database, f"pg_sleep(60) /* {mark} */"))
    if hangs_up:
        async with asyncio.timeout(20):
            while not await running():
                pass
        asking.cancel()
    with pytest.raises((*TROUBLE, TimeoutError, asyncio.CancelledError)):
        await asking
    still_running = await running()
    await watching.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE $1", f"%{mark}%")
    await watching.close()
    await database.dispose()
    assert not still_running
