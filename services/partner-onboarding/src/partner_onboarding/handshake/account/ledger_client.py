"""The questions to points-ledger: a user's balance."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import httpx
from shared.calling import ServiceClient
from shared.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Balance:
    """Points of a user at an instant; `held` ones are set aside for purchases under way."""

    available: int
    held: int
    as_of: datetime


class LedgerClient:
    """Asks points-ledger."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def balance(self, tenant: str, user_id: str) -> Balance | None:
        """The present balance; None for a user without an account.

        Raises:
            Unavailable: the ledger does not answer. Points are never guessed.
        """
        answer = await self._service.get(f"/internal/tenants/{tenant}/accounts/{quote(user_id, safe='')}")
        try:
            fields = answer.json()
            if answer.status_code == httpx.codes.NOT_FOUND and fields["code"] == "account_not_found":
                return None
            if answer.status_code == httpx.codes.OK:
                return Balance(int(fields["available"]), int(fields["held"]), datetime.fromisoformat(fields["as_of"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(log=f"points-ledger: cannot be understood: {error!r}") from error
        raise Unavailable(log=f"points-ledger: status {answer.status_code}")
