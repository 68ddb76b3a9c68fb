"""The questions to points-ledger: how many points users can spend now."""

from collections.abc import Sequence
from operator import itemgetter

from pydantic import BaseModel, Field
from shared.calling import ServiceClient

from sso_issuer.questions import Questions


class _Balance(BaseModel):
    user_id: str
    available: int = Field(strict=True, ge=0)


class _Balances(BaseModel):
    balances: list[_Balance]
    absent: list[str]


class LedgerClient:
    def __init__(self, service: ServiceClient) -> None:
        self._service = service
        self._questions = Questions[tuple[str, str], int](self._points_of, name="balances", apart=itemgetter(0))

    async def available_points(self, tenant: str, user_id: str) -> int:
        """The user's available points; 0 for a user who has no account yet.

        Raises:
            Unavailable: the ledger does not answer, or not with a number. Points are never guessed.
        """
        return await self._questions.ask((tenant, user_id))

    async def points_of(self, tenant: str, user_ids: Sequence[str]) -> dict[str, int]:
        """The users' available points by their ids; 0 for a user who has no account yet.

        Raises:
            Unavailable: the ledger does not answer, or not with numbers.
        """
        answer = await self._service.ask(f"/internal/tenants/{tenant}/balances", {"user_ids": user_ids})
        found = self._service.understand(_Balances, answer)
        return dict.fromkeys(found.absent, 0) | {balance.user_id: balance.available for balance in found.balances}

    async def aclose(self) -> None:
        await self._questions.close()
        await self._service.aclose()

    async def _points_of(self, users: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        tenant = users[0][0]
        found = await self.points_of(tenant, [user_id for _, user_id in users])
        return {(tenant, user_id): points for user_id, points in found.items()}
