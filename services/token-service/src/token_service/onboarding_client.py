"""The questions to partner-onboarding: who a browser is signed in as, and what tenants are called."""

from typing import Final

from pydantic import BaseModel
from shared.calling import ServiceClient
from shared.identifiers import Tenant

TENANT_ADMIN: Final = "tenant_admin"


class Session(BaseModel):
    """Who is signed in."""

    tenant: Tenant
    user_id: str
    roles: frozenset[str]
    tenant_name: str = ""


class _Tenant(BaseModel):
    name: str


class OnboardingClient:
    """The fields that are read here, and no more."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def find_session(self, session: str) -> Session | None:
        """The user of a browser session; None if it is unknown or has ended.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        return await self._service.find_by(
            Session, "/internal/sessions/check", {"session": session}, absent="no_session"
        )

    async def tenant_name(self, tenant: str) -> str | None:
        """What the tenant is called; None if there is no such tenant.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        found = await self._service.find(_Tenant, f"/internal/tenants/{tenant}", absent="tenant_not_found")
        return None if found is None else found.name
