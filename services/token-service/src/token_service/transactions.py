"""Transactions on a plain asyncpg connection, outside of group commit, which retries by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection

#: The first statement, with which SQLAlchemy begins the transaction.
_BEGIN: Final = sa.text("SELECT 1")


@asynccontextmanager
async def driver_transaction(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that commits at the end of the block.

    Raises:
        OutcomeUnknown: the connection was lost while committing.
        Unavailable: the database cannot be reached, or the failure is transient.
    """
    async with database.transaction() as connection:
        await connection.execute(_BEGIN)
        yield await driver_of(connection)


async def driver_of(connection: AsyncConnection) -> asyncpg.Connection:
    """The plain asyncpg connection within SQLAlchemy's transaction."""
    raw: Any = await connection.get_raw_connection()
    driver: asyncpg.Connection = raw.driver_connection
    return driver
