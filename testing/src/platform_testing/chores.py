"""Trouble for a service's periodic work."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from unittest import mock

from shared.chores import Chore, Chores

_SOON_SECONDS = 0.05


class FailingChores:
    """The chores of the services that were started: each fails until `stop_failing`."""

    def __init__(self, error: Exception) -> None:
        self._error: Exception | None = error
        self._news = asyncio.Condition()
        self.failures: dict[str, int] = {}
        self.successes: dict[str, int] = {}

    def stop_failing(self) -> None:
        self._error = None

    async def until_each_has_failed(self, times: int) -> None:
        await self._until(self.failures, times)

    async def until_each_has_succeeded(self, times: int) -> None:
        await self._until(self.successes, times)

    async def _until(self, counts: dict[str, int], times: int) -> None:
        # So long that it ends only what would never come, also where every chore waits for a busy machine.
        async with asyncio.timeout(120), self._news:
            await self._news.wait_for(lambda: bool(counts) and min(counts.values()) >= times)

    def of(self, chore: Chore) -> Chore:
        """The same chore, often and with trouble."""
        self.failures[chore.name] = self.successes[chore.name] = 0

        async def do() -> object:
            counts = self.failures if self._error is not None else self.successes
            try:
                if self._error is not None:
                    # A new one each time: the same one would carry the tracebacks of all the times before.
                    raise type(self._error)(*self._error.args)
                return await chore.do()
            finally:
                counts[chore.name] += 1
                async with self._news:
                    self._news.notify_all()

        return dataclasses.replace(chore, do=do, every_seconds=_SOON_SECONDS)


@contextmanager
def failing_chores(error: Exception) -> Iterator[FailingChores]:
    """Every chore of a service that is started in this block fails with `error`, again and again."""
    failing, run = FailingChores(error), Chores.running

    @asynccontextmanager
    async def running(self: Chores, *chores: Chore) -> AsyncIterator[None]:
        async with run(self, *(failing.of(chore) for chore in chores)):
            yield

    with mock.patch.object(Chores, "running", running):
        yield failing
