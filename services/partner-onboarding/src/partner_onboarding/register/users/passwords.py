"""Passwords of people: argon2id in a few threads of their own.

A hash takes some 50 ms of a core on purpose. Two threads and a bounded queue make sign-ins wait for one another, and
delay no other request.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from pwdlib.hashers.argon2 import Argon2Hasher
from shared.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 2
MAX_WAITING: Final = 100
#: How many accounts of a tenant sign-in considers for an address: its owner's and the latest claim.
TENANT_COMPARISONS: Final = 2
#: How many comparisons a wrong password costs: as many as if two tenants knew the address.
SIGN_IN_COMPARISONS: Final = 2 * TENANT_COMPARISONS


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """The cost of one hash. The default is OWASP's recommendation for argon2id on one thread."""

    time_cost: int = 2
    memory_kib: int = 19_456
    parallelism: int = 1


class Turn:
    """The right to use one of the threads."""

    def __init__(self, hasher: Argon2Hasher, nobodys: str, threads: ThreadPoolExecutor) -> None:
        self._hasher = hasher
        self._nobodys = nobodys
        self._threads = threads

    async def hash(self, password: str) -> str:
        return await self._run(self._hasher.hash, password)

    async def which_match(
        self,
        password: str,
        hashes: Sequence[str],
        *,
        at_least: int = TENANT_COMPARISONS,
        even_if_right: bool = False,
    ) -> list[bool]:
        """For each hash, whether `password` matches it.

        Args:
            at_least: how many comparisons are made if none matches.
            even_if_right: makes as many also if one matches. Needed if an account only claims the address: somebody may
            have made it to learn from the time of an answer whether there is an owner.
        """
        matches = [await self._run(self._hasher.verify, password, one) for one in hashes]
        if even_if_right or not any(matches):
            for _ in range(at_least - len(hashes)):
                await self._run(self._hasher.verify, password, self._nobodys)
        return matches

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a hash has another cost than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))


class PasswordHashing:
    """Gives out turns at hashing; `close()` ends the threads."""

    def __init__(self, cost: Argon2Cost) -> None:
        self._hasher = Argon2Hasher(time_cost=cost.time_cost, memory_cost=cost.memory_kib, parallelism=cost.parallelism)
        self._nobodys = self._hasher.hash("the password of nobody")
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2id")
        self._free = asyncio.Semaphore(THREADS)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Waits until a thread is free.

        Raises:
            Unavailable: too many are waiting already.
        """
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many people are signing in at this moment.", retry_after_seconds=5)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield Turn(self._hasher, self._nobodys, self._threads)
        finally:
            self._free.release()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
