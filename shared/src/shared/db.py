"""The way to PostgreSQL: SQLAlchemy's pool, a few connections beside it, and trouble with them said as `Unavailable`.

Portable on purpose: no session state is set, and with `database_statement_cache=0` it works behind PgBouncer in
transaction mode (measured: with caches, 528 of 720 transactions failed there; without, none).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import Refusal, Unavailable
from shared.raw_connections import RawConnections
from shared.settings import ServiceSettings

#: Trying again may help; nothing of the transaction was kept.
_PASSING_SQLSTATES = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available in time
        "57014",  # statement timed out
        "25006",  # read-only: a switchover is under way
        "25P03",  # idle in a transaction for too long
        "53300",  # too many connections
        "57P01",  # shut down by the administrator
        "57P02",  # crashed
        "57P03",  # starting up
    }
)
_CONNECTION_ERRORS = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    # The driver's word for a server that speaks unasked, as each of its processes does when one has crashed.
    asyncpg.InternalClientError,
    InterfaceError,
    PoolTimeout,
)


#: For the lines of group commit, each of which has two lanes; beside the ordinary pool.
_RAW_CONNECTIONS = 8
#: How long the server waits for the next statement of a raw transaction before it takes its locks away.
IDLE_SECONDS = 5
#: It takes no time, unless the server never got to know that the statement before it was given up.
_ROLLBACK_SECONDS = 2
#: In one message, and for this transaction only: nothing stays on a connection that others may be given.
#: The hot statements look a few rows up by their keys. While a table is young the planner has no statistics of it,
#: would rather read all of it, and keeps to that plan for as long as the connection lasts.
_BEGIN = (
    f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'; SET LOCAL enable_seqscan = off;"
    " SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
)


class OutcomeUnknown(Unavailable):
    """The connection was lost while committing: the transaction may or may not have been kept."""

    code = "outcome_unknown"

    def __init__(self) -> None:
        super().__init__(
            "The answer of the database was lost. Ask for the present state, or repeat the call with the same key."
        )


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE of a driver error, also when SQLAlchemy has wrapped it."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(inner, "sqlstate", None)
    return state if isinstance(state, str) else None


def _is_refusal(error: BaseException) -> bool:
    """Whether the server itself says that it has not committed.

    A connection that breaks has a SQLSTATE too (asyncpg gives 08003, PgBouncer 08P01 or 57P01), and tells nothing.
    """
    state = sqlstate_of(error)
    return state is not None and not state.startswith(("08", "57P"))


def is_passing(error: BaseException) -> bool:
    """Whether the same transaction may succeed when tried again.

    A lost race for a new row (unique violation) is not in here: only the caller knows whether a second look
    would find the winner's row.
    """
    if _is_outdated_plan(error):
        return True
    state = sqlstate_of(error)
    if state is not None:
        return state in _PASSING_SQLSTATES or state.startswith("08")
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, (*_CONNECTION_ERRORS, OperationalError))


def _is_outdated_plan(error: BaseException) -> bool:
    """Whether a migration changed a column under a prepared statement, which this connection has forgotten by now.

    Its SQLSTATE (0A000) does not tell: that is also what the server says of all that it cannot do.
    """
    inner = error.orig if isinstance(error, DBAPIError) else error
    outdated = asyncpg.InvalidCachedStatementError
    return isinstance(inner, outdated) or (inner is not None and isinstance(inner.__cause__, outdated))


class Database:
    """A service's own database.

    `transaction()` is what use cases use; `raw_transaction()` lends a connection of asyncpg's own for the few
    statements where SQLAlchemy's share of the time counts.
    """

    def __init__(self, url: str, *, pool_size: int = 10, statement_cache: int = 200, wait_seconds: float = 5.0) -> None:
        self.engine = _create_engine(url, pool_size, statement_cache, wait_seconds)
        # Beside SQLAlchemy's, which would take as long as the statements of a batch.
        self._raw = RawConnections(
            url, _connection_settings(statement_cache), at_most=_RAW_CONNECTIONS, wait_seconds=wait_seconds
        )

    @classmethod
    def of(cls, settings: ServiceSettings) -> "Database":
        return cls(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool_size,
            statement_cache=settings.database_statement_cache,
            wait_seconds=settings.database_wait_seconds,
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed when the block ends and rolled back when it raises.

        Raises:
            OutcomeUnknown: the connection was lost while committing.
            Unavailable: the database cannot be reached or asks to come again.
        """
        committing = False
        try:
            async with self.engine.connect() as connection:
                transaction = await connection.begin()
                try:
                    yield connection
                except BaseException:
                    await _roll_back_quietly(transaction)
                    raise
                committing = True
                await transaction.commit()
        except Refusal:
            raise
        except Exception as error:
            if not is_passing(error):
                raise
            if committing and not _is_refusal(error):
                raise OutcomeUnknown from error
            raise Unavailable(log=f"database: {error!r}") from error

    @asynccontextmanager
    async def raw_transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """The same with asyncpg's own connection; errors come as they are, but for a lost commit.

        It does not outlive a process that stops in the middle of it (frozen, or cut off from the database) by more
        than `IDLE_SECONDS`: its locks would stop all other processes.

        Raises:
            OutcomeUnknown: the connection was lost while committing.
        """
        async with self._raw.lend() as driver:
            try:
                await driver.execute(_BEGIN)
                yield driver
            except BaseException:
                try:
                    await driver.execute("ROLLBACK", timeout=_ROLLBACK_SECONDS)
                except BaseException as error:
                    # Also when this task is cancelled once more: the connection must not be handed on with the
                    # transaction still open.
                    driver.terminate()
                    if not isinstance(error, (*_CONNECTION_ERRORS, asyncpg.PostgresError)):
                        raise
                raise
            try:
                if await driver.execute("COMMIT") != "COMMIT":
                    # What the server says of a transaction in which something failed, whoever has overlooked it.
                    raise asyncpg.InFailedSQLTransactionError("the transaction had failed, and was rolled back")
            except BaseException as error:
                # Whatever state the connection is in, it is not one to hand on.
                driver.terminate()
                if isinstance(error, Exception) and not _is_refusal(error):
                    raise OutcomeUnknown from error
                raise

    @asynccontextmanager
    async def raw_statement(self) -> AsyncIterator[asyncpg.Connection]:
        """asyncpg's own connection without a transaction, for a single statement: it is one by itself.

        One way to the server instead of three. Should the answer be lost, nobody knows whether it was kept: it is for
        what may be done again. Errors come as they are.
        """
        async with self._raw.lend() as driver:
            try:
                yield driver
            except BaseException:
                # Whatever state the connection is in, it is not one to hand on.
                driver.terminate()
                raise

    async def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    async def dispose(self) -> None:
        await self.engine.dispose()
        self._raw.end()


def _connection_settings(statement_cache: int) -> dict[str, Any]:
    return {
        "timeout": 5,
        "command_timeout": 30,
        "statement_cache_size": statement_cache,
        "server_settings": {"application_name": "points-platform"},
    }


def _create_engine(url: str, pool_size: int, statement_cache: int, wait_seconds: float) -> AsyncEngine:
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        # A restarted database leaves dead connections in the pool: look before use, not fail after.
        pool_pre_ping=True,
        # An error would quote the statement's values, names and sealed secrets among them, into the log.
        hide_parameters=True,
        connect_args=_connection_settings(statement_cache) | {"prepared_statement_cache_size": statement_cache},
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: Any, _record: Any, _fairy: Any) -> None:
    """Without asking the server: the driver has seen the end of the connection, so the others are old as well."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


async def _roll_back_quietly(transaction: Any) -> None:
    """A rollback that fails because the connection is gone has happened on the server by itself."""
    try:
        await transaction.rollback()
    except (*_CONNECTION_ERRORS, asyncpg.PostgresError, DBAPIError):
        return
