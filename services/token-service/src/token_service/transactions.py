"""Transactions on asyncpg's own connection, outside of the lines of group commit, which try again by themselves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection

#: SQLAlchemy begins a transaction with its first statement; this is one.
_BEGIN: Final = sa.text("SELECT 1")


@asynccontextmanager
async def driver_transaction(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that is committed when the block ends.

    Raises:
        OutcomeUnknown: the connection was lost while committing.
        Unavailable: the database cannot be reached or asks to come again.
    """
    async with database.transaction() as connection:
        await connection.execute(_BEGIN)
        yield await driver_of(connection)


async def driver_of(connection: AsyncConnection) -> asyncpg.Connection:
    """asyncpg's own connection, in the transaction that SQLAlchemy begins with its first statement."""
    raw: Any = await connection.get_raw_connection()
    driver: asyncpg.Connection = raw.driver_connection
    return driver
