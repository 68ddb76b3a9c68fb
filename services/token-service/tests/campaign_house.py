"""A running service and a campaign's back end that calls it; small stand-ins for its neighbours."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import httpx
import sqlalchemy as sa
from fastapi import FastAPI
from shared.db import Database
from shared.dependencies import provided
from shared.raw_connections import RawConnections
from sqlalchemy.pool import Pool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from token_service.counting.tally import Tally
from token_service.imports.writing import RowWriters

ORDER: dict[str, Any] = {
    "base_url": "https://mystore.example/promotions",
    "customer_id": "customer-1",
    "campaign_id": "spring",
    "duration": 3600,
}
OFFER = {
    "destination_url": "https://mystore.example/housing?from=mail",
    "offer": {
        "en": {"title": "50% off housing", "text": "For 24 hours, for you alone.", "button": "Show me"},
        "de": {"title": "50 % auf Wohnen", "text": "24 Stunden lang, nur für Sie.", "button": "Ansehen"},
    },
}


_ACTS = re.compile(r"/internal/tenants/([^/]+)/acts")


class FakeSessions:
    """partner-onboarding: its check of browser sessions, what tenants are called, and its audit."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.names: dict[str, str] = {}
        #: By act id: an act may be told twice.
        self.acts: dict[str, dict[str, Any]] = {}
        self.is_down = False

    def add(self, session: str, tenant: str, *roles: str) -> dict[str, str]:
        """Signs somebody in; the header with which their browser calls."""
        self.known[session] = {"tenant": tenant, "user_id": "u1", "roles": list(roles), "allowed_origins": []}
        return {"Cookie": f"__Host-session={session}"}

    def transport(self) -> httpx.ASGITransport:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await (await self._answer(Request(scope, receive)))(scope, receive, send)

        return httpx.ASGITransport(app)

    async def _answer(self, request: Request) -> Response:
        if self.is_down:
            return Response(status_code=503)
        if (acting := _ACTS.fullmatch(request.url.path)) is not None:
            act = await request.json()
            self.acts[act["act_id"]] = act | {"tenant": acting[1]}
            return JSONResponse({"act_id": act["act_id"]})
        if (tenant := request.url.path.removeprefix("/internal/tenants/")) != request.url.path:
            name = self.names.get(tenant)
            return JSONResponse({"code": "tenant_not_found"}, 404) if name is None else JSONResponse({"name": name})
        assert request.url.path == "/internal/sessions/check"
        found = self.known.get((await request.json())["session"])
        if found is None:
            return JSONResponse({"code": "no_session"}, 404)
        return JSONResponse(found)


class House:
    """Calls the service as one campaign's back end."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient, headers: dict[str, str], tenant: str) -> None:
        self.app = app
        self.client = client
        self.headers = headers
        self.tenant = tenant

    @property
    def tally(self) -> Tally:
        return provided(self.app, Tally)

    @property
    def database(self) -> Database:
        return provided(self.app, RowWriters).database

    async def issue(self, **changed: Any) -> str:
        """A token of `ORDER` with these changes."""
        answer = await self.client.post("/v1/tokens", json=ORDER | changed, headers=self.headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    async def verify(self, token: str, body: dict[str, Any] | None = None, *, key: str | None = None) -> httpx.Response:
        headers = self.headers | ({} if key is None else {"Idempotency-Key": key})
        return await self.client.post(f"/v1/tokens/{token}/verify", json=body, headers=headers)

    async def look(self, token: str) -> httpx.Response:
        return await self.client.get(f"/v1/tokens/{token}", headers=self.headers)

    async def get(self, path: str, **params: str) -> Any:
        answer = await self.client.get(path, params=params, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def execute(self, statement: str, **values: Any) -> None:
        """Changes rows behind the service's back."""
        async with self.database.transaction() as connection:
            await connection.execute(sa.text(statement), values)

    async def fetch(self, statement: str, **values: Any) -> list[Any]:
        async with self.database.transaction() as connection:
            return list(await connection.execute(sa.text(statement), values))

    @contextmanager
    def counted_connections(self) -> Iterator[list[str]]:
        """Each time that anybody in the service goes to the database meanwhile, but for its chores."""
        seen: list[str] = []

        def see(what: str) -> None:
            task = asyncio.current_task()
            if task is None or not task.get_name().startswith("chore-"):
                seen.append(what)

        def note(_connection: Any, _record: Any, _proxy: Any) -> None:
            see("taken")

        def noted(connections: RawConnections) -> Any:
            see("taken for a line")
            return lend(connections)

        lend = RawConnections.lend
        sa.event.listen(Pool, "checkout", note)
        with mock.patch.object(RawConnections, "lend", noted):
            yield seen
        sa.event.remove(Pool, "checkout", note)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that happens by itself; ten seconds at most."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def until_async(condition: Callable[[], Awaitable[bool]]) -> None:
    """The same for a condition that has to be asked for."""
    async with asyncio.timeout(10):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refused call."""
    return answer.status_code, answer.json()["code"]


def flipped(token: str, bit: int) -> str:
    """The token with one of its 128 bits turned over."""
    return f"{int(token, 16) ^ (1 << bit):032x}"
