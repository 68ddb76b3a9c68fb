"""The registration handshake, through the real interfaces: a partner's back end, a person's browser, and the landing
page between them. It makes a new person each time."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from local_platform.console import Terminal
from local_platform.forms import hidden_fields
from local_platform.journey import JourneyFailed

_PARTNER = "/user/partner"
_FORM = "/registrieren/"


class HandshakeJourney:
    """One new person's way from a partner to the platform and back, of which `description` (`demo.json`) tells all."""

    def __init__(
        self,
        description: Mapping[str, Any],
        terminal: Terminal,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._transport = transport
        self._gateway = description["gateway"]
        self._partner = description["clients"]["partner"]
        self._terminal = terminal
        self._email = f"nora.{uuid.uuid4().hex[:10]}@example.com"

    async def make(self) -> None:
        """Plays all of it.

        Raises:
            JourneyFailed: an answer is not what it must be.
        """
        async with httpx.AsyncClient(timeout=30.0, trust_env=False, transport=self._transport) as http:
            self._http = http
            self._terminal.step("A partner's back end asks for two codes, and says for whom")
            codes = await self._ask("GET", f"{_PARTNER}/init-register-handshake?{urlencode({'hint': self._email})}")
            arrived = await self._register(codes["registerCode"])
            self._terminal.step("The partner compares the code that the browser brought with the one it kept")
            _must("the code at the landing page", arrived.get("authorizationCode"), codes["authorizationCode"])
            self._terminal.step("And need not trust the browser for the user: it asks, once, from server to server")
            body = {"authorizationCode": codes["authorizationCode"]}
            redeemed = await self._ask("POST", f"{_PARTNER}/redeem-handshake", body)
            _must("the user behind the code", redeemed["userId"], arrived.get("userId"))
            await self._activate(redeemed["userId"])

    async def _register(self, code: str) -> dict[str, str]:
        """Fills the form in as a browser does. Returns what came to the landing page."""
        self._terminal.step("A person follows the link with the public code, and fills the form in")
        address = f"{self._gateway}{_FORM}?{urlencode({'registerCode': code})}"
        headers = {"Accept": "text/html", "Accept-Language": "en"}
        page = await self._send("GET", address, headers=headers)
        _must("the registration form", page.status_code, 200)
        _must("that the form tells for whom it is", f"n•••@{self._email.partition('@')[2]}" in page.text, True)
        fields = hidden_fields(page.text) | {
            "email": self._email,
            "password": f"{uuid.uuid4().hex} for Nora",
            "firstname": "Nora",
            "lastname": "Demo",
            "accept_terms": "yes",
            "accept_privacy": "yes",
        }
        answer = await self._send("POST", address, data=fields, headers=headers)
        if answer.status_code != httpx.codes.SEE_OTHER:
            raise JourneyFailed(f"the form must lead back to the partner, but answered {answer.status_code}")
        landing = answer.headers["location"]
        wanted, came = urlsplit(self._partner["landing_url"]), urlsplit(landing)
        _must("where the browser goes", (came.netloc, came.path), (wanted.netloc, wanted.path))
        carried = dict(parse_qsl(came.query))
        _must("the landing page's own query", {**dict(parse_qsl(wanted.query)), **carried}, carried)
        self._terminal.call(f"POST {_FORM}", None, answer.status_code, {"Location": landing})
        self._terminal.step("The browser comes to the partner's landing page")
        shown = await self._send("GET", landing)
        _must("the landing page", shown.status_code, 200)
        account = await self._send("GET", f"{self._gateway}/account", headers=headers)
        _must("that the person is signed in", "Hello, Nora" in account.text, True)
        return carried

    async def _activate(self, user_id: str) -> None:
        self._terminal.step("The partner activates the person; a repeat assigns and bills nothing again")
        first = await self._ask("GET", f"{_PARTNER}/activate-user/{user_id}")
        again = await self._ask("GET", f"{_PARTNER}/activate-user/{user_id}")
        _must("the answer to the repeat", again, first)
        self._terminal.step("What has happened so far, and what the partner is billed for this month")
        path = f"{_PARTNER}/event-list"
        events = (await self._ask("GET", path, shown=lambda answer: {user_id: answer.get(user_id)})).get(user_id, {})
        _must("the assignments", len(events.get("assignments", [])), 1)
        month = f"{datetime.now(UTC):%Y-%m}"
        bill = await self._ask("GET", f"{_PARTNER}/billing?month={month}", shown=lambda answer: {"sum": answer["sum"]})
        billed = [one for one in bill["assignments"] if one["userId"] == user_id]
        _must("what is billed", billed, [{"userId": user_id, **one} for one in events["assignments"]])

    async def _ask(self, method: str, path: str, body: Any = None, *, shown: Any = None) -> Any:
        """A call of the partner's back end; `shown` picks what of a long answer is printed."""
        auth = self._partner["client_id"], self._partner["client_secret"]
        response = await self._send(method, self._gateway + path, json=body, auth=auth)
        try:
            answer = response.json()
        except json.JSONDecodeError:
            raise JourneyFailed(f"{method} {path} gave no answer that can be read") from None
        ok = response.status_code == httpx.codes.OK
        self._terminal.call(
            f"{method} {path}", body, response.status_code, shown(answer) if shown is not None and ok else answer
        )
        if not ok:
            raise JourneyFailed(f"{method} {path} must answer 200, but answered {response.status_code}: {answer}")
        return answer

    async def _send(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        try:
            return await self._http.request(method, url, **arguments)
        except httpx.HTTPError as error:
            shown = url.partition("?")[0]
            raise JourneyFailed(f"{method} {shown} gave no answer: {type(error).__name__} {error}") from None


def _must(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise JourneyFailed(f"{what} must be {expected}, but is {found}")
