"""People as tests play them: what they type into the registration form, and what comes back; and token-service."""

import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .handshake_partner import LANDING_URL
from .onboarding_house import House, hidden_fields

GOOD_PASSWORD = "four lanterns near a quiet harbour"
FORM = "/registrieren/"


@dataclass
class FakeTokens:
    """token-service, as far as this service asks it."""

    is_down: bool = False
    issued: dict[str, dict[str, Any]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    authorizations: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/tokens")
        async def issue(request: Request) -> Response:
            self.authorizations.append(request.headers["authorization"])
            if self.is_down:
                return Response(status_code=503)
            token, order = secrets.token_hex(16), await request.json()
            self.issued[token] = order
            return JSONResponse({"token": token, "url_link": f"{order['base_url']}/{token}"}, 201)

        @app.post("/v1/tokens/{token}/verify")
        async def verify(token: str) -> Response:
            if self.is_down:
                return Response(status_code=503)
            if token not in self.issued:
                return JSONResponse({"code": "token_not_found"}, 404)
            if token in self.used:
                return JSONResponse({"code": "token_used_up"}, 409)
            self.used.add(token)
            return JSONResponse(self.issued[token])

        return app


def browser(house: House) -> httpx.AsyncClient:
    """Another browser, with cookies of its own."""
    return house.browser()


async def fill_in(
    http: httpx.AsyncClient, code: str, email: str, *, path: str = FORM, language: str = "en", **changes: str
) -> httpx.Response:
    """Opens the form and sends it."""
    headers = {"Accept": "text/html", "Accept-Language": language}
    page = await http.get(path, params={"registerCode": code}, headers=headers)
    assert page.status_code == 200, page.text
    fields = {
        "email": email,
        "password": GOOD_PASSWORD,
        "firstname": "Greta",
        "lastname": "Garten",
        "accept_terms": "yes",
        "accept_privacy": "yes",
    }
    sent = hidden_fields(page.text) | fields | changes
    return await http.post(path, params={"registerCode": code}, data=sent, headers=headers)


async def decide(http: httpx.AsyncClient, code: str, decision: str, *, path: str = FORM) -> httpx.Response:
    """Answers the question whether to link, or cancels the form."""
    page = await http.get(path, params={"registerCode": code}, headers={"Accept": "text/html"})
    sent = hidden_fields(page.text) | {"decision": decision}
    return await http.post(path, params={"registerCode": code}, data=sent, headers={"Accept": "text/html"})


def landed(response: httpx.Response, landing_url: str = LANDING_URL) -> dict[str, str]:
    """What was carried to the partner's landing page, beside its own query."""
    assert response.status_code == 303, response.text
    wanted, came = urlsplit(landing_url), urlsplit(response.headers["location"])
    assert (came.scheme, came.netloc, came.path) == (wanted.scheme, wanted.netloc, wanted.path)
    own, carried = parse_qsl(wanted.query), parse_qsl(came.query, strict_parsing=True)
    assert carried[: len(own)] == own
    return dict(carried[len(own) :])
