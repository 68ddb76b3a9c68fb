"""The questions to points-ledger: how many points a user can spend now."""

from pydantic import BaseModel, Field
from shared.calling import ServiceClient, named


class _Account(BaseModel):
    available: int = Field(strict=True, ge=0)


class LedgerClient:
    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def available_points(self, tenant: str, user_id: str) -> int:
        """The user's available points; 0 for a user who has no account yet.

        Raises:
            Unavailable: the ledger does not answer, or not with a number. Points are never guessed.
        """
        path = f"/internal/tenants/{tenant}/accounts/{named(user_id)}"
        account = await self._service.find(_Account, path, absent="account_not_found")
        return 0 if account is None else account.available

    async def aclose(self) -> None:
        await self._service.aclose()
