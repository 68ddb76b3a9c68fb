"""Users of a sandbox tenant who behave as they are called, so that a vendor can try what seldom happens.

    user-insufficient   never has enough points
    user-slow           answers some seconds after all is done
    user-503            is not to be had: 503, and nothing is recorded
    user-expiring       has holds that end after two seconds

The other tenants may have users of these names, who are like all others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from shared.errors import Unavailable
from shared.sandboxes.service import Sandboxes

from points_ledger.domain.transactions import Commit, TransactionCommand

INSUFFICIENT: Final = "user-insufficient"
SLOW: Final = "user-slow"
UNAVAILABLE: Final = "user-503"
EXPIRING: Final = "user-expiring"
_HOLD: Final = timedelta(seconds=2)
#: Longer than the time-out of most clients: who waits for less has to ask where the transaction stands.
SLOW_SECONDS: Final = 5.0
#: So many answers may wait at once; others come at once, so that no process fills with waiting ones.
_SLOW_AT_ONCE: Final = 100
_RETRY_AFTER_SECONDS: Final = 2
R = TypeVar("R")


class Scenarios:
    """One in a process.

    Args:
        pause: waits for so many seconds; handed in by tests.
    """

    def __init__(self, sandboxes: Sandboxes, *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sandboxes = sandboxes
        self._pause = pause
        self._slow = 0

    def apply_to(self, tenant: str) -> bool:
        """Whether users of this tenant behave as they are called."""
        return tenant in self._sandboxes

    def changed(self, command: TransactionCommand) -> TransactionCommand:
        """The command as it is carried out.

        Raises:
            Unavailable: the user is not to be had.
        """
        self.refuse(command.user_id)
        if not isinstance(command, Commit):
            return command
        if command.user_id == INSUFFICIENT:
            return command._replace(is_refused=True)
        return command._replace(hold=_HOLD) if command.user_id == EXPIRING else command

    def refuse(self, user_id: str) -> None:
        """Raises Unavailable where the user is not to be had."""
        if user_id == UNAVAILABLE:
            raise Unavailable(retry_after_seconds=_RETRY_AFTER_SECONDS)

    async def answer(self, user_id: str, answer: R) -> R:
        """Gives the answer back, late where the user is slow. Nothing but the caller waits: all is written."""
        if user_id == SLOW and self._slow < _SLOW_AT_ONCE:
            self._slow += 1
            try:
                await self._pause(SLOW_SECONDS)
            finally:
                self._slow -= 1
        return answer
