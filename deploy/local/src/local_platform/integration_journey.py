"""How a third party comes to a tenant's data, through the real interfaces.

It asks, operators approve, the tenant's admin allows it, it gets a token and reads; then the admin withdraws, and does
not allow it again. A new client each time.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from local_platform.console import Terminal
from local_platform.forms import action_of, hidden_fields
from local_platform.journey import JourneyFailed

_HTML = {"Accept": "text/html", "Accept-Language": "en"}
_SCOPES = ("points:read", "users:read")


class IntegrationJourney:
    """The whole way of an integration, of which `description` (`demo.json`) tells all that is needed."""

    def __init__(
        self,
        description: Mapping[str, Any],
        terminal: Terminal,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._transport = transport
        self._gateway: str = description["gateway"]
        self._tenant: str = description["tenant"]
        self._operator = _auth(description["clients"]["operator"])
        self._callback: str = description["clients"]["third_party"]["redirect_uri"]
        self._admin = description["tenant_admin"]
        self._somebody: str = description["users"][0]["user_id"]
        self._terminal = terminal

    async def make(self) -> None:
        """Plays all of it.

        Raises:
            JourneyFailed: an answer is not what it must be.
        """
        async with (
            httpx.AsyncClient(timeout=30.0, trust_env=False, transport=self._transport) as http,
            httpx.AsyncClient(timeout=30.0, trust_env=False, transport=self._transport, headers=_HTML) as browser,
        ):
            self._http, self._browser = http, browser
            client = await self._be_approved()
            token = await self._be_allowed(client)
            await self._read(token)
            await self._withdraw(client, token)
            await self._be_refused(client)
            self._terminal.step("The operators take the demonstration's client out of use")
            await self._ask("DELETE", f"/v1/clients/{client['client_id']}", must=204, auth=self._operator)

    async def connect(self) -> Mapping[str, str]:
        """Plays it up to the consent; returns what the third party was handed over.

        Raises:
            JourneyFailed: as `make`.
        """
        async with (
            httpx.AsyncClient(timeout=30.0, trust_env=False, transport=self._transport) as http,
            httpx.AsyncClient(timeout=30.0, trust_env=False, transport=self._transport, headers=_HTML) as browser,
        ):
            self._http, self._browser = http, browser
            client = await self._be_approved()
            await self._be_allowed(client)
        return client

    async def _be_approved(self) -> Mapping[str, str]:
        self._terminal.step("A company asks for an integration: goals, data, contact, redirect address")
        wish = {
            "tenant": self._tenant,
            "name": "Order insights",
            "organisation": "Example Analytics Ltd",
            "goals": "Show the support team how many points a customer has.",
            "scopes": list(_SCOPES),
            "contact_name": "Ines Integrator",
            "contact_email": "ines@integrator.example",
            "redirect_uris": [self._callback],
        }
        asked = await self._ask("POST", "/v1/integration-requests", wish, must=201)
        self._terminal.step("An operator approves: a client is registered, and four things are handed over, once")
        path = f"/v1/integration-requests/{asked['request_id']}/approve"
        approved: dict[str, str] = await self._ask(
            "POST", path, must=200, auth=self._operator, shown=("client_id", "tenant_authority_url", "cloud_api_url")
        )
        _must("the cloud API URL", approved["cloud_api_url"], self._gateway)
        await self._ask("POST", path, must=409, auth=self._operator)
        return approved

    async def _be_allowed(self, client: Mapping[str, str]) -> str:
        self._terminal.step(
            "The third party's set-up sends the tenant's admin to the authority, who signs in and allows it"
        )
        verifier = secrets.token_urlsafe(48)
        carried = await self._decide(client, verifier, "consent")
        self._terminal.step("The third party exchanges the code for a token")
        form = {
            "grant_type": "authorization_code",
            "code": carried["code"],
            "redirect_uri": self._callback,
            "code_verifier": verifier,
        }
        answer = await self._authority(client, "token", form, must=200, shown=("token_type", "expires_in", "scope"))
        return str(answer["access_token"])

    async def _read(self, token: str) -> None:
        self._terminal.step("With the token it reads what was allowed, and nothing else")
        bearer = {"Authorization": f"Bearer {token}"}
        path = f"/v1/accounts/{self._somebody}"
        await self._ask("GET", path, must=200, headers=bearer)
        credit = {"points": 1, "reference": "no", "reason": "no"}
        refused = await self._ask("POST", f"{path}/credits", credit, must=403, headers=bearer)
        _must("the code of the refusal", refused["code"], "insufficient_scope")

    async def _withdraw(self, client: Mapping[str, str], token: str) -> None:
        self._terminal.step("The admin withdraws: introspection says at once that the token is inactive")
        active = await self._authority(client, "introspect", {"token": token}, must=200, shown=("active", "scope"))
        _must("the token before", active["active"], True)
        path = f"{self._gateway}/consents/{client['client_id']}"
        page = await self._browse("GET", path, must=200)
        await self._browse("POST", f"{path}/withdraw", hidden_fields(page.text), must=303)
        inactive = await self._authority(client, "introspect", {"token": token}, must=200)
        _must("the token after", inactive["active"], False)

    async def _be_refused(self, client: Mapping[str, str]) -> None:
        self._terminal.step("Asked again, the admin does not allow it")
        carried = await self._decide(client, secrets.token_urlsafe(48), "refuse")
        _must("what the third party learns", carried.get("error"), "access_denied")

    async def _decide(self, client: Mapping[str, str], verifier: str, decision: str) -> dict[str, str]:
        """The admin's browser, from the third party's link to its redirect address. Returns what it carries there."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        state = secrets.token_urlsafe(16)
        query = {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": self._callback,
            "scope": " ".join(_SCOPES),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        start = f"{client['tenant_authority_url']}/oauth/authorize?{urlencode(query)}"
        page = await self._follow(await self._browse("GET", start, must=303))
        if page.url.path == "/login":
            login = hidden_fields(page.text) | {name: self._admin[name] for name in ("email", "password")}
            sent_to = str(page.url.join(action_of(page.text)))
            page = await self._follow(await self._browse("POST", sent_to, login, must=303))
        _must("whom the page names", "Order insights" in page.text, True)
        answer = hidden_fields(page.text) | {"designated_user": self._admin["email"], "decision": decision}
        path = f"/setup/{client['client_id']}"
        left = await self._browse("POST", self._gateway + path, answer, must=303)
        where = left.headers["location"]
        carried = dict(parse_qsl(urlsplit(where).query))
        self._terminal.call(f"POST {path}", {"decision": decision}, left.status_code, {"Location": where})
        _must("where the browser goes", where.partition("?")[0], self._callback)
        _must("the state that comes back", carried.get("state"), state)
        return carried

    async def _follow(self, answer: httpx.Response) -> httpx.Response:
        """On to the page that a redirect within the platform leads to."""
        while answer.is_redirect:
            answer = await self._browse("GET", str(answer.url.join(answer.headers["location"])))
        return answer

    async def _authority(
        self,
        client: Mapping[str, str],
        endpoint: str,
        form: Mapping[str, str],
        *,
        must: int,
        shown: tuple[str, ...] = (),
    ) -> Any:
        path = f"{client['tenant_authority_url'].removeprefix(self._gateway)}/oauth/{endpoint}"
        return await self._ask("POST", path, must=must, auth=_auth(client), data=form, shown=shown)

    async def _ask(
        self, method: str, path: str, body: Any = None, *, must: int, shown: tuple[str, ...] = (), **arguments: Any
    ) -> Any:
        """A call of a program; `shown` names what of a secret answer is printed."""
        response = await self._send(self._http, method, self._gateway + path, json=body, **arguments)
        answer = response.json() if response.content else None
        printed = {name: answer[name] for name in shown if name in answer} if shown and answer else answer
        self._terminal.call(f"{method} {path}", body, response.status_code, printed)
        _must(f"the status of {method} {path}", response.status_code, must)
        return answer

    async def _browse(
        self, method: str, url: str, form: Mapping[str, str] | None = None, *, must: int | None = None
    ) -> httpx.Response:
        response = await self._send(self._browser, method, url, data=form)
        if must is not None:
            _must(f"the status of {method} {urlsplit(url).path}", response.status_code, must)
        return response

    async def _send(self, http: httpx.AsyncClient, method: str, url: str, **arguments: Any) -> httpx.Response:
        try:
            return await http.request(method, url, **arguments)
        except httpx.HTTPError as error:
            shown = url.partition("?")[0]
            raise JourneyFailed(f"{method} {shown} gave no answer: {type(error).__name__} {error}") from None


def _auth(client: Mapping[str, str]) -> tuple[str, str]:
    return client["client_id"], client["client_secret"]


def _must(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise JourneyFailed(f"{what} must be {expected}, but is {found}")
