"""Who may call what: every route of a service is tried with every kind of credential.

A service's tests hold a table, route → `Access`. A route without a line in the table fails the test, as does a line
without a route. Requests have made-up ids and an empty body, so what is let in goes no further than the validation.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import httpx
from fastapi import FastAPI
from shared.jwt import SigningKey
from shared.register import Client
from starlette.routing import BaseRoute

from platform_testing.callers import FakeRegister, ServiceKeys, basic, private_jwk
from platform_testing.serving import PUBLIC_URL

#: Every scope that a client can have.
SCOPES: Final = (
    *("points:redeem", "points:read", "points:admin", "sso:issue", "sso:admin", "partner:handshake"),
    *("users:read", "users:write", "tokens:issue", "tokens:verify", "tokens:stats", "clients:admin"),
)
SERVICES: Final = ("points-ledger", "sso-issuer", "partner-onboarding", "token-service")
#: What the frame of every service serves to its own network; the gateway routes none of it.
_CONVERTER: Final = re.compile(r":\w+}")
FRAME: Final = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/healthz", "/readyz", "/metrics"}

Route = tuple[str, str]


class Outcome(StrEnum):
    """What becomes of a request, as far as its credential decides."""

    LET_IN = "let in"
    UNKNOWN = "401"
    NO_SCOPE = "403 insufficient_scope"
    BASIC_ONLY = "403 for an access token where a secret is needed"
    NO_ROLE = "403 for the lack of a role"
    NOT_THIS_SERVICE = "403 for another service"
    SIGN_IN = "sent to the sign-in page"
    NO_FORM = "refused without a form of ours"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a route.

    Args:
        scopes: a client needs one of them.
        is_for_clients: any client in use is let in, whatever its scopes.
        roles: a person needs one of them; an empty set means any signed-in person, None means no person.
        services: the services that may call.
        is_public: callers without credentials are let in.
        is_between: a page between the password and the second factor: no finished sign-in gets there either.
        is_form: a page's POST, which needs a form of ours before anything else counts.
        takes_bearer: access tokens count; otherwise Basic only.
        is_for_third_parties: any third party is let in with its secret, which has no scopes.
        body: a valid one, for a route that reads the body before the credentials.
    """

    scopes: frozenset[str] = frozenset()
    is_for_clients: bool = False
    roles: frozenset[str] | None = None
    services: frozenset[str] = frozenset()
    is_public: bool = False
    is_between: bool = False
    is_form: bool = False
    takes_bearer: bool = True
    is_for_third_parties: bool = False
    body: Mapping[str, Any] | None = None


def scope(*any_of: str, takes_bearer: bool = True) -> Access:
    return Access(frozenset(any_of), takes_bearer=takes_bearer)


def of_events(
    topic: str, *any_of: str, takes_bearer: bool = False, is_for_third_parties: bool = False
) -> dict[Route, Access]:
    """The routes of a topic of events; what each caller sees of it is for other tests."""
    access = Access(frozenset(any_of), takes_bearer=takes_bearer, is_for_third_parties=is_for_third_parties)
    endpoints = f"/events/v1/{topic}/endpoints"
    one = f"{endpoints}/{{endpoint_id}}"
    routes = [
        ("GET", f"/events/v1/{topic}"),
        *(("POST", endpoints), ("GET", endpoints)),
        *(("GET", one), ("PATCH", one), ("DELETE", one)),
        *(("POST", f"{one}/secrets"), ("POST", f"{one}/test"), ("GET", f"{one}/deliveries"), ("POST", f"{one}/replay")),
    ]
    return dict.fromkeys(routes, access)


def any_client(*, takes_bearer: bool = True) -> Access:
    return Access(is_for_clients=True, takes_bearer=takes_bearer)


def service(*names: str) -> Access:
    return Access(services=frozenset(names))


def person(*roles: str) -> Access:
    return Access(roles=frozenset(roles))


def form(*roles: str) -> Access:
    return Access(roles=frozenset(roles), is_form=True)


BETWEEN: Final = Access(is_between=True)
BETWEEN_FORM: Final = Access(is_between=True, is_form=True)


PUBLIC: Final = Access(is_public=True)
PUBLIC_FORM: Final = Access(is_public=True, is_form=True)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller shows.

    Args:
        scopes: of a client that is known and in use; None for everybody else.
        roles: of a signed-in person; None for everybody else.
        service: the service that calls, with a token for this service.
    """

    name: str
    headers: Mapping[str, str]
    scopes: frozenset[str] | None = None
    roles: frozenset[str] | None = None
    service: str | None = None
    is_bearer: bool = False
    is_third_party: bool = False

    @property
    def is_nobody(self) -> bool:
        return not self.headers


class Authority:
    """A tenant authority: signs access tokens, and publishes its key like sso-issuer.

    Args:
        key: of a real authority; one of its own by default.
        client_id: the client that its tokens are for.
    """

    def __init__(self, tenant: str, key: SigningKey | None = None, client_id: str = "third-party") -> None:
        self._tenant = tenant
        self._client_id = client_id
        jwk = dict(private_jwk("access"))
        self._key = key or SigningKey.from_jwk(jwk)
        self._public = {name: value for name, value in jwk.items() if name != "d"}

    def jwks(self) -> dict[str, Any]:
        return {"keys": [self._public]}

    def transport(self) -> httpx.MockTransport:
        """The way of a service to sso-issuer, which knows this authority alone."""

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == f"/internal/tenants/{self._tenant}/keys":
                return httpx.Response(200, json=self.jwks())
            if request.url.path == "/internal/revoked-keys":
                return httpx.Response(200, json={"revoked": []})
            return httpx.Response(404, json={"code": "tenant_not_found"})

        return httpx.MockTransport(answer)

    def token(self, now: int, *scopes: str, typ: str = "at+jwt", **changed: Any) -> str:
        claims = {
            "iss": f"{PUBLIC_URL}/tenants/{self._tenant}",
            "aud": PUBLIC_URL,
            "sub": "api-user",
            "client_id": self._client_id,
            "scope": " ".join(scopes),
            "tenant": self._tenant,
            "iat": now,
            "exp": now + 300,
            "jti": "one",
        }
        return self._key.sign(claims | changed, typ)


def clients(register: FakeRegister, tenant: str) -> Iterator[Credential]:
    """Basic credentials: a client for each scope, and those that must not count."""
    for one in SCOPES:
        yield Credential(f"Basic, {one}", register.add(tenant, one), frozenset({one}))
    secret = "a secret of a third party, 256 random bits"
    register.clients["third-party", secret] = Client("third-party", tenant, frozenset(SCOPES), "third_party")
    yield Credential("Basic, a third party's secret", basic("third-party", secret), frozenset(), is_third_party=True)
    yield from strangers()


def strangers() -> Iterator[Credential]:
    """Callers whom no service knows."""
    yield Credential("nobody", {})
    # The register does not find a disabled client, so that it looks like an unknown one.
    yield Credential("Basic, an unknown or disabled client", basic("was-here", "a secret that was good once"))
    yield Credential("Basic, malformed", {"Authorization": "Basic ???"})
    yield Credential("another scheme", {"Authorization": "Digest username=x"})


def access_tokens(authority: Authority, forger: Authority, now: int) -> Iterator[Credential]:
    """Bearer credentials: a token for each scope, and those that must not count."""
    for one in SCOPES:
        yield _bearer(f"Bearer, {one}", authority.token(now, one), frozenset({one}))
    every = " ".join(SCOPES).split()
    yield _bearer("Bearer, expired", authority.token(now - 600, *every))
    yield _bearer("Bearer, of another audience", authority.token(now, *every, aud="https://elsewhere.example"))
    yield _bearer("Bearer, under another key", forger.token(now, *every))
    yield _bearer("Bearer, no token", "not.a.token")
    # As near to an access token as one could be: it has all claims of one, and even the key.
    yield _bearer("Bearer, a receipt", authority.token(now, *every, typ="receipt+jwt"))


def service_tokens(keys: ServiceKeys, callee: str) -> Iterator[Credential]:
    """Service tokens of all services, and one that is meant for another service."""
    for name in SERVICES:
        headers = keys.headers(name, callee)
        yield Credential(f"service token of {name}", headers, service=name, is_bearer=True)
    other = next(name for name in SERVICES if name != callee)
    yield Credential("service token for another service", keys.headers("sso-issuer", other), is_bearer=True)


def _bearer(name: str, token: str, scopes: frozenset[str] | None = None) -> Credential:
    return Credential(name, {"Authorization": f"Bearer {token}"}, scopes, is_bearer=True)


def routes_of(app: FastAPI) -> set[Route]:
    """Method and path of every route, but for the frame's and for HEAD, which follows GET.

    Path parameters stand without their converters: `{user_id}`.
    """
    return {
        (method, _CONVERTER.sub("}", path))
        for method, path in _walk(app.routes)
        if path not in FRAME and method != "HEAD"
    }


def _walk(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[Route]:
    for route in routes:
        path = prefix + getattr(route, "path", "")
        methods: Iterable[str] = getattr(route, "methods", None) or ()
        for method in methods:
            yield method, path
        if not methods:
            inner = getattr(route, "original_router", route)
            yield from _walk(getattr(inner, "routes", None) or (), path)


def expected(access: Access, credential: Credential) -> set[Outcome]:
    """What may become of a request without a form of ours."""
    if access.is_between:
        return {Outcome.SIGN_IN, Outcome.NO_FORM}
    if access.services:
        if credential.service is None:
            return {Outcome.UNKNOWN}
        return {Outcome.LET_IN if credential.service in access.services else Outcome.NOT_THIS_SERVICE}
    if (access.scopes or access.is_for_clients) and "Authorization" in credential.headers:
        if credential.scopes is None:
            return {Outcome.UNKNOWN}
        if credential.is_third_party and access.is_for_third_parties:
            return {Outcome.LET_IN}
        if credential.is_bearer and not access.takes_bearer:
            return {Outcome.BASIC_ONLY, Outcome.NO_SCOPE}
        is_in = access.is_for_clients or credential.scopes & access.scopes
        return {Outcome.LET_IN if is_in else Outcome.NO_SCOPE}
    if access.is_public:
        return {Outcome.NO_FORM} if access.is_form else {Outcome.LET_IN}
    if access.roles is None:
        return {Outcome.UNKNOWN}
    if credential.roles is None:
        if access.scopes:
            return {Outcome.UNKNOWN}
        return {Outcome.NO_FORM, Outcome.SIGN_IN} if access.is_form else {Outcome.SIGN_IN}
    if access.roles and not access.roles & credential.roles:
        return {Outcome.NO_ROLE}
    return {Outcome.NO_FORM} if access.is_form else {Outcome.LET_IN}


#: The code of a refusal, in a body or on a page that shows it → what it means here.
_REFUSALS: Final = {
    "insufficient_scope": Outcome.NO_SCOPE,
    "secret_needed": Outcome.BASIC_ONLY,
    "not_operator": Outcome.NO_ROLE,
    "not_tenant_admin": Outcome.NO_ROLE,
    "form_expired": Outcome.NO_FORM,
    "cookies_needed": Outcome.NO_FORM,
}


def outcome_of(answer: httpx.Response, *, is_form: bool = False) -> Outcome:
    if answer.status_code in {302, 303} and answer.headers["Location"].partition("?next=")[0] == "/login":
        return Outcome.SIGN_IN
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return Outcome.UNKNOWN
    if answer.is_client_error:
        for code, outcome in _REFUSALS.items():
            if code in answer.text:
                return outcome
        if answer.status_code == httpx.codes.FORBIDDEN and '"forbidden"' in answer.text:
            return Outcome.NOT_THIS_SERVICE
        # Shown again, or as a page that says what is missing.
        if is_form:
            return Outcome.NO_FORM
    return Outcome.LET_IN


async def deviations(
    client: httpx.AsyncClient,
    table: Mapping[Route, Access],
    credentials: Iterable[Credential],
    values: Mapping[str, str],
) -> list[str]:
    """Tries every route of the table with every credential; describes each answer that differs from the table.

    Args:
        values: path parameter → a value of its form that nothing has.
    """
    found = []
    for (method, template), access in table.items():
        path = template
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", value)
        for credential in credentials:
            sent: dict[str, Any] = {} if method in {"GET", "DELETE", "OPTIONS"} else _body(access)
            answer = await client.request(
                method, path, headers={**credential.headers, **sent.pop("headers", {})}, **sent
            )
            client.cookies.clear()
            outcome = outcome_of(answer, is_form=access.is_form)
            if outcome not in expected(access, credential) or answer.status_code in {429, 500}:
                found.append(f"{method} {template}: {credential.name}: {answer.status_code} {outcome}")
    return found


def _body(access: Access) -> dict[str, Any]:
    return {"data": {"x": "y"}} if access.is_form else {"json": dict(access.body or {})}


async def tells_apart(
    client: httpx.AsyncClient,
    table: Mapping[Route, Access],
    stranger: Mapping[str, str],
    existing: Mapping[str, str],
    missing: Mapping[str, str],
) -> list[str]:
    """Asks as a client of another tenant for what exists and for what does not; describes each difference.

    Args:
        stranger: the headers of a client of another tenant that has every scope.
        existing: path parameter → a value that exists in the first tenant.
        missing: path parameter → a value that exists nowhere.
    """
    found = []
    for (method, template), access in table.items():
        if not access.scopes or not any(f"{{{name}" in template for name in existing):
            continue
        answers = []
        for values in (existing, missing):
            path = template
            for name, value in values.items():
                path = path.replace(f"{{{name}}}", value)
            sent: dict[str, Any] = {} if method in {"GET", "DELETE"} else {"json": dict(access.body or {})}
            answer = await client.request(method, path, headers=dict(stranger), **sent)
            code = answer.json().get("code") if "json" in answer.headers.get("Content-Type", "") else None
            answers.append((answer.status_code, code))
        if answers[0] != answers[1]:
            found.append(f"{method} {template}: {answers[0]} for what exists, {answers[1]} for what does not")
    return found
