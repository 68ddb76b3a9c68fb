"""A register that answers when it is let, and what is asked of it."""

import asyncio
import base64
from collections.abc import Callable

from platform_testing.callers import FakeRegister
from shared.callers import Caller, Callers
from shared.register import Client

from .scopes import scope_of


class HeldRegister(FakeRegister):
    """Answers when it is let go; `most` is how many were being asked about at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.waiting = self.most = 0

    async def check(self, client_id: str, client_secret: str) -> Client | None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self.let_go.wait()
            return await super().check(client_id, client_secret)
        finally:
            self.waiting -= 1


async def ask(callers: Callers, headers: dict[str, str]) -> Caller:
    return await callers.authenticate(scope_of(headers))


async def until(condition: Callable[[], bool]) -> None:
    """Lets the tasks that were started go on until this is so."""
    for _ in range(100_000):
        await asyncio.sleep(0)
        if condition():
            return
    raise TimeoutError


def encoded(credentials: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credentials).decode()}
