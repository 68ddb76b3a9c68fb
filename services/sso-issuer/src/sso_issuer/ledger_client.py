"""The questions to points-ledger: how many points users can spend now."""

from collections.abc import Sequence

from pydantic import BaseModel, Field
from shared.calling import ServiceClient


class _Balance(BaseModel):
    user_id: str
    available: int = Field(strict=True, ge=0)


class _Balances(BaseModel):
    balances: list[_Balance]
    absent: list[str]


class LedgerClient:
    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def points_of(self, tenant: str, user_ids: Sequence[str]) -> dict[str, int]:
        """The users' available points by their ids; 0 for a user who has no account yet.

        Raises:
            Unavailable: the ledger does not answer, or not with numbers. Points are never guessed.
        """
        answer = await self._service.ask(f"/internal/tenants/{tenant}/balances", {"user_ids": user_ids})
        found = self._service.understand(_Balances, answer)
        return dict.fromkeys(found.absent, 0) | {balance.user_id: balance.available for balance in found.balances}

    async def aclose(self) -> None:
        await self._service.aclose()
