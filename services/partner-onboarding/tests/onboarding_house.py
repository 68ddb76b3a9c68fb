"""What tests hold of the running service: ways to arrange things and to call as somebody, and its neighbours."""

import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from html import unescape
from re import findall
from typing import Any, Protocol

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from partner_onboarding.register.build import Register
from partner_onboarding.register.clients.domain import Registration
from partner_onboarding.register.users.passwords import Argon2Cost
from platform_testing.callers import ServiceKeys, basic
from platform_testing.serving import PUBLIC_URL
from shared.errors import Malformed, NotFound
from shared.jwt import SigningKey
from shared.problems import problem_response
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

PASSWORD = "a long pass phrase"
FAST = Argon2Cost(time_cost=1, memory_kib=64)


class Relay:
    """Passes calls on to whichever app there is at the moment: the tests take turns with one running service."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)


@dataclass
class Running:
    """The service, which takes longer to build than most tests take: one for all of them."""

    app: FastAPI
    register: Register
    neighbours: Relay
    tokens: Relay


@dataclass
class FakeNeighbours:
    """points-ledger and sso-issuer, as far as this service asks them."""

    balances: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    vendors: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    entries: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    holds: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    issuances: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    ledger_is_down: bool = False
    closed: list[tuple[str, str]] = field(default_factory=list)
    #: Tenants, and their test clients with which redirects are agreed.
    agreed: list[tuple[str, str]] = field(default_factory=list)
    issuer_is_down: bool = False
    authorizations: list[str] = field(default_factory=list)
    #: Of each tenant's authority: the key that signs access tokens.
    signing: dict[str, dict[str, str]] = field(default_factory=dict)

    def access_token(self, tenant: str, client_id: str, *scopes: str, subject: str = "erika") -> dict[str, str]:
        """The headers with which a client calls that the tenant's authority gave an access token."""
        key = self._key_of(tenant)
        now = int(time.time())
        claims = {
            "iss": f"{PUBLIC_URL}/tenants/{tenant}",
            "aud": PUBLIC_URL,
            "sub": subject,
            "client_id": client_id,
            "scope": " ".join(scopes),
            "tenant": tenant,
            "iat": now,
            "exp": now + 300,
            "jti": secrets.token_hex(8),
        }
        return {"Authorization": f"Bearer {key.sign(claims, 'at+jwt')}"}

    def _key_of(self, tenant: str) -> SigningKey:
        if tenant not in self.signing:
            numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
            point = numbers.public_numbers
            parts = {"x": point.x, "y": point.y, "d": numbers.private_value}
            encoded = {
                name: urlsafe_b64encode(part.to_bytes(32, "big")).rstrip(b"=").decode() for name, part in parts.items()
            }
            self.signing[tenant] = {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": f"key-of-{tenant}"} | encoded
        return SigningKey.from_jwk(self.signing[tenant])

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

        @app.get("/internal/tenants/{tenant}/keys")
        async def keys(tenant: str) -> Response:
            if tenant not in self.signing:
                return JSONResponse({"code": "tenant_not_found"}, 404)
            return JSONResponse(
                {"keys": [{name: value for name, value in self.signing[tenant].items() if name != "d"}]}
            )

        @app.get("/internal/revoked-keys")
        async def revoked_keys() -> Response:
            return JSONResponse({"revoked": []})

        @app.get("/internal/tenants/{tenant}/accounts/{user_id}/entries")
        async def entries(request: Request, tenant: str, user_id: str, limit: int, cursor: int = 0) -> Response:
            if self.ledger_is_down:
                return Response(status_code=503)
            if (tenant, user_id) not in self.entries:
                return problem_response(NotFound("There is no such account.", code="account_not_found"), request)
            if cursor < 0:
                return problem_response(Malformed("Not of this list.", code="invalid_cursor"), request)
            found = self.entries[tenant, user_id]
            after = cursor + limit
            page = {"entries": found[cursor:after], "next_cursor": str(after) if after < len(found) else None}
            return JSONResponse(page)

        @app.get("/internal/tenants/{tenant}/accounts/{user_id}/holds")
        async def holds(tenant: str, user_id: str) -> Response:
            if self.ledger_is_down:
                return Response(status_code=503)
            return JSONResponse({"holds": self.holds.get((tenant, user_id), []), "next_cursor": None})

        @app.post("/internal/tenants/{tenant}/accounts/{user_id}/close")
        async def close(request: Request, tenant: str, user_id: str) -> Response:
            if self.ledger_is_down:
                return Response(status_code=503)
            if (tenant, user_id) not in self.balances:
                return problem_response(NotFound("There is no such account.", code="account_not_found"), request)
            self.closed.append((tenant, user_id))
            return JSONResponse({"user_id": user_id, "state": "closed", "lapsed": self.balances[tenant, user_id][0]})

        @app.get("/internal/tenants/{tenant}/vendors")
        async def vendors(request: Request, tenant: str) -> Response:
            self.authorizations.append(request.headers["authorization"])
            if self.issuer_is_down:
                return Response(status_code=503)
            return JSONResponse({"vendors": self.vendors.get(tenant, [])})

        @app.post("/internal/tenants/{tenant}/test-clients")
        async def agree(request: Request, tenant: str) -> Response:
            if self.issuer_is_down:
                return Response(status_code=503)
            client_id = (await request.json())["client_id"]
            self.agreed.append((tenant, client_id))
            return JSONResponse({"vendor_id": client_id, "name": "Test client"})

        @app.get("/internal/tenants/{tenant}/users/{user_id}/issuances")
        async def issuances(tenant: str, user_id: str, cursor: int = 0) -> Response:
            if self.issuer_is_down:
                return Response(status_code=503)
            found = self.issuances.get((tenant, user_id), [])
            after = cursor + 2
            page = {"issuances": found[cursor:after], "next_cursor": str(after) if after < len(found) else None}
            return JSONResponse(page)

        return app


@dataclass(frozen=True)
class Told:
    """What a command has told: its exit code, its answer, and its refusal."""

    exit_code: int
    answer: Any
    stderr: str


class Shell(Protocol):
    """The command line of an operator."""

    async def __call__(self, *arguments: str, typed: str = "") -> Told: ...


@dataclass
class House:
    """The running service, its register for arranging things, and a tenant that no other test knows."""

    app: FastAPI
    register: Register
    neighbours: FakeNeighbours
    tenant: str
    keys: ServiceKeys
    #: Where its browsers are: what one test has counted against an address holds nobody else back.
    ip_address: str = field(default_factory=lambda: "10.{}.{}.{}".format(*secrets.token_bytes(3)))
    http: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.http = self.browser()

    def entrance(self) -> ASGIApp:
        """The service, for which every caller has the address of this house's browsers."""
        return seen_from(self.ip_address, self.app)

    def browser(self) -> httpx.AsyncClient:
        """Another browser, with cookies of its own."""
        transport = httpx.ASGITransport(self.entrance(), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL)

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

    async def profile(self, user_id: str) -> dict[str, Any] | None:
        """What the issuer gets of a user; None for nobody."""
        path, body = f"/internal/tenants/{self.tenant}/profiles", {"user_ids": [user_id]}
        told = (await self.http.post(path, json=body, headers=self.service("sso-issuer"))).json()
        assert (told["absent"] == [user_id]) is (told["profiles"] == [])
        return next(iter(told["profiles"]), None)

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


def seen_from(ip_address: str, app: ASGIApp) -> ASGIApp:
    """`app`, for which every caller has this address."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": (ip_address, 50_000)}, receive, send)

    return answer


def hidden_fields(html: str) -> dict[str, str]:
    """Name and value of every hidden field of a page."""
    return {name: unescape(value) for name, value in findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html)}
