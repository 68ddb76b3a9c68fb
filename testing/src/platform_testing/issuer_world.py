"""What this service's tests stand on: an issuer between two small neighbours, seen from outside and from below."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from fastapi import FastAPI
from shared.register import Client
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from platform_testing.callers import FakeRegister
from platform_testing.serving import PUBLIC_URL

REDIRECT_URI = "https://app.example/connected?from=points"


def _problem(status: int, code: str) -> Response:
    return JSONResponse({"code": code, "status": status}, status, media_type="application/problem+json")


class FakeLedger:
    """points-ledger: accounts by (tenant, user). `answer` replaces what it says."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, str], int] = {}
        self.answer: Callable[[], Response] | None = None
        self.asked = 0
        self.app = Starlette(routes=[Route("/internal/tenants/{tenant}/balances", self._balances, methods=["POST"])])

    async def _balances(self, request: Request) -> Response:
        self.asked += 1
        if not request.headers["authorization"].startswith("Bearer ey"):
            return _problem(401, "invalid_credentials")
        if self.answer is not None:
            return self.answer()
        tenant, asked = request.path_params["tenant"], (await request.json())["user_ids"]
        found = {user_id: self.points[tenant, user_id] for user_id in asked if (tenant, user_id) in self.points}
        return JSONResponse(
            {
                "balances": [
                    {"user_id": user_id, "available": points, "held": 0, "total": points}
                    for user_id, points in found.items()
                ],
                "absent": [user_id for user_id in asked if user_id not in found],
            }
        )


class FakeOnboarding:
    """partner-onboarding: users, sessions and front ends; tenants, clients, consents and codes. `answer` replaces
    what it says."""

    def __init__(self) -> None:
        self.tenants: set[str] = set()
        self.clients: dict[str, dict[str, Any]] = {}
        self.consents: dict[tuple[str, str], dict[str, Any]] = {}
        self.codes: dict[str, dict[str, Any]] = {}
        self.users: dict[tuple[str, str], dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.acts: list[dict[str, Any]] = []
        self.answer: Callable[[], Response] | None = None
        self.app = Starlette(
            routes=[
                Route("/internal/tenants/{tenant}/profiles", self._profiles, methods=["POST"]),
                Route("/internal/sessions/check-many", self._sessions, methods=["POST"]),
                Route("/internal/clients/find-many", self._clients, methods=["POST"]),
                Route("/internal/origins", self._origin),
                Route("/internal/tenants/{tenant}", self._tenant),
                Route("/internal/tenants/{tenant}/acts", self._act, methods=["POST"]),
                Route("/internal/clients/{client_id}", self._client),
                Route("/internal/consents/find-many", self._consents_of, methods=["POST"]),
                Route("/internal/authorization-codes/redeem", self._redeem, methods=["POST"]),
            ]
        )

    async def _profiles(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer()
        tenant, asked = request.path_params["tenant"], (await request.json())["user_ids"]
        found = {user_id: self.users[tenant, user_id] for user_id in asked if (tenant, user_id) in self.users}
        return JSONResponse(
            {"profiles": list(found.values()), "absent": [user_id for user_id in asked if user_id not in found]}
        )

    async def _act(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer()
        act = await request.json()
        self.acts.append(act | {"tenant": request.path_params["tenant"]})
        return JSONResponse({"act_id": act["act_id"]})

    async def _sessions(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer()
        asked = (await request.json())["sessions"]
        return JSONResponse({"sessions": [self.sessions.get(session) for session in asked]})

    async def _clients(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer()
        asked = (await request.json())["client_ids"]
        defaults: dict[str, Any] = {"vendor_id": None, "ip_allow_list": []}
        return JSONResponse({"clients": [defaults | self.clients[one] for one in asked if one in self.clients]})

    async def _origin(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer()
        origins = {origin for session in self.sessions.values() for origin in session["allowed_origins"]}
        return JSONResponse({"allowed": request.query_params["origin"] in origins})

    async def _tenant(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer()
        tenant = request.path_params["tenant"]
        return JSONResponse({"tenant": tenant}) if tenant in self.tenants else _problem(404, "tenant_not_found")

    async def _client(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer()
        client = self.clients.get(request.path_params["client_id"])
        return _problem(404, "client_not_found") if client is None else JSONResponse(client)

    async def _consents_of(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer()
        asked = [(one["tenant"], one["client_id"]) for one in (await request.json())["consents"]]
        known = [place for place in asked if place in self.consents and place[1] in self.clients]
        return JSONResponse({"consents": [{"tenant": place[0], **self.consents[place]} for place in known]})

    async def _redeem(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer()
        shown = await request.json()
        code = self.codes.get(shown["code"])
        verifier = shown["code_verifier"]
        challenge = None if verifier is None else encode(hashlib.sha256(verifier.encode()).digest())
        if code is None or {**code, **{name: shown[name] for name in ("client_id", "redirect_uri")}} != code:
            return _problem(404, "invalid_grant")
        if code["used"]:
            body = {"code": "invalid_grant", "replayed": True, "consent_version": code["given"]["consent_version"]}
            return JSONResponse(body, 404)
        if code["code_challenge"] != challenge:
            return _problem(404, "invalid_grant")
        code["used"] = True
        return JSONResponse(code["given"])


@dataclass
class World:
    """A tenant with one user, and everything that a test needs to act in it."""

    app: FastAPI
    client: httpx.AsyncClient
    tenant: str
    register: FakeRegister
    ledger: FakeLedger
    onboarding: FakeOnboarding
    database: AsyncEngine
    user_id: str = "user-1"
    platform: dict[str, str] = field(default_factory=dict)
    admin: dict[str, str] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"{PUBLIC_URL}/tenants/{self.tenant}"

    def add_user(self, user_id: str, *, points: int | None = 500, tenant: str | None = None) -> None:
        place = (tenant or self.tenant, user_id)
        self.onboarding.users[place] = {
            "user_id": user_id,
            "firstname": "Ada",
            "lastname": "Löwe",
            "email": "ada@example.org",
            "email_verified": True,
        }
        if points is not None:
            self.ledger.points[place] = points

    def sign_in(self, user_id: str | None = None, *, origins: tuple[str, ...] = ()) -> dict[str, str]:
        """A browser session; returns the header that carries its cookie."""
        session = secrets.token_urlsafe(32)
        self.onboarding.sessions[session] = {
            "tenant": self.tenant,
            "user_id": user_id or self.user_id,
            "roles": [],
            "allowed_origins": list(origins),
        }
        return {"Cookie": f"__Host-session={session}"}

    def add_third_party(
        self,
        client_id: str | None = None,
        *,
        scopes: tuple[str, ...] = ("points:read", "users:read", "tokens:stats"),
        jwks: Mapping[str, Any] | None = None,
        tenant: str | None = None,
    ) -> tuple[str, str]:
        """A third party as the register knows it; returns its id and its secret."""
        client_id, secret = client_id or f"app-{secrets.token_hex(4)}", secrets.token_urlsafe(32)
        tenant = tenant or self.tenant
        self.onboarding.tenants.add(tenant)
        self.register.clients[client_id, secret] = Client(client_id, tenant, frozenset(scopes), "third_party")
        self.onboarding.clients[client_id] = {
            "client_id": client_id,
            "tenant": tenant,
            "kind": "third_party",
            "scopes": list(scopes),
            "redirect_uris": [REDIRECT_URI],
            "jwks": jwks,
            "name": "An integration",
        }
        return client_id, secret

    def consent(
        self,
        client_id: str,
        *scopes: str,
        subject: str = "api-user",
        version: int = 1,
        since_version: int = 1,
        tenant: str | None = None,
    ) -> None:
        """The tenant admin consents."""
        self.onboarding.consents[tenant or self.tenant, client_id] = {
            "client_id": client_id,
            "subject": subject,
            "scopes": list(scopes),
            "version": version,
            "since_version": since_version,
            "granted_at": "2026-11-21T08:15:30.123Z",
        }

    def give_code(self, client_id: str, code_challenge: str | None, redirect_uri: str = REDIRECT_URI) -> str:
        """The code with which the admin's browser comes back from the consent."""
        consent = self.onboarding.consents[self.tenant, client_id]
        code = secrets.token_urlsafe(32)
        given = {
            "tenant": self.tenant,
            "client_id": client_id,
            "subject": consent["subject"],
            "scopes": consent["scopes"],
            "consent_version": consent["version"],
        }
        self.onboarding.codes[code] = {
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "code_challenge": code_challenge,
            "used": False,
            "given": given,
        }
        return code

    async def oauth(self, endpoint: str, tenant: str | None = None, **form: Any) -> httpx.Response:
        """A request to the authority; `auth` and `headers` are httpx's, all else is form."""
        sent: dict[str, Any] = {name: form.pop(name) for name in ("auth", "headers") if name in form}
        path = f"/tenants/{tenant or self.tenant}/oauth/{endpoint}"
        return await self.client.post(path, data=form, **sent)

    def vendor_client(self, vendor_id: str, *, tenant: str | None = None) -> dict[str, str]:
        return self.register.add(tenant or self.tenant, "points:redeem", vendor_id=vendor_id)

    async def put_vendor(self, vendor_id: str = "shop", **changed: Any) -> dict[str, Any]:
        body = {"name": "Rewards Shop", "redirect_url": "https://shop.example/redeem", **changed}
        answer = await self.client.put(f"/sso/v1/vendors/{vendor_id}", json=body, headers=self.admin)
        return body_of(answer, 200, 201)

    async def add_secret(self, vendor_id: str = "shop", **wish: int | bool) -> dict[str, Any]:
        path = f"/sso/v1/vendors/{vendor_id}/secrets"
        answer = await self.client.post(path, json=wish, headers=self.admin)
        return body_of(answer, 201)

    async def redirect(self, vendor_id: str = "shop", user_id: str | None = None) -> dict[str, Any]:
        answer = await self.ask_redirect(vendor_id, user_id)
        return body_of(answer, 201)

    async def ask_redirect(self, vendor_id: str = "shop", user_id: str | None = None, **headers: str) -> httpx.Response:
        body = {"user_id": user_id or self.user_id, "vendor_id": vendor_id}
        return await self.client.post("/sso/v1/redirects", json=body, headers=self.platform | headers)

    async def redeem(self, token: str, vendor: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        caller = vendor or self.vendor_client("shop")
        return await self.client.post("/sso/v1/tokens/redeem", json={"token": token}, headers=caller | headers)

    async def jwks(self) -> list[dict[str, str]]:
        answer = await self.client.get(f"/tenants/{self.tenant}/jwks.json")
        keys: list[dict[str, str]] = body_of(answer, 200)["keys"]
        return keys


def body_of(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The JSON body of an answer that has one of the statuses."""
    if answer.status_code not in statuses:
        raise AssertionError(f"{answer.status_code}: {answer.text}")
    body: dict[str, Any] = answer.json()
    return body


def decode(part: str) -> bytes:
    """base64url without padding."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encode(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def header_of(token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(decode(token.split(".", maxsplit=1)[0]))
    return header


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(decode(token.split(".")[1]))
    return claims


def assemble(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A compact JWS of any header and claims, also of such as no decent library would sign."""
    text = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
    return f"{text}.{encode(sign(text.encode()))}"


def hmac_sha256(key: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.new(key, text, hashlib.sha256).digest()


def verify_independently(token: str, key: Mapping[str, str] | str) -> None:
    """Checks a signature with `cryptography` and RFC 7515 alone, as a vendor's own library would.

    Args:
        key: a JWK, or the text of an HS256 secret.

    Raises:
        Exception: the signature is not good.
    """
    text, _, signature = token.rpartition(".")
    signed, raw = text.encode(), decode(signature)
    algorithm = header_of(token)["alg"]
    if algorithm != ("HS256" if isinstance(key, str) else key["alg"]):
        raise ValueError("the token and the key are of two algorithms")
    if isinstance(key, str):
        if not hmac.compare_digest(hmac_sha256(key.encode())(signed), raw):
            raise ValueError("badly signed")
    elif algorithm == "ES256":
        x, y = (int.from_bytes(decode(key[name]), "big") for name in ("x", "y"))
        point = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
        point.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    else:
        rsa_public_key(key).verify(raw, signed, padding.PKCS1v15(), hashes.SHA256())


def rsa_public_key(jwk: Mapping[str, str]) -> rsa.RSAPublicKey:
    n, e = (int.from_bytes(decode(jwk[name]), "big") for name in ("n", "e"))
    return rsa.RSAPublicNumbers(e, n).public_key()
