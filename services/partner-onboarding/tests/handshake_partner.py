"""A partner's back end, as a test plays it, and a clock that a test turns forward."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from partner_onboarding.handshake.links import store as links_store
from partner_onboarding.handshake.tables import handshakes
from platform_testing.callers import basic
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from .onboarding_house import House

LANDING_URL = "https://partner.example/welcome?campaign=demo"


class TurnedClock:
    """What time it is, as a test says."""

    def __init__(self, now: datetime = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)) -> None:
        self.now = now

    async def __call__(self, _connection: AsyncConnection) -> datetime:
        return self.now

    def turn(self, **ahead: float) -> None:
        self.now += timedelta(**ahead)


@dataclass
class Partner:
    """Calls the partner interface with the credentials of one partner."""

    house: House
    client_id: str
    headers: dict[str, str]

    @classmethod
    async def of(cls, house: House, *, tenant: str | None = None, landing_url: str | None = LANDING_URL) -> "Partner":
        client_id, secret = await house.client("partner:handshake", tenant=tenant, landing_url=landing_url)
        return cls(house, client_id, basic(client_id, secret))

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.house.http.get(f"/user/partner/{path}", headers=self.headers | headers)

    async def post(self, path: str, json: Any = None, **headers: str) -> httpx.Response:
        return await self.house.http.post(f"/user/partner/{path}", json=json, headers=self.headers | headers)

    async def remove(self, user_id: str) -> httpx.Response:
        return await self.house.http.delete(f"/user/partner/remove-user/{user_id}", headers=self.headers)

    async def codes(self, hint: str | None = None) -> dict[str, str]:
        """A new pair of codes."""
        answer = await self.get("init-register-handshake" + (f"?hint={hint}" if hint else ""))
        assert answer.status_code == 200, answer.text
        codes: dict[str, str] = answer.json()
        return codes

    async def events(self) -> dict[str, Any]:
        answer = await self.get("event-list")
        assert answer.status_code == 200, answer.text
        events: dict[str, Any] = answer.json()
        return events

    async def bill(self, month: str) -> dict[str, Any]:
        answer = await self.get(f"billing?month={month}")
        assert answer.status_code == 200, answer.text
        bill: dict[str, Any] = answer.json()
        return bill

    async def link(self, user_id: str, at: datetime, *, tenant: str | None = None) -> None:
        """Links a user without a browser, for tests that begin afterwards."""
        async with self.house.register.database.transaction() as connection:
            await links_store.add_link(connection, tenant or self.house.tenant, self.client_id, user_id, at)

    async def let_codes_expire(self) -> None:
        """Everything this partner was given is over an hour old."""
        async with self.house.register.database.transaction() as connection:
            await connection.execute(
                update(handshakes)
                .where(handshakes.c.client_id == self.client_id)
                .values(
                    created_at=handshakes.c.created_at - timedelta(hours=1),
                    expires_at=handshakes.c.expires_at - timedelta(hours=1),
                )
            )
