"""Access to PostgreSQL: SQLAlchemy's pool and a few raw connections. Failures of the connection become `Unavailable`.

With `database_statement_cache=0` no session keeps any state, so that it works behind PgBouncer in transaction mode
(measured: with caches, 528 of 720 transactions failed there; without, none).
"""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import QueuePool

from shared.database_failures import CONNECTION_ERRORS, OutcomeUnknown, count, is_passing, is_refusal
from shared.database_figures import watch_pool
from shared.database_url import DatabaseUrl
from shared.errors import Refusal, Unavailable
from shared.kept_statements import KeptStatements, Value, can_keep
from shared.raw_batches import BROKEN, ROLLBACK_SECONDS, RawBatch, Settings
from shared.raw_connections import RawConnections
from shared.readings import Reading, Row
from shared.settings import ServiceSettings

T = TypeVar("T")

#: Raw connections, for the lanes of group commit; beside the ordinary pool.
_RAW_CONNECTIONS = 8
#: How many of them `read` may have.
_RAW_READERS = 4
#: How long a service waits for one statement, unless its settings say otherwise.
_STATEMENT_SECONDS = 5.0
#: Of that time, how much a statement of a raw transaction may wait for a lock.
_LOCK_SHARE = 0.8
#: The types of parameters that the driver would look up where it first meets them.
_UNKNOWN_TYPES = "SELECT $1::bytea[], $2::text[], $3::int[]"
#: So long after its last use, a connection that the driver has open counts as good.
_TRUSTED_SECONDS = 1.0
#: How long an idle connection may take to say that it lives.
_PING_SECONDS = 2
#: With which SQLAlchemy begins its transaction.
_ANY_STATEMENT = text("SELECT 1")


class Database:
    """A service's own database.

    Use cases use `transaction()`. `raw_transaction()` gives a plain asyncpg connection, for the few statements where
    SQLAlchemy's overhead counts.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        statement_cache: int = 200,
        wait_seconds: float = 5.0,
        statement_seconds: float = _STATEMENT_SECONDS,
        pool: str = "requests",
        is_distributed: bool = False,
    ) -> None:
        database_url = DatabaseUrl(url)
        #: Whether the tables are distributed by tenant: a batch is of one tenant then.
        self.is_distributed = is_distributed
        connect: dict[str, Any] = {
            "statement_cache": statement_cache,
            "command_seconds": statement_seconds,
            "is_distributed": is_distributed,
        }
        self.engine = _create_engine(database_url, connect, pool_size, wait_seconds)
        # Behind PgBouncer in transaction mode, the next transaction may come to another connection of the server.
        is_ours = bool(statement_cache)
        self._kept = KeptStatements() if is_ours else None
        self._settings = Settings(lock_seconds=statement_seconds * _LOCK_SHARE, of_the_connection=is_ours)
        # Plain asyncpg: SQLAlchemy would take as long as the statements of a batch.
        self._raw = RawConnections(
            functools.partial(_connect_raw, database_url, self._settings, **connect),
            at_most=_RAW_CONNECTIONS,
            to_readers=_RAW_READERS,
            wait_seconds=wait_seconds,
        )
        watch_pool(pool, pool_size, self._in_use)
        watch_pool(f"{pool}-lines", _RAW_CONNECTIONS, lambda: self._raw.lent)

    @classmethod
    def of(cls, settings: ServiceSettings, *, statement_seconds: float | None = None) -> "Database":
        """The database of these settings.

        Args:
            statement_seconds: for a command that nobody waits for like a caller.
        """
        return cls(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool_size,
            statement_cache=settings.database_statement_cache,
            wait_seconds=settings.database_wait_seconds,
            statement_seconds=statement_seconds or settings.database_statement_seconds,
            is_distributed=settings.database_distributed,
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed when the block ends and rolled back when it raises.

        Raises:
            OutcomeUnknown: the connection was lost while committing.
            Unavailable: the database cannot be reached, or the failure is transient.
        """
        committing = False
        try:
            async with self.engine.connect() as connection:
                transaction = await connection.begin()
                try:
                    yield connection
                except BaseException:
                    await _roll_back_quietly(connection, transaction)
                    raise
                committing = True
                await transaction.commit()
        except Refusal:
            raise
        except Exception as error:
            count(error)
            if not is_passing(error):
                raise
            if committing and not is_refusal(error):
                raise OutcomeUnknown from error
            raise Unavailable(log=f"database: {error!r}") from error

    @asynccontextmanager
    async def driver_transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """`transaction()` with asyncpg's own connection, for statements on many rows outside the lines of group commit.

        Raises:
            OutcomeUnknown: the connection was lost while committing.
            Unavailable: the database cannot be reached or asks to come again.
        """
        async with self.transaction() as connection:
            await connection.execute(_ANY_STATEMENT)
            yield await driver_of(connection)

    @asynccontextmanager
    async def raw_transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """The same on a plain asyncpg connection. Driver errors pass unchanged, except for a lost COMMIT.

        If the process freezes or loses the database in the middle, the server ends the transaction after
        `raw_batches.IDLE_SECONDS`: its locks would block all other processes.

        Raises:
            OutcomeUnknown: the connection was lost while committing.
        """
        async with self.raw_batch() as batch:
            yield batch.connection

    @asynccontextmanager
    async def raw_batch(self, first: str = "", *values: Value) -> AsyncIterator[RawBatch]:
        """`raw_transaction()` whose first statement goes with BEGIN, and its last one with COMMIT.

        Args:
            first: a statement whose rows nobody needs, such as a lock; `RawBatch.rows` says how many it has.
            values: its parameters.

        Raises:
            OutcomeUnknown: the connection was lost while the last statement and COMMIT were under way.
        """
        async with self._raw.lend() as driver:
            kept = self._kept if self._kept is not None and can_keep(driver) else None
            batch = RawBatch(driver, kept, self._settings)
            try:
                await batch.begin(first, values)
                yield batch
            except BaseException as failure:
                count(failure)
                await batch.roll_back(failure)
                raise
            try:
                await batch.commit()
            except BaseException as error:
                count(error)
                if is_refusal(error):
                    await batch.roll_back(error)
                    raise
                # The state of the connection is unknown, so nobody else may get it.
                driver.terminate()
                if isinstance(error, Exception):
                    raise OutcomeUnknown from error
                raise

    @asynccontextmanager
    async def raw_statement(self) -> AsyncIterator[asyncpg.Connection]:
        """A plain asyncpg connection without BEGIN, for a single statement, which is a transaction by itself.

        One round trip instead of three. If the answer is lost, the outcome is unknown, so use it for what may be
        repeated. Driver errors pass unchanged.
        """
        async with self._noted(self._raw.lend()) as driver:
            yield driver

    @asynccontextmanager
    async def _noted(self, lent: AbstractAsyncContextManager[asyncpg.Connection]) -> AsyncIterator[asyncpg.Connection]:
        async with lent as driver:
            try:
                yield driver
            except BaseException as error:
                count(error)
                # The state of the connection is unknown, so nobody else may get it.
                await _end(driver)
                raise

    @asynccontextmanager
    async def raw_write(self) -> AsyncIterator[asyncpg.Connection]:
        """A plain asyncpg connection for a single statement that writes, which is a transaction by itself.

        One round trip instead of three. Driver errors pass unchanged, except where the answer is lost.

        Raises:
            OutcomeUnknown: the connection was lost, or the answer did not come in time.
        """
        async with self._raw.lend() as driver:
            try:
                yield driver
            except BaseException as error:
                # The state of the connection is unknown, so nobody else may get it. What runs is not cancelled: it may
                # wait for a standby, without which the server would then call it done.
                driver.terminate()
                if isinstance(error, Exception) and not is_refusal(error):
                    raise OutcomeUnknown from error
                raise

    async def read(self, reading: Reading, **values: Any) -> list[Row]:
        """The rows of a statement that only reads, in one round trip; after a passing failure it is tried once more.

        `transaction()` with the same statement takes several times the processor time.

        Raises:
            Unavailable: the database cannot be reached, or the failure stays.
        """
        return await read_again(lambda: self._read(reading, values))

    async def _read(self, reading: Reading, values: dict[str, Any]) -> list[Row]:
        async with self._noted(self._raw.lend_to_reader()) as connection:
            rows: list[Row] = await connection.fetch(reading.sql, *reading.values(values), record_class=Row)
            return rows

    async def ping(self) -> None:
        """Raises Unavailable if the database does not answer."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    def _in_use(self) -> int:
        pool = self.engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    async def dispose(self) -> None:
        await self.engine.dispose()
        self._raw.end()


async def _connect_raw(url: DatabaseUrl, settings: Settings, **options: Any) -> asyncpg.Connection:
    """A plain connection on which the driver asks for no type any more: in the middle of a transaction, its question
    would carry none of the marks that others look for."""
    connection = await url.connect(**options)
    try:
        await settings.set_on(connection)
        await connection.prepare(_UNKNOWN_TYPES)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _end(driver: asyncpg.Connection) -> None:
    """Closes a connection, and has the server cancel what runs on it: it would go on without anybody to answer."""
    # Where that fails, the connection is closed without it.
    with suppress(*BROKEN, asyncpg.PostgresError):
        await driver.close(timeout=ROLLBACK_SECONDS)


async def read_again(read: Callable[[], Awaitable[T]]) -> T:
    """What a statement that only reads gives; after a passing failure it is tried once more.

    Raises:
        Unavailable: the database cannot be reached or does not answer in time, or the failure stays.
    """
    try:
        return await read()
    except TimeoutError as error:
        # The caller has waited long enough, and another connection may be as dead.
        raise Unavailable(log=f"database: {error!r}") from error
    except Exception as error:
        if not is_passing(error):
            raise
    # A restarted database leaves dead connections behind.
    try:
        return await read()
    except Exception as error:
        if not is_passing(error):
            raise
        raise Unavailable(log=f"database: {error!r}") from error


async def driver_of(connection: AsyncConnection) -> asyncpg.Connection:
    """asyncpg's own connection below SQLAlchemy's.

    SQLAlchemy begins its transaction with its own first statement: without one before, what is executed here is a
    transaction by itself.
    """
    raw: Any = await connection.get_raw_connection()
    driver: asyncpg.Connection = raw.driver_connection
    return driver


def _create_engine(url: DatabaseUrl, connect: Mapping[str, Any], pool_size: int, wait_seconds: float) -> AsyncEngine:
    engine = url.engine(
        **connect,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        # Otherwise an error would write the statement's values, such as names and sealed secrets, into the log.
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "checkin", _note_return)
    event.listen(engine.sync_engine, "checkout", _refuse_dead)
    return engine


def _note_return(_connection: Any, record: Any) -> None:
    record.info["returned_at"] = time.monotonic()


def _refuse_dead(connection: Any, record: Any, _fairy: Any) -> None:
    """Refuses a dead connection. The pool then replaces all older connections too.

    The server is asked only where the connection has lain idle: SQLAlchemy's own test before each use takes three round
    trips, a quarter of a transaction with one statement. A restarted database closes its connections, which the driver
    notices by itself.
    """
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError
    returned_at = record.info.get("returned_at")
    if returned_at is None or time.monotonic() - returned_at < _TRUSTED_SECONDS:
        return
    try:
        connection.run_async(_ping)
    except Exception as error:
        raise InvalidatePoolError from error


async def _ping(driver: asyncpg.Connection) -> None:
    await driver.execute("SELECT 1", timeout=_PING_SECONDS)


async def _roll_back_quietly(connection: AsyncConnection, transaction: Any) -> None:
    """Rolls back. If the connection is gone, the server has rolled back by itself."""
    try:
        async with asyncio.timeout(ROLLBACK_SECONDS):
            await transaction.rollback()
    except TimeoutError:
        # Nobody knows what state it is in.
        await connection.invalidate()
    except (*CONNECTION_ERRORS, asyncpg.PostgresError, DBAPIError):
        return
