"""The order in which the blocks of an import are booked, and how large they are."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence, Set
from typing import Any, TypeVar

L = TypeVar("L")
T = TypeVar("T")


class Turns:
    """Begins the bookings of an import: a few at the same time, but those that share an account one after the other.

    So the lines of an account are booked in the order in which they stand.

    Args:
        at_most: how many are carried out at the same time.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._room = asyncio.Semaphore(at_most)
        #: Bookings that have not ended, and the accounts that they name.
        self._begun: dict[asyncio.Task[Any], Set[str]] = {}

    def begin(self, users: Set[str], book: Callable[[], Awaitable[T]]) -> "asyncio.Task[T]":
        """Carries out `book` when all have ended that were begun before and name one of these accounts."""
        before = [task for task, others in self._begun.items() if not others.isdisjoint(users)]
        task = asyncio.create_task(self._in_turn(before, book))
        self._begun[task] = users
        task.add_done_callback(self._begun.pop)
        return task

    async def _in_turn(self, before: Sequence["asyncio.Task[Any]"], book: Callable[[], Awaitable[T]]) -> T:
        if before:
            await asyncio.wait(before)
        async with self._room:
            return await book()

    async def in_blocks(self, lists: AsyncIterator[list[L]], size: int) -> AsyncGenerator[list[list[L]], None]:
        """The lines in blocks, as many together as can be begun.

        A block has `size` lines; it has fewer if no more have come by the time at which it could be carried out.
        """
        rest: list[L] = []
        coming = asyncio.create_task(_next(lists))
        try:
            while True:
                await asyncio.wait([coming, *self._begun] if rest else [coming], return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    lines = None if coming.exception() else coming.result()
                    if lines is None:
                        break
                    coming = asyncio.create_task(_next(lists))
                    rest += lines
                    whole = len(rest) - len(rest) % size
                    blocks = [rest[start : start + size] for start in range(0, whole, size)]
                    rest = rest[whole:]
                    if blocks:
                        yield blocks
                if rest and len(self._begun) < self._at_most:
                    yield [rest]
                    rest = []
            if rest:
                yield [rest]
            # Raises what ended the lists, if it was not their end.
            coming.result()
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _next(lists: AsyncIterator[list[L]]) -> list[L] | None:
    return await anext(lists, None)
