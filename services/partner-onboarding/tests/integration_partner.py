"""What tests of third parties do: ask, be approved, send an admin to the set-up page, and redeem the code."""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from .onboarding_house import House, hidden_fields

CALLBACK = "https://integrator.example/callback?from=points"
VERIFIER = "a-verifier-of-enough-characters-to-be-one_0123456789"
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SCOPES = ("points:read", "users:read")

REQUEST: dict[str, Any] = {
    "name": "Order insights",
    "organisation": "Example Analytics Ltd",
    "goals": "Show the support team how many points a customer has.",
    "scopes": ["users:read", "points:read"],
    "contact_name": "Ines Integratorova",
    "contact_email": "ines@integrator.example",
    "redirect_uris": [CALLBACK],
    "details": "Some 200 calls an hour.",
}


async def submit(house: House, **changes: Any) -> str:
    """A request to the house's tenant; its id."""
    answer = await house.http.post("/v1/integration-requests", json=REQUEST | {"tenant": house.tenant} | changes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["request_id"])


async def third_party(house: House, *scopes: str, **registration: Any) -> str:
    """A third party's client; its id."""
    told: dict[str, Any] = {"kind": "third_party", "redirect_uris": (CALLBACK,)} | registration
    client_id, _ = await house.client(*(scopes or SCOPES), **told)
    return client_id


async def sign_in_as(house: House, *roles: str, user_id: str = "boss", tenant: str | None = None) -> str:
    """Signs a new user of these roles in with the browser; the e-mail address."""
    email = await house.user(user_id, roles=roles, tenant=tenant, firstname="Bea", lastname="Boss")
    house.http.cookies.clear()
    answer = await house.sign_in(email)
    assert answer.status_code == 303, answer.text
    return email


def link(**changes: str | None) -> dict[str, str]:
    """The query of a third party's link to the set-up page; None leaves one out."""
    query: dict[str, str | None] = {
        "redirect_uri": CALLBACK,
        "state": "st/ä &=",
        "scope": "points:read users:read",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return {key: value for key, value in (query | changes).items() if value is not None}


async def decide(house: House, client_id: str, query: dict[str, str] | None = None, **fields: str) -> httpx.Response:
    """Opens the set-up page and answers it."""
    page = await house.http.get(f"/setup/{client_id}", params=query or link())
    assert page.status_code == 200, page.text
    told = hidden_fields(page.text) | {"designated_user": "boss", "decision": "consent"} | fields
    return await house.http.post(f"/setup/{client_id}", data=told)


async def consented_code(house: House, client_id: str, query: dict[str, str] | None = None, **fields: str) -> str:
    """Consents; the code that the third party is told."""
    return carried(await decide(house, client_id, query, **fields))["code"]


def carried(answer: httpx.Response) -> dict[str, str]:
    """What a redirect carries away."""
    assert answer.status_code == 303, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True))


async def redeem(house: House, client_id: str, code: str, **changes: str | None) -> httpx.Response:
    """Redeems as the issuer does."""
    body: dict[str, str | None] = {"code": code, "client_id": client_id, "redirect_uri": CALLBACK}
    body |= {"code_verifier": VERIFIER} | changes
    return await house.http.post("/internal/authorization-codes/redeem", json=body, headers=house.service("sso-issuer"))


async def told_consent(house: House, client_id: str, tenant: str | None = None) -> dict[str, Any] | None:
    """The consent that the issuer gets; None if none holds."""
    asked = {"consents": [{"tenant": tenant or house.tenant, "client_id": client_id}]}
    answer = await house.http.post("/internal/consents/find-many", json=asked, headers=house.service("sso-issuer"))
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["consents"]
    return found[0] if found else None


async def present_consent(house: House, client_id: str) -> dict[str, Any]:
    """The same where one must hold."""
    consent = await told_consent(house, client_id)
    assert consent is not None
    return consent


async def audit(house: House) -> list[tuple[str, str, str]]:
    """(who, what, of what), the oldest first."""
    operator = await house.caller("clients:admin")
    entries = (await house.http.get("/v1/audit", headers=operator)).json()["entries"]
    return [(f"{one['actor_kind']}:{one['actor']}", one["action"], one["subject"]) for one in reversed(entries)]


def random_verifier() -> str:
    return secrets.token_urlsafe(48)
