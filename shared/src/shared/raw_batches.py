"""A transaction on a plain connection: what goes with BEGIN, what goes with COMMIT, and how it is given up."""

import asyncio
from collections.abc import Sequence
from typing import Final

import asyncpg

from shared.kept_statements import KeptStatements, Value, calling

#: What the driver raises when a connection is no good any more.
BROKEN: Final = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    # asyncpg's message when the server sends something unasked, as all its processes do when one of them crashed.
    asyncpg.InternalClientError,
)
#: A kept statement does not fit its tables any more, or the server has forgotten it. A new connection prepares it anew.
_NOT_KEPT: Final = (asyncpg.InvalidCachedStatementError, asyncpg.InvalidSQLStatementNameError)
#: How long the server waits for the next statement of a raw transaction before it ends it and frees its locks.
IDLE_SECONDS: Final = 5.0
#: Usually immediate, unless the server does not know that the previous statement was cancelled.
ROLLBACK_SECONDS: Final = 1
#: For hot statements, which look a few rows up by their keys. Without statistics of a young table, the planner would
#: scan it, and the connection would keep that plan. Up to PostgreSQL 17 what is forbidden and unavoidable counts as so
#: dear that the statement would be compiled, which takes a hundred times as long as carrying it out.
_LOOKING_UP: Final = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}
#: For a batch, which takes its rows in the order of their index: otherwise the planner might take an index that has
#: only the tenant in common, and sort.
PLANNING: Final = {**_LOOKING_UP, "enable_sort": "off"}


#: Of one transaction, whatever its connection is set to.
_ONLY_FOR_A_BATCH: Final = "SET LOCAL enable_sort = off"


class Settings:
    """What every transaction on a plain connection is to run with.

    Set once on a connection, where it is ours until it ends. Set with each BEGIN where the next transaction may come to
    another connection of the server: behind PgBouncer in transaction mode. That costs a batch of the ledger 5 %.

    Args:
        lock_seconds: how long a statement waits for a lock. It must be less than what we wait for an answer: with the
            last message of a batch the outcome would be unknown. (A bound on the whole statement would bound COMMIT
            too, which a server then calls done without its standby.)
        of_the_connection: whether they are set once on each connection.
    """

    def __init__(self, *, lock_seconds: float, of_the_connection: bool) -> None:
        values = {
            "idle_in_transaction_session_timeout": f"{round(IDLE_SECONDS * 1000)}",
            "lock_timeout": f"{round(lock_seconds * 1000)}",
            **_LOOKING_UP,
        }
        self.begin = "BEGIN"
        self.begin_batch = f"BEGIN; {_ONLY_FOR_A_BATCH}"
        self._of_a_connection = ""
        if of_the_connection:
            self._of_a_connection = "; ".join(f"SET {name} = {value}" for name, value in values.items())
        else:
            of_a_transaction = "".join(f"; SET LOCAL {name} = {value}" for name, value in values.items())
            self.begin += of_a_transaction
            self.begin_batch += of_a_transaction

    async def set_on(self, connection: asyncpg.Connection) -> None:
        """For a new connection."""
        if self._of_a_connection:
            await connection.execute(self._of_a_connection)


class RawBatch:
    """An open transaction on a plain connection.

    Args:
        kept: the statements that the server keeps; None where it keeps none, and each goes in a message of its own.
        settings: those of the connection.
    """

    def __init__(self, connection: asyncpg.Connection, kept: KeptStatements | None, settings: Settings) -> None:
        self.connection = connection
        self._settings = settings
        #: How many rows the first statement gave.
        self.rows = 0
        self._kept = kept
        self._end = "COMMIT"

    async def begin(self, first: str, values: Sequence[Value]) -> None:
        """BEGIN, with the first statement if there is one."""
        if not first:
            await self.connection.execute(self._settings.begin)
        elif self._kept is None:
            await self.connection.execute(self._settings.begin_batch)
            self.rows = len(await self.connection.fetch(first, *values))
        else:
            await self._kept.keep(self.connection, first)
            # nosemgrep: sql-in-f-string — `calling` quotes the values
            status = await self.connection.execute(f"{self._settings.begin_batch}; {calling(first, values)}")
            self.rows = int(status.rpartition(" ")[2])

    async def end_with(self, last: str, *values: Value) -> None:
        """The last statement; it is carried out now or with COMMIT. Nothing may follow it."""
        if self._kept is None:
            await self.connection.execute(last, *values)
        else:
            await self._kept.keep(self.connection, last)
            self._end = f"{calling(last, values)}; COMMIT"

    async def commit(self) -> None:
        """COMMIT, with the last statement if there is one."""
        if await self.connection.execute(self._end) != "COMMIT":
            # The server answers COMMIT with ROLLBACK if a statement of the transaction failed.
            raise asyncpg.InFailedSQLTransactionError("the transaction had failed, and was rolled back")

    async def roll_back(self, failure: BaseException) -> None:
        """ROLLBACK. A connection that does not take it is closed, or whose kept statements have failed."""
        if isinstance(failure, _NOT_KEPT):
            self.connection.terminate()
            return
        try:
            await self.connection.execute("ROLLBACK", timeout=ROLLBACK_SECONDS)
        except BaseException as error:
            # Even if this task is cancelled again, the connection must not go back with an open transaction.
            self.connection.terminate()
            if not isinstance(error, (*BROKEN, asyncpg.PostgresError)):
                raise
