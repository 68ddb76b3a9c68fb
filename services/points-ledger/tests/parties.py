"""Who speaks to the ledger in these tests: a rewards vendor, and the platform."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

EAI = "/eai/v1/points"


@dataclass
class Vendor:
    """A rewards vendor with its credentials; answers come back whole."""

    client: httpx.AsyncClient
    headers: Mapping[str, str]

    async def post(self, query: str, body: Mapping[str, Any], key: str | None = None) -> httpx.Response:
        headers = {**self.headers} if key is None else {**self.headers, "Idempotency-Key": key}
        return await self.client.post(f"{EAI}?{query}", json=dict(body), headers=headers)

    async def commit(self, user: str, transaction: str, points: int, key: str | None = None) -> httpx.Response:
        body = {"userid": user, "transactionid": transaction, "pointstodeduct": points, "description": "a mug"}
        return await self.post("commit", body, key)

    async def confirm(
        self, user: str, transaction: str, points: int | None = None, key: str | None = None
    ) -> httpx.Response:
        body: dict[str, Any] = {"userid": user, "transactionid": transaction}
        return await self.post("confirm", body if points is None else body | {"pointstodeduct": points}, key)

    async def rollback(self, user: str, transaction: str, key: str | None = None) -> httpx.Response:
        return await self.post("rollback", {"userid": user, "transactionid": transaction}, key)

    async def refund(
        self, user: str, transaction: str, refund: str, points: int, key: str | None = None
    ) -> httpx.Response:
        body = {"userid": user, "transactionid": transaction, "refundid": refund, "points": points}
        return await self.post("refund", body, key)

    async def look_up(self, transaction: str) -> httpx.Response:
        return await self.client.get(f"{EAI}/{transaction}", headers=self.headers)


@dataclass
class Platform:
    """The platform's own back end."""

    client: httpx.AsyncClient
    headers: Mapping[str, str]
    opened: list[str] = field(default_factory=list)

    async def user_with(self, points: int) -> str:
        """A new user who owns `points`."""
        user = f"user-{secrets.token_hex(4)}"
        assert (await self.client.put(f"/v1/accounts/{user}", headers=self.headers)).status_code == 201
        if points:
            assert (await self.credit(user, points)).status_code == 201
        self.opened.append(user)
        return user

    async def credit(
        self, user: str, points: int, reference: str | None = None, key: str | None = None
    ) -> httpx.Response:
        return await self._post(user, "credits", points, reference, key)

    async def debit(
        self, user: str, points: int, reference: str | None = None, key: str | None = None
    ) -> httpx.Response:
        return await self._post(user, "debits", points, reference, key)

    async def balance(self, user: str) -> tuple[int, int]:
        """(available, held)."""
        answer = await self.client.get(f"/v1/accounts/{user}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["total"] == body["available"] + body["held"]
        return body["available"], body["held"]

    async def _post(self, user: str, kind: str, points: int, reference: str | None, key: str | None) -> httpx.Response:
        body = {"points": points, "reference": reference or secrets.token_hex(4), "reason": "because"}
        headers = {**self.headers} if key is None else {**self.headers, "Idempotency-Key": key}
        return await self.client.post(f"/v1/accounts/{user}/{kind}", json=body, headers=headers)
