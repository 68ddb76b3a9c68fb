"""A transaction is kept when it says so, and only then; and what passes is told from what does not."""

import asyncio
import math
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from local_platform.embedded_postgres import EmbeddedPostgres
from shared.database_failures import OutcomeUnknown, is_passing, sqlstate_of
from shared.db import Database, read_again
from shared.errors import Conflict, Unavailable
from shared.readings import Reading
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

metadata = sa.MetaData()
notes = sa.Table("db_notes", metadata, sa.Column("owner", sa.Text, nullable=False), sa.Column("note", sa.Text))
# Looked at when the transaction commits, and not before.
unique = sa.UniqueConstraint("id", deferrable=True, initially="DEFERRED")
rare = sa.Table("db_rare", metadata, sa.Column("id", sa.Text, nullable=False), unique)


@pytest.fixture(scope="session")
async def database(shared_url: str) -> AsyncIterator[Database]:
    database = Database(shared_url, pool_size=3)
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield database
    await database.dispose()


@pytest.fixture
def owner() -> str:
    return secrets.token_hex(8)


async def note(database: Database, owner: str, text: str = "kept") -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.insert(notes).values(owner=owner, note=text))


async def count(database: Database, owner: str) -> int:
    async with database.transaction() as connection:
        return await connection.scalar(sa.select(sa.func.count()).where(notes.c.owner == owner)) or 0


async def test_what_was_written_is_committed_before_the_block_is_left(database: Database, owner: str) -> None:
    """Seen by another connection at once, without help of the first."""
    await note(database, owner)
    async with database.raw_transaction() as other:
        assert await other.fetchval("SELECT count(*) FROM db_notes WHERE owner = $1", owner) == 1


@pytest.mark.parametrize("error", [RuntimeError("a bug"), Conflict("No."), KeyError("x"), asyncio.CancelledError()])
async def test_a_block_that_raises_leaves_nothing_and_its_error_comes_as_it_is(
    database: Database, owner: str, error: BaseException
) -> None:
    async def write() -> None:
        async with database.transaction() as connection:
            await connection.execute(sa.insert(notes).values(owner=owner))
            raise error

    async def write_raw() -> None:
        async with database.raw_transaction() as driver:
            await driver.execute("INSERT INTO db_notes VALUES ($1)", owner)
            raise error

    for writing in (write, write_raw):
        with pytest.raises(type(error)) as raised:
            await writing()
        assert raised.value is error
    assert await count(database, owner) == 0


async def test_what_the_commit_refuses_is_raised_and_not_kept(database: Database, owner: str) -> None:
    async def write() -> None:
        async with database.transaction() as connection:
            await connection.execute(sa.insert(rare), [{"id": owner}, {"id": owner}])
            await connection.execute(sa.insert(notes).values(owner=owner))

    with pytest.raises(IntegrityError) as refused:
        await write()
    assert sqlstate_of(refused.value) == "23505"
    assert await count(database, owner) == 0


async def test_an_error_does_not_quote_the_values_of_its_statement(database: Database) -> None:
    """It goes to the log, and names and sealed secrets are among them."""

    async def divide() -> None:
        async with database.transaction() as connection:
            statement = sa.text("SELECT 1 / CAST(:n AS integer), CAST(:secret AS text)")
            await connection.execute(statement, {"n": 0, "secret": "hush-hush-9f3a"})

    with pytest.raises(DBAPIError, match="division by zero") as failed:
        await divide()
    assert "hush-hush-9f3a" not in str(failed.value)


async def test_two_transactions_do_not_see_each_other(database: Database, owner: str) -> None:
    async with database.transaction() as one, database.transaction() as two:
        await one.execute(sa.insert(notes).values(owner=owner))
        seen = await two.scalar(sa.select(sa.func.count()).where(notes.c.owner == owner))
    assert seen == 0


# ——— what passes ———


def wrapped(state: str | None, *, invalidated: bool = False) -> DBAPIError:
    """As SQLAlchemy hands it on."""
    original = Exception("x")
    if state is not None:
        original.sqlstate = state  # type: ignore[attr-defined]  # as its asyncpg adapter sets it
    return DBAPIError("SELECT 1", None, original, connection_invalidated=invalidated)


PASSING = [
    "40001",
    "40P01",
    "55P03",
    "57014",
    "25006",
    "53000",
    "53100",
    "53200",
    "53300",
    "57P01",
    "57P02",
    "57P03",
    "58030",
    "08000",
    "08003",
    "08006",
    "08P01",
]
LASTING = [
    "23505",
    "23514",
    "23503",
    "42601",
    "42P01",
    "42501",
    "22001",
    "22003",
    "22P05",
    "0A000",
    "25P02",
    "XX000",
]


@pytest.mark.parametrize("state", PASSING)
def test_trouble_that_passes(state: str) -> None:
    assert is_passing(asyncpg.PostgresError.new({"C": state, "M": "x", "S": "ERROR"}))
    assert is_passing(wrapped(state))


@pytest.mark.parametrize("state", LASTING)
def test_trouble_that_does_not_pass(state: str) -> None:
    assert not is_passing(asyncpg.PostgresError.new({"C": state, "M": "x", "S": "ERROR"}))
    assert not is_passing(wrapped(state))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        ConnectionResetError(),
        TimeoutError(),
        PoolTimeout(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("closed in the middle"),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.DeadlockDetectedError("x"),
        InterfaceError("SELECT 1", None, Exception("x")),
        OperationalError("SELECT 1", None, Exception("x")),
        wrapped(None, invalidated=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_lost_connections_pass(error: Exception) -> None:
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        RuntimeError(),
        KeyError(),
        asyncpg.UniqueViolationError("x"),
        asyncpg.UndefinedTableError("x"),
        asyncpg.DataError("value out of range"),
        wrapped(None),
    ],
    ids=lambda error: type(error).__name__,
)
def test_bugs_do_not_pass(error: Exception) -> None:
    assert not is_passing(error)


@pytest.mark.parametrize("value", [2**70, "text"])
async def test_a_value_that_no_column_holds_is_a_bug_and_no_trouble_of_the_database(
    database: Database, value: object
) -> None:
    """Told to come again, the caller would do so for ever, and a batch would be tried again and again."""

    async def ask() -> None:
        async with database.transaction() as connection:
            await connection.execute(sa.text("SELECT CAST(:n AS bigint)"), {"n": value})

    with pytest.raises(DBAPIError) as failed:
        await ask()
    assert not is_passing(failed.value)


async def test_a_deadlock_is_passing_trouble(database: Database, owner: str) -> None:
    for text in "ab":
        await note(database, owner, text)
    both_hold = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with database.transaction() as connection:
            for text in (first, second):
                mine = sa.select(notes).where(notes.c.owner == owner, notes.c.note == text)
                await connection.execute(mine.with_for_update())
                if text == first:
                    await both_hold.wait()

    outcomes = await asyncio.gather(lock("a", "b"), lock("b", "a"), return_exceptions=True)
    (victim,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(victim, Unavailable)
    assert not isinstance(victim, OutcomeUnknown)
    assert "deadlock" in (victim.log or "")


async def test_a_full_pool_is_unavailable(shared_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(shared_url, pool_size=2)
    monkeypatch.setattr(database.engine.pool, "_timeout", 0.05)
    async with database.transaction(), database.transaction():
        with pytest.raises(Unavailable):
            await database.ping()
    await database.ping()
    await database.dispose()


async def test_no_database_is_unavailable_and_says_nothing_of_it(unused_tcp_port: int) -> None:
    database = Database(f"postgresql://role:hush-hush-9f3a@127.0.0.1:{unused_tcp_port}/nowhere")
    with pytest.raises(Unavailable) as refused:
        await database.ping()
    assert "127.0.0.1" not in refused.value.message
    assert "hush-hush-9f3a" not in f"{refused.value.message} {refused.value.log}"
    await database.dispose()


# ——— the server goes and comes ———


@pytest.fixture(scope="module")
def mortal() -> Iterator[EmbeddedPostgres]:
    """A server of its own, to be killed."""
    with tempfile.TemporaryDirectory(prefix="points-tests-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres", settings={"fsync": "off"})
        server.start()
        try:
            yield server
        finally:
            server.stop()


async def test_the_pool_survives_a_server_that_is_killed_and_one_that_is_restarted(mortal: EmbeddedPostgres) -> None:
    database = Database(mortal.url(), pool_size=3)

    async def three_at_once() -> None:
        await asyncio.gather(*(database.ping() for _ in range(3)))

    await three_at_once()
    for end in (mortal.stop, mortal.kill):
        end()
        with pytest.raises(Unavailable):
            await database.ping()
        mortal.start()
        await three_at_once()
        async with database.raw_transaction() as driver:
            assert await driver.fetchval("SELECT 1") == 1
    await database.dispose()


async def test_a_transaction_under_way_when_the_server_dies_is_unavailable(mortal: EmbeddedPostgres) -> None:
    database = Database(mortal.url(), pool_size=3)

    async def work() -> None:
        async with database.transaction() as connection:
            await connection.execute(sa.text("SELECT 1"))
            mortal.kill()
            await connection.execute(sa.text("SELECT 1"))

    with pytest.raises(Unavailable) as refused:
        await work()
    assert not isinstance(refused.value, OutcomeUnknown)
    mortal.start()
    await database.ping()
    await database.dispose()


_NOTES = Reading(
    sa.select(notes.c.owner, notes.c.note)
    .where(notes.c.owner == sa.any_(sa.bindparam("owners", type_=sa.ARRAY(sa.Text))), notes.c.note != "hidden")
    .order_by(notes.c.note)
)


async def test_a_reading_gives_rows_with_their_columns_by_name(database: Database, owner: str) -> None:
    for text in ("b", "a", "hidden"):
        await note(database, owner, text)
    rows = await database.read(_NOTES, owners=[owner, "nobody"])
    assert [(row.owner, row.note) for row in rows] == [(owner, "a"), (owner, "b")]
    with pytest.raises(AttributeError, match="color"):
        _ = rows[0].color


async def test_a_reading_needs_its_parameters(database: Database) -> None:
    with pytest.raises(KeyError, match="owners"):
        await database.read(_NOTES)


async def test_a_reading_is_tried_again_when_its_connection_was_cut(shared_url: str, owner: str) -> None:
    """As after a restart of the database, which leaves dead connections behind."""
    alone = Database(shared_url, pool_size=1)
    try:
        async with alone.raw_statement() as connection:
            process_id = await connection.fetchval("SELECT pg_backend_pid()")
        async with alone.transaction() as other:
            await other.execute(sa.select(sa.func.pg_terminate_backend(process_id, 5000)))
        assert await alone.read(_NOTES, owners=[owner]) == []
    finally:
        await alone.dispose()


async def test_a_reading_whose_answer_did_not_come_in_time_is_not_tried_again() -> None:
    """Its caller would wait twice as long, and the second connection may be as dead as the first."""
    tries = 0

    async def read() -> None:
        nonlocal tries
        tries += 1
        raise TimeoutError

    with pytest.raises(Unavailable):
        await read_again(read)
    assert tries == 1


async def test_a_reading_that_no_database_answers_is_unavailable() -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        await nowhere.read(_NOTES, owners=[])
    await nowhere.dispose()


async def test_a_reading_that_is_wrong_is_no_passing_trouble(database: Database) -> None:
    wrong = Reading(sa.select(sa.text("1 / 0")))
    with pytest.raises(asyncpg.DivisionByZeroError):
        await database.read(wrong)


async def test_a_connection_of_the_pool_is_tested_where_it_lay_idle_and_replaced_where_it_is_dead(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: list[object] = []

    async def dead(connection: object) -> None:
        tested.append(connection)
        raise OSError("nobody there")

    monkeypatch.setattr("shared.db._ping", dead)
    monkeypatch.setattr("shared.db._TRUSTED_SECONDS", math.inf)
    alone = Database(shared_url, pool_size=1)
    try:
        for _ in range(3):
            await alone.ping()
        assert not tested
        monkeypatch.setattr("shared.db._TRUSTED_SECONDS", 0.0)
        await alone.ping()
        assert len(tested) == 1
    finally:
        await alone.dispose()
