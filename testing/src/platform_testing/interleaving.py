"""What others commit between the statements of a reading: at READ COMMITTED, each sees what is there when it begins."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from shared.db import Database
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import await_only

T = TypeVar("T")


async def answers_between(
    database: Database, read: Callable[[AsyncConnection], Awaitable[T]], act: Callable[[int], Awaitable[object]]
) -> AsyncIterator[T]:
    """The answer of a reading during which `act(1)` happens after its first statement, of one during which `act(2)`
    happens after its second, and so on to its last."""
    step = statements = 1
    while step <= statements:
        statements = 0

        def count(*_: Any, at: int = step) -> None:
            nonlocal statements
            statements += 1
            if statements == at:
                await_only(act(at))

        async with database.transaction() as connection:
            event.listen(connection.sync_connection, "after_cursor_execute", count)
            answer = await read(connection)
        yield answer
        step += 1
