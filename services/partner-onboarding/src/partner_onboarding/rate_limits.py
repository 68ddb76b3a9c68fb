"""How often somebody may ask within a window, counted in memory or, over several replicas, in Redis or Valkey."""

import time
from math import ceil
from typing import Final

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.storage import storage_from_string
from shared.errors import TooManyRequests

SCHEMES: Final = ("memory://", "redis://", "rediss://", "valkey://", "valkeys://")
_log = structlog.get_logger("partner_onboarding")


def storage_of(url: str) -> Storage:
    """Where counts are kept. `memory://`: in this process, so that limits multiply by the replicas.

    Raises:
        limits.errors.ConfigurationError: the client for Redis and Valkey is not installed (`[valkey]`).
    """
    if url == "memory://":
        return MemoryStorage()
    storage = storage_from_string(f"async+{url}", implementation="valkey", wrap_exceptions=True)
    assert isinstance(storage, Storage)  # noqa: S101 — `async+` gives one that can be awaited
    return storage


class RateLimit:
    """So many times within a window for each name.

    Args:
        purpose: counts of different purposes are kept apart.
    """

    def __init__(self, storage: Storage, times: int, seconds: int, purpose: str) -> None:
        self._limit: RateLimitItem = RateLimitItemPerSecond(times, seconds, purpose)
        self._limiter = FixedWindowRateLimiter(storage)

    async def count(self, *name: str) -> None:
        """Counts once more.

        Raises:
            TooManyRequests: with when to come again.
        """
        try:
            if await self._limiter.hit(self._limit, *name):
                return
            reset_at = (await self._limiter.get_window_stats(self._limit, *name)).reset_time
        # Whatever the client of Redis or Valkey raises: those who ask are not to suffer from a store of counts.
        except Exception:
            _log.warning("counting is not possible; nobody is held back", purpose=self._limit.namespace, exc_info=True)
            return
        raise TooManyRequests(
            "Too many requests. Please wait before you try again.",
            retry_after_seconds=max(1, ceil(reset_at - time.time())),
        )
