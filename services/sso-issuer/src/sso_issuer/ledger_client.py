"""What this service asks points-ledger: how many points a user can spend right now."""

from urllib.parse import quote

import httpx
from shared.calling import ServiceClient
from shared.errors import Unavailable


class LedgerClient:
    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def available_points(self, tenant: str, user_id: str) -> int:
        """The user's available points; 0 for a user who has no account yet.

        Raises:
            Unavailable: the ledger does not answer, or not with a number. Points are never guessed.
        """
        answer = await self._service.get(f"/internal/tenants/{tenant}/accounts/{quote(user_id, safe='')}")
        body = _object(answer)
        if answer.status_code == httpx.codes.NOT_FOUND and body.get("code") == "account_not_found":
            return 0
        available = body.get("available")
        # `type`, because True is an int too.
        if answer.status_code != httpx.codes.OK or type(available) is not int or available < 0:
            raise Unavailable(log=f"points-ledger: status {answer.status_code}, no number of points")
        return available

    async def aclose(self) -> None:
        await self._service.aclose()


def _object(answer: httpx.Response) -> dict[str, object]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
