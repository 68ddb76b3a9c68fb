"""Guessing is slowed down: wrong passwords are counted by account and by the address they come from.

Counted in this process; with several replicas each counts its own, so that the limits multiply by their number.
"""

import time
from math import ceil

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from partner_onboarding.sessions.domain import TooManyAttempts


class SignInThrottle:
    """Refuses further attempts after too many wrong passwords within a window.

    Args:
        per_account: wrong passwords for one account in a window; a right one sets it back to none.
        per_address: wrong passwords from one address in a window, for whichever accounts.
    """

    def __init__(self, *, per_account: int, per_address: int, window_seconds: int) -> None:
        self._per_account = RateLimitItemPerSecond(per_account, window_seconds, "account")
        self._per_address = RateLimitItemPerSecond(per_address, window_seconds, "address")
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def check(self, account: bytes, address: str | None) -> None:
        """Raises TooManyAttempts, saying when to try again."""
        for limit, name in self._names(account, address):
            if not await self._limiter.test(limit, name):
                reset_at = (await self._limiter.get_window_stats(limit, name)).reset_time
                raise TooManyAttempts(
                    "Too many wrong passwords. Please wait before you try again.",
                    retry_after_seconds=max(1, ceil(reset_at - time.time())),
                )

    async def count_wrong(self, account: bytes, address: str | None) -> None:
        for limit, name in self._names(account, address):
            await self._limiter.hit(limit, name)

    async def forgive(self, account: bytes) -> None:
        """The right password was given: the account's count starts again."""
        await self._limiter.clear(self._per_account, account.hex())

    def _names(self, account: bytes, address: str | None) -> list[tuple[RateLimitItem, str]]:
        # The account's name is its keyed hash, so that no address of a person lies in memory for long.
        names: list[tuple[RateLimitItem, str]] = [(self._per_account, account.hex())]
        return names if address is None else [*names, (self._per_address, address)]
