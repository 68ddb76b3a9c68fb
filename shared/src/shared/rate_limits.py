"""Rate limits, counted in memory or, for several replicas, in Redis or Valkey."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from math import ceil
from typing import Annotated, Final, TypeVar

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond, WindowStats
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string
from prometheus_client import Counter
from pydantic import AfterValidator, SecretStr

from shared.bounded import Bounded
from shared.errors import Policy, TooManyRequests
from shared.request_frame import Standing, tell_standing

T = TypeVar("T")
Limiter = FixedWindowRateLimiter | SlidingWindowCounterRateLimiter

_SCHEMES: Final = ("memory://", "redis://", "rediss://", "valkey://", "valkeys://")
#: The longest wait for a shared count, and for how long after it the shared counts are not asked (seconds).
_PATIENCE_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 5.0
#: Names that one process counts by itself: some 30 MB of them.
_NAMES: Final = 100_000
_log = structlog.get_logger("rate_limits")
_held_back = Counter("rate_limit_refusals", "Acts that a limit held back.", ["limit"])


def _is_store_of_counts(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if not url.startswith(_SCHEMES):
        raise ValueError(f"must begin with {', '.join(_SCHEMES)}")
    if not url.startswith(_SCHEMES[0]) and find_spec("valkey") is None:
        raise ValueError("needs the extra [valkey], which is not installed")
    return value


#: The type of the setting that names the store of counters. Secret, since it may hold a password.
CountsUrl = Annotated[SecretStr, AfterValidator(_is_store_of_counts)]


class BoundedMemory(MemoryStorage):
    """Counts in this process, of at most so many names: strangers make names up, and each takes memory.

    The library's own storage grows by every name for as long as the window lasts, and looks all of them through again
    and again. Here the name that was counted longest ago is forgotten first, and nothing is looked through.
    """

    def __init__(self, at_most: int = _NAMES) -> None:
        super().__init__()
        self._counts: Bounded[str, tuple[int, float]] = Bounded(at_most)

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        count, until = self._present(key) or (0, time.time() + expiry)
        self._counts.keep(key, (count + amount, until))
        return count + amount

    async def decr(self, key: str, amount: int = 1) -> int:
        count, until = self._present(key) or (0, 0.0)
        if count:
            self._counts.keep(key, (max(count - amount, 0), until))
        return max(count - amount, 0)

    async def get(self, key: str) -> int:
        count, _ = self._present(key) or (0, 0.0)
        return count

    async def get_expiry(self, key: str) -> float:
        _, until = self._present(key) or (0, time.time())
        return until

    async def clear(self, key: str) -> None:
        self._counts.pop(key)

    async def reset(self) -> int:
        names = len(self._counts)
        self._counts.clear()
        return names

    def _present(self, key: str) -> tuple[int, float] | None:
        found = self._counts.get(key)
        return found if found is not None and found[1] > time.time() else None


class Counts:
    """A store of counters. While Redis or Valkey does not answer, each replica counts by itself, so that no caller
    waits for it and none is unlimited.

    Args:
        storage: shared by the replicas; in memory by default, so that limits multiply by their number.
    """

    def __init__(self, storage: Storage | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.own: Storage = BoundedMemory()
        self.shared = storage or self.own
        self._clock = clock
        self._ask_again_at = 0.0

    @classmethod
    def at(cls, url: SecretStr) -> "Counts":
        """The store at a setting's address."""
        address = url.get_secret_value()
        if address == "memory://":
            return cls()
        storage = storage_from_string(f"async+{address}", implementation="valkey", wrap_exceptions=True)
        assert isinstance(storage, Storage)  # noqa: S101 — `async+` gives one that can be awaited
        return cls(storage)

    async def ask(self, question: Callable[[Storage], Awaitable[T]]) -> T:
        """The answer of the shared store, or of the local one if it does not answer."""
        if self.shared is not self.own and self._clock() >= self._ask_again_at:
            try:
                # The client by itself would retry for seconds.
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    return await question(self.shared)
            # Whatever the client of Redis or Valkey raises, the request must not fail by it.
            except Exception as trouble:
                self._ask_again_at = self._clock() + _PAUSE_SECONDS
                _log.warning("the shared counts do not answer; this replica counts by itself", error=repr(trouble))
        return await question(self.own)


class RateLimit:
    """A number of times within a window, for each name.

    Args:
        purpose: keeps counters of different limits apart; callers read it as the name of the limit.
        sliding: the window ends now. A fixed one is cheaper, but lets twice the number pass around its end.
    """

    def __init__(self, counts: Counts, times: int, seconds: int, purpose: str, *, sliding: bool = False) -> None:
        self._counts = counts
        self._policy = Policy(purpose, times, seconds)
        self._limit: RateLimitItem = RateLimitItemPerSecond(times, seconds, purpose)
        strategy = SlidingWindowCounterRateLimiter if sliding else FixedWindowRateLimiter
        self._limiters: dict[Storage, Limiter] = {one: strategy(one) for one in (counts.own, counts.shared)}

    async def count(self, *name: str) -> None:
        """Counts once more. The answer to the present request says how many are left.

        Raises:
            TooManyRequests: with when to come again.
        """
        await self._refuse_unless(lambda limiter: limiter.hit(self._limit, *name), name, tells=True)

    async def check(self, *name: str) -> None:
        """Counts nothing. For acts that count only if they fail.

        Raises:
            TooManyRequests: with when to come again.
        """
        await self._refuse_unless(lambda limiter: limiter.test(self._limit, *name), name)

    async def note(self, *name: str) -> None:
        """Counts once more. Only a later `check` refuses."""
        await self._counts.ask(lambda storage: self._limiters[storage].hit(self._limit, *name))

    async def forget(self, *name: str) -> None:
        """Sets the counter to zero."""
        await self._counts.ask(lambda storage: self._limiters[storage].clear(self._limit, *name))

    async def _refuse_unless(
        self, question: Callable[[Limiter], Awaitable[bool]], name: tuple[str, ...], *, tells: bool = False
    ) -> None:
        async def ask(storage: Storage) -> tuple[bool, WindowStats | None]:
            limiter = self._limiters[storage]
            passes = await question(limiter)
            return passes, await limiter.get_window_stats(self._limit, *name) if tells or not passes else None

        passes, stats = await self._counts.ask(ask)
        if stats is None:
            return
        seconds = max(1, ceil(stats.reset_time - time.time()))
        if not passes:
            _held_back.labels(self._policy.name).inc()
            raise TooManyRequests(
                "Too many requests. Please wait before you try again.",
                retry_after_seconds=seconds,
                limit=self._policy,
            )
        tell_standing(Standing(self._policy, stats.remaining, seconds))
