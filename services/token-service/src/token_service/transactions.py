"""Transactions on asyncpg's own connection, outside the group commit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from shared.db import Database, is_passing
from shared.errors import Refusal, Unavailable
from sqlalchemy.ext.asyncio import AsyncConnection


@asynccontextmanager
async def driver_transaction(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that is committed when the block ends.

    Raises:
        OutcomeUnknown: the connection was lost while committing.
        Unavailable: the database cannot be reached or asks to come again.
    """
    try:
        async with database.raw_transaction() as connection:
            yield connection
    except Refusal:
        raise
    except Exception as error:
        if is_passing(error):
            raise Unavailable(log=f"database: {error!r}") from error
        raise


async def driver_of(connection: AsyncConnection) -> asyncpg.Connection:
    """asyncpg's own connection, in the transaction that SQLAlchemy begins with its first statement."""
    raw: Any = await connection.get_raw_connection()
    driver: asyncpg.Connection = raw.driver_connection
    return driver
