"""The use cases of the hosted page. A link names no tenant, so the keys of all tenants are tried."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Final

from shared.db import Database
from shared.errors import Unavailable
from shared.idempotency import Answer, RequestKey

from token_service.campaigns import store
from token_service.campaigns.domain import Landing
from token_service.campaigns.service import LandingNotFound
from token_service.clock import DatabaseClock
from token_service.counting.tally import Tally
from token_service.landing.destinations import fill_in
from token_service.tokens.domain import Token
from token_service.tokens.idempotency import IdempotentTokens
from token_service.tokens.verifying import Verifying, Visit

#: The longest time until this process sees another process's first landing page of a tenant.
_REMEMBER_SECONDS: Final = 2.0
#: No client has this id, since a client id contains no colon.
_OWNER: Final = "landing:"


class LandingService:
    """One a process.

    Args:
        origin: of all landing pages; None if they are where the platform is.
        seconds: a clock that is never set; handed in by tests.
    """

    def __init__(
        self,
        database: Database,
        verifying: Verifying,
        idempotent: IdempotentTokens,
        tally: Tally,
        clock: DatabaseClock,
        *,
        origin: str | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.origin = origin
        self._database = database
        self._verifying = verifying
        self._idempotent = idempotent
        self._tally = tally
        self._clock = clock
        self._seconds = seconds
        self._tenants: list[str] = []
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def open(self, text: str, visit: Visit, *, is_counted: bool) -> tuple[Landing, Token]:
        """The content of the page. Nothing is used up; the view counts unless it is a prefetch.

        Raises:
            Refusal: as `Verifying.look`; LandingNotFound where the campaign has no hosted page.
        """
        tenant = await self._verifying.identify(await self._tenants_with_landing(), text, visit)
        token = await self._verifying.look(tenant, text, visit, count_refusal=is_counted)
        landing = await self._landing_of(token)
        if is_counted:
            self._tally.opened(token, visit.kind, self._clock.about_now())
        return landing, token

    async def go(self, text: str, visit: Visit, visit_id: str | None, query: str) -> Answer:
        """Uses the token up and returns the destination.

        Args:
            visit_id: the id of the shown page, so that a button pressed twice uses up once.
            query: of the link, which goes on to the destination.

        Raises:
            Refusal: as `Verifying.verify`; LandingNotFound where the campaign has no hosted page.
        """
        tenant = await self._verifying.identify(await self._tenants_with_landing(), text, visit)
        located = await self._verifying.locate(tenant, text, visit)
        landing = await self._landing_of(await self._verifying.find(located))

        def shape(token: Token) -> Answer:
            location = fill_in(landing.destination_url, text, token.terms, query)
            return Answer(303, b"", {"Location": location, "Cache-Control": "no-store"}, "text/plain")

        if visit_id is None:
            return shape(await self._verifying.verify(tenant, text, visit))
        digest = hashlib.sha256(bytes.fromhex(text)).digest()
        key = RequestKey(f"{visit_id}.{digest.hex()[:32]}", digest)
        return await self._idempotent.verify(_OWNER, tenant, text, visit, key, shape)

    async def _tenants_with_landing(self) -> list[str]:
        if self._seconds() - self._read_at > _REMEMBER_SECONDS:
            async with self._reading:
                if self._seconds() - self._read_at > _REMEMBER_SECONDS:
                    await self._read_tenants()
        return self._tenants

    async def _read_tenants(self) -> None:
        try:
            async with self._database.transaction() as connection:
                self._tenants = await store.tenants_with_landing(connection)
        except Unavailable:
            # One server of several may be down, and the tenants of all others go on.
            if not self._database.is_distributed or not self._tenants:
                raise
        self._read_at = self._seconds()

    async def _landing_of(self, token: Token) -> Landing:
        async with self._database.transaction() as connection:
            campaign = await store.read_campaign(connection, token.id.tenant, token.terms.campaign_id)
        if campaign is None or campaign.landing is None:
            raise LandingNotFound
        return campaign.landing
