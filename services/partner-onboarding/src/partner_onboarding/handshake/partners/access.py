"""Access to the partner interface: known partners, within their rate limit, outside of maintenance."""

from typing import Annotated, Final

from fastapi import Depends, Request
from shared.callers import Caller, Callers
from shared.dependencies import provided
from shared.errors import Unavailable
from shared.rate_limits import RateLimit

SCOPE: Final = "partner:handshake"
_CLOSED_SECONDS: Final = 300


class Maintenance(Unavailable):
    code = "maintenance"


class PartnerAccess:
    """Checks every call of the partner interface.

    Args:
        is_closed: the maintenance switch.
    """

    def __init__(self, callers: Callers, limit: RateLimit, *, is_closed: bool) -> None:
        self._callers = callers
        self._limit = limit
        self._is_closed = is_closed

    def check_open(self) -> None:
        """Raises Maintenance."""
        if self._is_closed:
            raise Maintenance("Sorry, we went to the pub.", retry_after_seconds=_CLOSED_SECONDS)

    async def admit(self, request: Request) -> Caller:
        """The calling partner.

        Raises:
            Maintenance, Unauthenticated, InsufficientScope, IpNotAllowed, TooManyRequests
        """
        self.check_open()
        caller = await self._callers.authenticate(request.scope)
        caller.need(SCOPE)
        await self._limit.count(caller.tenant, caller.client_id)
        return caller


async def admit(request: Request) -> Caller:
    """The partner who calls; see `PartnerAccess.admit`."""
    return await provided(request.app, PartnerAccess).admit(request)


#: What routes take: `partner: Partner`.
Partner = Annotated[Caller, Depends(admit)]
