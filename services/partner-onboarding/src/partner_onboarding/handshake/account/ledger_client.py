"""The questions to points-ledger: a person's balance, entries and running holds."""

from datetime import datetime
from http import HTTPStatus

from pydantic import BaseModel
from shared.calling import ServiceClient, named
from shared.paging import InvalidCursor
from shared.times import Timestamp


class Balance(BaseModel):
    """Points of a user at an instant; `held` ones are set aside for purchases under way."""

    available: int
    held: int
    as_of: datetime


class Entry(BaseModel):
    """A line of the statement: `points` are signed, `balance` is the total after it."""

    number: int
    kind: str
    points: int
    balance: int
    vendor_id: str | None
    reference: str
    reason: str
    created_at: Timestamp


class Entries(BaseModel):
    """Newest first."""

    entries: list[Entry]
    next_cursor: str | None


class Hold(BaseModel):
    """Points set aside for a purchase under way."""

    vendor_id: str
    points: int
    created_at: Timestamp
    expires_at: Timestamp


class _Closed(BaseModel):
    state: str


class Holds(BaseModel):
    holds: list[Hold]


class LedgerClient:
    """Asks points-ledger."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def balance(self, tenant: str, user_id: str) -> Balance | None:
        """The present balance; None for a user without an account.

        Raises:
            Unavailable: the ledger does not answer. Points are never guessed.
        """
        return await self._service.find(Balance, _account(tenant, user_id), absent="account_not_found")

    async def entries(self, tenant: str, user_id: str, *, cursor: str | None, limit: int) -> Entries | None:
        """A page of the person's entries; None for a user without an account.

        Raises:
            InvalidCursor: of another list.
            Unavailable: the ledger does not answer.
        """
        asked = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        answer = await self._service.get(f"{_account(tenant, user_id)}/entries", asked)
        if self._service.says(answer, HTTPStatus.BAD_REQUEST, InvalidCursor.code):
            raise InvalidCursor
        if self._service.says(answer, HTTPStatus.NOT_FOUND, "account_not_found"):
            return None
        return self._service.understand(Entries, answer)

    async def close_account(self, tenant: str, user_id: str, reason: str) -> None:
        """Closes the person's account for good; without an account there is nothing to do. A repeat is fine.

        Raises:
            Unavailable: the ledger does not answer, or not with sense.
        """
        answer = await self._service.post(f"{_account(tenant, user_id)}/close", {"reason": reason})
        if not self._service.says(answer, HTTPStatus.NOT_FOUND, "account_not_found"):
            self._service.understand(_Closed, answer)

    async def holds(self, tenant: str, user_id: str) -> list[Hold]:
        """The person's running holds, the newest 100.

        Raises:
            Unavailable: the ledger does not answer.
        """
        path = f"{_account(tenant, user_id)}/holds"
        found = await self._service.find(Holds, path, absent="account_not_found")
        return [] if found is None else found.holds


def _account(tenant: str, user_id: str) -> str:
    return f"/internal/tenants/{tenant}/accounts/{named(user_id)}"
