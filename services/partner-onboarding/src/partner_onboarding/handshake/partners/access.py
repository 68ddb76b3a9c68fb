"""Access to the partner interface: known partners, within their rate limit, outside of maintenance."""

from typing import Annotated, Final

from fastapi import Depends, Request
from shared.bodies import before_body
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

    async def identify(self, request: Request) -> Caller:
        """The calling partner.

        Raises:
            Maintenance, Unauthenticated, InsufficientScope, IpNotAllowed: as they say.
        """
        self.check_open()
        caller = await self._callers.authenticate(request.scope)
        caller.need(SCOPE)
        return caller

    async def admit(self, request: Request) -> Caller:
        """The calling partner, whose call is counted.

        Raises:
            Maintenance, Unauthenticated, InsufficientScope, IpNotAllowed, TooManyRequests: as they say.
        """
        caller = await self.identify(request)
        await self._limit.count(caller.tenant, caller.client_id)
        return caller


async def admit(request: Request) -> Caller:
    """The partner who calls; see `PartnerAccess.admit`."""
    return await provided(request.app, PartnerAccess).admit(request)


async def _identify(request: Request) -> Caller:
    return await provided(request.app, PartnerAccess).identify(request)


async def _admit_identified(request: Request, _: Annotated[Caller, Depends(before_body(_identify))]) -> Caller:
    return await admit(request)


#: What routes take: `partner: Partner`.
Partner = Annotated[Caller, Depends(_admit_identified)]
