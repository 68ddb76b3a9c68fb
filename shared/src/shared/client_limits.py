"""How often each client may ask. Only who has proven to be a client is counted, so nobody uses up another's share."""

import time
from collections.abc import Callable
from math import ceil
from typing import Final

from shared.errors import Policy, TooManyRequests
from shared.request_frame import Standing, tell_standing

_WINDOW_SECONDS: Final = 60.0
_NAME: Final = "client"


class ClientLimit:
    """So many requests a client within a minute, counted by this process alone: it costs a request no question.

    Args:
        requests: 0 for any number.
    """

    def __init__(self, requests: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests = requests
        self._policy = Policy(_NAME, requests, round(_WINDOW_SECONDS))
        self._clock = clock
        self._ends_at = float("-inf")
        self._counts: dict[tuple[str, str], int] = {}

    def count(self, tenant: str, client_id: str) -> None:
        """Counts a request, whose answer says how many are left.

        Raises:
            TooManyRequests: with when there is room again.
        """
        if not self._requests:
            return
        now = self._clock()
        if now >= self._ends_at:
            self._counts.clear()
            self._ends_at = now + _WINDOW_SECONDS
        name = (tenant, client_id)
        count = self._counts[name] = self._counts.get(name, 0) + 1
        seconds = max(1, ceil(self._ends_at - now))
        if count > self._requests:
            raise TooManyRequests(
                "This client sends too many requests. Please wait before you try again.",
                retry_after_seconds=seconds,
                limit=self._policy,
            )
        tell_standing(Standing(self._policy, self._requests - count, seconds))
