"""The clock: the database's, so that replicas agree; a parameter, so that tests can let years pass."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

#: The time of a transaction; it does not change within one.
Clock = Callable[[AsyncConnection], Awaitable[datetime]]


async def database_clock(connection: AsyncConnection) -> datetime:
    moment: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return moment
