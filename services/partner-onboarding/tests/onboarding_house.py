"""What tests hold of the running service: ways to arrange things and to call as somebody, and its neighbours."""

import secrets
from dataclasses import dataclass, field
from html import unescape
from re import findall
from typing import Any

import httpx
from fastapi import FastAPI
from partner_onboarding.clients.domain import Registration
from partner_onboarding.register import Register
from partner_onboarding.users.passwords import Argon2Cost
from shared.errors import NotFound
from shared.problems import problem_response
from shared.testing import ServiceKeys, basic
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

PASSWORD = "a long pass phrase"
FAST = Argon2Cost(time_cost=1, memory_kib=64)


@dataclass
class FakeNeighbours:
    """points-ledger and sso-issuer, as far as this service asks them."""

    balances: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    vendors: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    ledger_is_down: bool = False
    issuer_is_down: bool = False
    authorizations: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/internal/tenants/{tenant}/accounts/{user_id}")
        async def account(request: Request, tenant: str, user_id: str) -> Response:
            self.authorizations.append(request.headers["authorization"])
            if self.ledger_is_down:
                return Response(status_code=503)
            if (tenant, user_id) not in self.balances:
                return problem_response(NotFound("There is no such account.", code="account_not_found"), request)
            available, held = self.balances[tenant, user_id]
            return JSONResponse(
                {
                    "user_id": user_id,
                    "available": available,
                    "held": held,
                    "total": available + held,
                    "as_of": "2026-11-21T20:30:00.123Z",
                }
            )

        @app.get("/internal/tenants/{tenant}/vendors")
        async def vendors(request: Request, tenant: str) -> Response:
            self.authorizations.append(request.headers["authorization"])
            if self.issuer_is_down:
                return Response(status_code=503)
            return JSONResponse({"vendors": self.vendors.get(tenant, [])})

        return app


@dataclass
class House:
    """The running service, its register for arranging things, and a tenant that no other test knows."""

    http: httpx.AsyncClient
    app: FastAPI
    register: Register
    neighbours: FakeNeighbours
    tenant: str
    keys: ServiceKeys

    async def client(self, *scopes: str, tenant: str | None = None, **registration: Any) -> tuple[str, str]:
        """A new client's id and secret."""
        async with self.register.database.transaction() as connection:
            new = await self.register.clients.register(
                connection, tenant or self.tenant, Registration(name="Test", scopes=scopes, **registration)
            )
        return new.client.client_id, new.client_secret

    async def caller(self, *scopes: str, tenant: str | None = None, **registration: Any) -> dict[str, str]:
        """The headers with which a new client calls."""
        return basic(*await self.client(*scopes, tenant=tenant, **registration))

    async def another_tenant(self) -> str:
        tenant = f"t-{secrets.token_hex(6)}"
        await self.register.tenants.create(tenant, f"Tenant {tenant}", ())
        return tenant

    async def user(
        self, user_id: str = "erika", *, tenant: str | None = None, password: str | None = PASSWORD, **fields: Any
    ) -> str:
        """A new user's e-mail address."""
        told: dict[str, Any] = {"email": self.address(user_id), "firstname": "Erika", "lastname": "Mustermann"}
        told |= fields
        await self.register.users.put(tenant or self.tenant, user_id, password=password, **told)
        return str(told["email"])

    def address(self, name: str) -> str:
        """An e-mail address that no other test knows."""
        return f"{name}@{self.tenant}.example.com"

    def service(self, name: str, audience: str = "partner-onboarding") -> dict[str, str]:
        """The headers with which another of the platform's services calls."""
        return self.keys.headers(name, audience)

    async def login_form(self, **params: str) -> dict[str, str]:
        """The hidden fields of a fresh sign-in form."""
        return hidden_fields((await self.http.get("/login", params=params)).text)

    async def sign_in(self, email: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        form = await self.login_form()
        return await self.http.post("/login", data={**form, "email": email, "password": password, **fields})

    async def check(self, client_id: str, client_secret: str) -> httpx.Response:
        """Asks as points-ledger does whether the secret is right."""
        return await self.http.post(
            "/internal/clients/check",
            json={"client_id": client_id, "client_secret": client_secret},
            headers=self.service("points-ledger"),
        )


def hidden_fields(html: str) -> dict[str, str]:
    """Name and value of every hidden field of a page."""
    return {name: unescape(value) for name, value in findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html)}
