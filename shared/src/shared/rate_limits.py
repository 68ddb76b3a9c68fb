"""How often somebody may ask within a window, counted in memory or, over several replicas, in Redis or Valkey."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from math import ceil
from typing import Annotated, Final, TypeVar

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string
from pydantic import AfterValidator, SecretStr

from shared.errors import TooManyRequests

T = TypeVar("T")
Limiter = FixedWindowRateLimiter | SlidingWindowCounterRateLimiter

_SCHEMES: Final = ("memory://", "redis://", "rediss://", "valkey://", "valkeys://")
#: Those who ask wait for a count at most so long, and after that not at all for a while.
_PATIENCE_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 5.0
_log = structlog.get_logger("rate_limits")


def _is_store_of_counts(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if not url.startswith(_SCHEMES):
        raise ValueError(f"must begin with {', '.join(_SCHEMES)}")
    if not url.startswith(_SCHEMES[0]) and find_spec("valkey") is None:
        raise ValueError("needs the extra [valkey], which is not installed")
    return value


#: For a setting: where requests are counted. Secret, since it may hold a password.
CountsUrl = Annotated[SecretStr, AfterValidator(_is_store_of_counts)]


class Counts:
    """Where is counted. While Redis or Valkey do not answer, each replica counts by itself: nobody has to wait for
    them, and nobody is let in as often as he likes.

    Args:
        storage: shared by the replicas; in memory by default, so that limits multiply by their number.
    """

    def __init__(self, storage: Storage | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.own: Storage = MemoryStorage()
        self.shared = storage or self.own
        self._clock = clock
        self._ask_again_at = 0.0

    @classmethod
    def at(cls, url: SecretStr) -> "Counts":
        """Counts at a setting's address."""
        address = url.get_secret_value()
        if address == "memory://":
            return cls()
        storage = storage_from_string(f"async+{address}", implementation="valkey", wrap_exceptions=True)
        assert isinstance(storage, Storage)  # noqa: S101 — `async+` gives one that can be awaited
        return cls(storage)

    async def ask(self, question: Callable[[Storage], Awaitable[T]]) -> T:
        """The answer of the shared counts, or of our own where those are away."""
        if self.shared is not self.own and self._clock() >= self._ask_again_at:
            try:
                # Not left to the client, which tries several times by itself and takes seconds over it.
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    return await question(self.shared)
            # Whatever the client of Redis or Valkey raises: those who ask are not to suffer from it.
            except Exception as trouble:
                self._ask_again_at = self._clock() + _PAUSE_SECONDS
                _log.warning("the shared counts do not answer; this replica counts by itself", error=repr(trouble))
        return await question(self.own)


class RateLimit:
    """So many times within a window for each name.

    Args:
        purpose: counts of different purposes are kept apart.
        sliding: the window ends at each moment, and not at fixed ones about which twice as many fit; that costs more.
    """

    def __init__(self, counts: Counts, times: int, seconds: int, purpose: str, *, sliding: bool = False) -> None:
        self._counts = counts
        self._limit: RateLimitItem = RateLimitItemPerSecond(times, seconds, purpose)
        strategy = SlidingWindowCounterRateLimiter if sliding else FixedWindowRateLimiter
        self._limiters: dict[Storage, Limiter] = {one: strategy(one) for one in (counts.own, counts.shared)}

    async def count(self, *name: str) -> None:
        """Counts once more.

        Raises:
            TooManyRequests: with when to come again.
        """
        await self._refuse_unless(lambda limiter: limiter.hit(self._limit, *name), name)

    async def check(self, *name: str) -> None:
        """Counts nothing: for what is counted only when it fails.

        Raises:
            TooManyRequests: with when to come again.
        """
        await self._refuse_unless(lambda limiter: limiter.test(self._limit, *name), name)

    async def note(self, *name: str) -> None:
        """Counts once more, and lets whoever it is be refused at the next check."""
        await self._counts.ask(lambda storage: self._limiters[storage].hit(self._limit, *name))

    async def forget(self, *name: str) -> None:
        """Begins again at none."""
        await self._counts.ask(lambda storage: self._limiters[storage].clear(self._limit, *name))

    async def _refuse_unless(self, question: Callable[[Limiter], Awaitable[bool]], name: tuple[str, ...]) -> None:
        async def reset_at(storage: Storage) -> float | None:
            limiter = self._limiters[storage]
            if await question(limiter):
                return None
            return (await limiter.get_window_stats(self._limit, *name)).reset_time

        moment = await self._counts.ask(reset_at)
        if moment is not None:
            raise TooManyRequests(
                "Too many requests. Please wait before you try again.",
                retry_after_seconds=max(1, ceil(moment - time.time())),
            )
