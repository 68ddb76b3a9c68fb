"""What tenants are called, for the pages that they show to people."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from shared.bounded import Bounded
from shared.errors import Unavailable

from token_service.onboarding_client import OnboardingClient

_TENANTS: Final = 10_000
#: A name may change; a page may say the former one for so long.
_GOOD_FOR_SECONDS: Final = 300.0
#: How long nobody asks again after an answer failed to come.
_PAUSE_SECONDS: Final = 5.0
#: A page does not wait longer for a name.
_PATIENCE_SECONDS: Final = 1.0


class TenantNames:
    """Asks partner-onboarding and remembers; an offer is shown also while nobody can be asked.

    Args:
        seconds: a clock that is never set; handed in by tests.
    """

    def __init__(self, onboarding: OnboardingClient, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._onboarding = onboarding
        self._known: Bounded[str, str] = Bounded(_TENANTS)
        self._good: Bounded[str, bool] = Bounded(_TENANTS, seconds=_GOOD_FOR_SECONDS, clock=seconds)
        self._failed: Bounded[str, bool] = Bounded(_TENANTS, seconds=_PAUSE_SECONDS, clock=seconds)

    async def of(self, tenant: str) -> str:
        """The tenant's name; the one known last, or else its id, while partner-onboarding does not answer."""
        if self._good.get(tenant) is None and self._failed.get(tenant) is None:
            await self._ask(tenant)
        return self._known.get(tenant) or tenant

    async def _ask(self, tenant: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                name = await self._onboarding.tenant_name(tenant)
        except (Unavailable, TimeoutError):
            self._failed.keep(tenant, True)
            return
        if name is not None:
            self._known.keep(tenant, name)
        self._good.keep(tenant, True)
