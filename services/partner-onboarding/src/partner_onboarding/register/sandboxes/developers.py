"""Test clients that developers make for themselves: rewards vendors of one sandbox, for a month."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from shared.db import Database
from shared.errors import Policy, TooManyRequests
from shared.rate_limits import RateLimit
from shared.sandboxes.domain import TEST_CLIENT_PREFIX, new_test_client_id
from shared.sandboxes.service import Sandboxes
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit.domain import ANONYMOUS
from partner_onboarding.register.clients.domain import Registration
from partner_onboarding.register.clients.service import Clients, NewSecret
from partner_onboarding.register.sandboxes import store
from partner_onboarding.register.sandboxes.domain import NoSandbox

LIVES_FOR: Final = timedelta(days=30)
#: The second is for tokens to itself: the issuer sees to that.
_SCOPES: Final = ("points:redeem", "sso:issue")
_FULL_SECONDS: Final = 3600


class DevelopersClients:
    """One in a process.

    Args:
        agree: has the issuer agree about redirects with a client of a tenant.
        tenant: the sandbox in which they are; None where this platform offers none.
        limit: how many one network may make.
        at_most: so many live at once.
    """

    def __init__(
        self,
        database: Database,
        sandboxes: Sandboxes,
        clients: Clients,
        limit: RateLimit,
        agree: Callable[[str, str], Awaitable[None]],
        *,
        tenant: str | None,
        at_most: int,
    ) -> None:
        self._database = database
        self._sandboxes = sandboxes
        self._clients = clients
        self._limit = limit
        self._agree = agree
        self._tenant = tenant
        self._at_most = at_most

    async def sandbox(self) -> str:
        """The tenant in which developers make clients.

        Raises:
            NoSandbox: there is none, or the tenant of the setting is no sandbox.
        """
        tenant = self._tenant
        if tenant is None or not self._sandboxes.allowed:
            raise NoSandbox
        async with self._database.transaction() as connection:
            if await self._sandboxes.find_state(connection, tenant) is None:
                raise NoSandbox
        return tenant

    async def make(self, network: str | None) -> NewSecret:
        """A new client, a rewards vendor of the sandbox, with its secret in clear this once.

        Raises:
            NoSandbox: as `sandbox`.
            TooManyRequests: from this network, or there are too many such clients for now.
            Unavailable: the issuer cannot be asked; no client is made.
        """
        tenant = await self.sandbox()
        await self._limit.count(network or "unknown")
        async with self._database.transaction() as connection:
            await self._make_room(connection, tenant)
        client_id = new_test_client_id()
        # First: an agreement without a client harms nobody, while a client without one gets no tokens.
        await self._agree(tenant, client_id)
        async with self._database.transaction() as connection:
            await self._make_room(connection, tenant)
            wanted = Registration(name="Test client", scopes=_SCOPES)
            return await self._clients.register(connection, tenant, wanted, client_id=client_id, by=ANONYMOUS)

    async def _make_room(self, connection: AsyncConnection, tenant: str) -> None:
        """Ends the old ones; refuses where too many live."""
        await store.lock_tenant(connection, tenant)
        for client_id in await store.old_clients(connection, tenant, TEST_CLIENT_PREFIX, LIVES_FOR):
            await self._clients.disable_within(connection, tenant, client_id)
        if await store.live_clients(connection, tenant, TEST_CLIENT_PREFIX) >= self._at_most:
            raise TooManyRequests(
                "There are too many test clients at the moment.",
                retry_after_seconds=_FULL_SECONDS,
                limit=Policy("live-test-clients", self._at_most),
            )
