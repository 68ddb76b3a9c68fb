"""Authentication of callers: `Basic` through the register of clients, `Bearer` by the issuer's keys.

partner-onboarding checks a Basic secret. A service remembers the answer for `FRESH_SECONDS`, so that a revoked secret
stops working within 5 s. While the register does not answer, it remembers for `STALE_SECONDS`, so that a minute without
the register stops no known caller. A Bearer token is checked offline.
"""

import asyncio
import base64
import functools
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from fastapi import Depends, Request, Security
from fastapi.openapi.models import HTTPBase
from fastapi.security.base import SecurityBase
from starlette.types import Scope

from shared import jwt
from shared.basic_credentials import split_basic
from shared.bodies import before_body
from shared.bounded import Bounded
from shared.client_limits import ClientLimit
from shared.dependencies import provided
from shared.errors import (
    BASIC_CHALLENGE,
    BEARER_CHALLENGE,
    Forbidden,
    Malformed,
    Unauthenticated,
    Unavailable,
)
from shared.jwks import TenantKeys
from shared.proxies import ProxyTrust, is_within, parse_networks
from shared.register import Client, Register
from shared.service_tokens import ServiceTokens

#: No authority gives out an access token that lives longer.
LONGEST_ACCESS_TOKEN_SECONDS: Final = 600
FRESH_SECONDS: Final = 3.0
STALE_SECONDS: Final = 180.0
#: While the register does not answer, one request in this period (seconds) asks whether it is back.
_PAUSE_SECONDS: Final = 1.0
_REFUSED_SECONDS: Final = 1.0
_REMEMBERED: Final = 10_000
#: For unknown credentials: how many are asked about at once, and how many more wait for their turn.
_ASKED_AT_ONCE: Final = 32
_WAITING: Final = 1000


class InsufficientScope(Forbidden):
    """The caller lacks a scope. The challenge names it (RFC 6750, 3.1)."""

    code = "insufficient_scope"

    def __init__(self, message: str, scope: str | None = None) -> None:
        super().__init__(message)
        named = "" if scope is None else f', scope="{scope}"'
        self.challenge = f'{BEARER_CHALLENGE}, error="insufficient_scope"{named}'


class InvalidToken(Unauthenticated):
    """An access token is not good; the code says why, and the challenge is that of RFC 6750, 3.1."""

    code = "malformed_token"
    further_codes: ClassVar[tuple[str, ...]] = (*jwt.REASONS, Unauthenticated.code)

    def __init__(self, message: str = "This is not an access token.", *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        # The messages are ASCII without quotation marks and backslashes, as the challenge needs them.
        error = f'error="invalid_token", error_description="{message}"'
        self.challenge = f"{BASIC_CHALLENGE}, {BEARER_CHALLENGE}, {error}"


class SeveralCredentials(Malformed):
    """Two programs could read two different callers out of the request."""

    code = "several_credentials"

    def __init__(self) -> None:
        super().__init__("A request has one Authorization header.")


class IpNotAllowed(Forbidden):
    code = "ip_not_allowed"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller and its scopes. `subject` is the designated user of an access token, else None."""

    client_id: str
    tenant: str
    scopes: frozenset[str]
    kind: str = "first_party"
    vendor_id: str | None = None
    subject: str | None = None

    @property
    def vendor(self) -> str:
        """The vendor that this caller's transactions belong to: its `vendor_id`, or the client itself."""
        return self.vendor_id or self.client_id

    def need(self, *any_of: str) -> None:
        """Raises InsufficientScope unless the caller has one of the scopes. The narrowest scope comes first."""
        if self.scopes.isdisjoint(any_of):
            message = f"This needs the scope {' or '.join(any_of)}."
            if self.kind == "third_party" and self.subject is None:
                message = (
                    "A third party calls with an access token of its tenant authority, in Authorization: Bearer. "
                    "Its client secret is for the authority only."
                )
            raise InsufficientScope(message, any_of[0])


@dataclass(frozen=True, slots=True)
class _Remembered:
    client: Client
    caller: Caller
    asked_at: float


class Callers:
    """Authenticates callers. There is one in a process; `create_app` provides it to the routes.

    Args:
        register: checks Basic secrets.
        keys: the tenants' public keys, for access tokens; None if the service accepts no Bearer.
        public_url: the cloud API URL: audience of access tokens, and root of the tenant authorities.
        confirm: asked about the caller of every access token, where a token must not be believed until it ends.
        clock: seconds, monotonic; handed in by tests.
    """

    def __init__(
        self,
        register: Register,
        *,
        keys: TenantKeys | None,
        public_url: str,
        proxies: ProxyTrust,
        confirm: Callable[[Caller], Awaitable[Caller]] | None = None,
        limit: ClientLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._register = register
        self._confirm = confirm
        self._limit = limit or ClientLimit(0)
        self._keys = keys
        self._public_url = public_url
        self._proxies = proxies
        self._clock = clock
        # The key is a keyed digest of the whole header, so that the cache holds no secret.
        self._digest_key = os.urandom(32)
        self._remembered: Bounded[bytes, _Remembered] = Bounded(_REMEMBERED)
        # Apart from the others, so that a flood of wrong secrets drives no good one out.
        self._refused: Bounded[bytes, bool] = Bounded(_REMEMBERED, seconds=_REFUSED_SECONDS, clock=clock)
        self._signatures = jwt.GoodSignatures(_REMEMBERED)
        self._asking: dict[bytes, asyncio.Task[_Remembered | None]] = {}
        self._turns = asyncio.Semaphore(_ASKED_AT_ONCE)
        self._is_silent = False
        self._ask_silent_at = float("-inf")

    async def authenticate(self, scope: Scope) -> Caller:
        """The caller of a request.

        Raises:
            Unauthenticated: no credentials, wrong ones, or a token that is not good.
            IpNotAllowed: right credentials from an address that is not on the client's list.
            TooManyRequests: the client has used up its minute.
            Unavailable: the register does not answer, and the service remembers nothing about the credentials.
        """
        # Asked twice, before the body and by the route, it is the same answer.
        known: Caller | None = scope.setdefault("state", {}).get("caller")
        if known is not None:
            return known
        header = _authorization_of(scope)
        scheme, _, credentials = header.partition(b" ")
        if scheme.lower() == b"basic":
            caller = await self._basic(header, credentials, scope)
        elif scheme.lower() == b"bearer":
            caller = await self._bearer(credentials)
            if self._confirm is not None:
                caller = await self._confirm(caller)
        else:
            raise Unauthenticated("Credentials are missing: send Authorization: Basic or Bearer.")
        scope["state"]["caller"] = caller
        self._limit.count(caller.tenant, caller.client_id)
        return caller

    async def authenticate_client(self, client_id: str, client_secret: str, scope: Scope) -> Caller:
        """The caller of a form, which has the credentials in its fields.

        Raises:
            Unauthenticated, IpNotAllowed, Unavailable: as `authenticate` does.
        """
        credentials = base64.b64encode(f"{client_id}:{client_secret}".encode())
        return await self._basic(b"Basic " + credentials, credentials, scope)

    async def _basic(self, header: bytes, credentials: bytes, scope: Scope) -> Caller:
        digest = hashlib.blake2b(header, key=self._digest_key, digest_size=32).digest()
        now = self._clock()
        found = self._remembered.get(digest)
        if found is None and digest in self._refused:
            raise _wrong_credentials()
        if found is None or now - found.asked_at >= FRESH_SECONDS:
            found = await self._look_up(digest, split_basic(credentials), found)
        if found is None:
            raise _wrong_credentials()
        if found.client.ip_allow_list:
            address = self._proxies.client_address(scope)
            if address is None or not is_within(address, parse_networks(found.client.ip_allow_list)):
                raise IpNotAllowed("This client may not call from your address.", log=f"address {address}")
        return found.caller

    async def _look_up(
        self, digest: bytes, credentials: tuple[str, str], stale: _Remembered | None
    ) -> _Remembered | None:
        """The register's answer; while it is silent, its last answer, without waiting."""
        now = self._clock()
        if stale is not None and now - stale.asked_at >= STALE_SECONDS:
            stale = None
        was_silent = self._is_silent
        breaks_silence = was_silent and digest not in self._asking
        if breaks_silence:
            if now < self._ask_silent_at:
                if stale is None:
                    raise Unavailable(log="the register is silent")
                return stale
            self._ask_silent_at = now + _PAUSE_SECONDS
        asking = self._ask_once(digest, credentials, stale, at_once=stale is not None or breaks_silence)
        if was_silent and stale is not None:
            return stale
        # Shielded: if one caller hangs up, the others still get the answer.
        return await asyncio.shield(asking)

    def _ask_once(
        self, digest: bytes, credentials: tuple[str, str], stale: _Remembered | None, *, at_once: bool
    ) -> "asyncio.Task[_Remembered | None]":
        """Asks the register once for all who wait for the answer. Strangers wait for a turn, unless `at_once`."""
        asking = self._asking.get(digest)
        if asking is None:
            if not at_once and len(self._asking) >= _WAITING:
                raise Unavailable(log="too many unknown credentials at once")
            ask = self._ask_now if at_once else self._ask_in_turn
            asking = asyncio.create_task(ask(digest, credentials, stale))
            self._asking[digest] = asking
            asking.add_done_callback(functools.partial(self._asked, digest))
        return asking

    def _asked(self, digest: bytes, asking: "asyncio.Task[_Remembered | None]") -> None:
        del self._asking[digest]
        if not asking.cancelled():
            # Mark the exception as retrieved: all requests that waited for it may be gone.
            asking.exception()

    async def _ask_in_turn(
        self, digest: bytes, credentials: tuple[str, str], stale: _Remembered | None
    ) -> _Remembered | None:
        async with self._turns:
            if self._is_silent and self._clock() < self._ask_silent_at:
                raise Unavailable(log="the register fell silent")
            return await self._ask_now(digest, credentials, stale)

    async def _ask_now(
        self, digest: bytes, credentials: tuple[str, str], stale: _Remembered | None
    ) -> _Remembered | None:
        asked_at = self._clock()
        try:
            client = await self._register.check(*credentials)
        except Unavailable:
            self._is_silent = True
            self._ask_silent_at = self._clock() + _PAUSE_SECONDS
            if stale is None:
                raise
            return stale
        self._is_silent = False
        if client is None:
            self._remembered.pop(digest)
            self._refused.keep(digest, True)
            return None
        # A third party's secret is good at the tenant authority only, which gives it the access token that the tenant
        # consented to.
        scopes = client.scopes if client.kind == "first_party" else frozenset()
        caller = Caller(client.client_id, client.tenant, scopes, client.kind, client.vendor_id)
        found = _Remembered(client, caller, asked_at)
        self._remembered.keep(digest, found)
        return found

    async def _bearer(self, credentials: bytes) -> Caller:
        if self._keys is None:
            raise InvalidToken("Access tokens are not taken here.", code=Unauthenticated.code)
        try:
            token = credentials.strip().decode("ascii")
            parts = jwt.take_apart(token)
            tenant, kid = parts.claims.get("tenant"), parts.header.get("kid")
            if not isinstance(tenant, str) or not isinstance(kid, str):
                raise jwt.Rejected("malformed_token", "This is not an access token.")
            claims = jwt.verify(
                parts,
                await self._keys.of(tenant, kid),
                typ="at+jwt",
                issuer=f"{self._public_url}/tenants/{tenant}",
                audience=self._public_url,
                longest_seconds=LONGEST_ACCESS_TOKEN_SECONDS,
                needs_jti=True,
                signatures=self._signatures,
            )
        except UnicodeDecodeError:
            raise InvalidToken from None
        except jwt.Rejected as error:
            raise InvalidToken(error.message, code=error.reason) from None
        return _caller_of(claims, tenant)


def _caller_of(claims: dict[str, Any], tenant: str) -> Caller:
    client_id, scope, subject = claims.get("client_id"), claims.get("scope", ""), claims.get("sub")
    if not isinstance(client_id, str) or not isinstance(scope, str) or not isinstance(subject, str):
        raise InvalidToken
    return Caller(client_id, tenant, frozenset(scope.split()), "third_party", None, subject)


def _wrong_credentials() -> Unauthenticated:
    return Unauthenticated("The client id or the secret is wrong.")


def _authorization_of(scope: Scope) -> bytes:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) > 1:
        raise SeveralCredentials
    return bytes(values[0]) if values else b""


class _Scheme(SecurityBase):
    """Documents a scheme and reads nothing. FastAPI's own class would answer credentials that it cannot decode."""

    def __init__(self, scheme: str, description: str) -> None:
        self.scheme_name = scheme
        self.model = HTTPBase(scheme=scheme, description=description)

    async def __call__(self) -> None:
        return


_DOCUMENTED = (
    Security(_Scheme("basic", "client_id and client_secret")),
    Security(_Scheme("bearer", "access token of a tenant authority")),
)


def require(*any_of: str) -> Any:
    """A dependency: the `Caller`, with one of these scopes. `caller: Caller = require("points:read")`.

    The narrowest scope comes first; a refusal names it.
    """

    async def caller(request: Request) -> Caller:
        found = await provided(request.app, Callers).authenticate(request.scope)
        found.need(*any_of)
        return found

    return Depends(before_body(caller))


def require_any() -> Any:
    """A dependency that gives the `Caller`, whatever its scopes."""

    async def caller(request: Request) -> Caller:
        return await provided(request.app, Callers).authenticate(request.scope)

    return Depends(before_body(caller))


def document_credentials() -> list[Any]:
    """Router dependencies that document both schemes in OpenAPI. They check nothing; `require` does."""

    async def documented(_basic: Annotated[Any, _DOCUMENTED[0]], _bearer: Annotated[Any, _DOCUMENTED[1]]) -> None:
        return

    return [Depends(documented)]


def require_service(*names: str) -> Any:
    """A dependency for `/internal` paths: the name of the calling service, one of `names`."""

    async def service(request: Request) -> str:
        return calling_service(request.scope, names)

    return Depends(before_body(service))


def calling_service(scope: Scope, names: Collection[str]) -> str:
    """The service that calls, one of `names`.

    Raises:
        Unauthenticated: the request has no good service token.
        Forbidden: it is another service.
    """
    scheme, _, token = _authorization_of(scope).decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("This path is for the platform's own services.")
    name = provided(scope["app"], ServiceTokens).verify(token.strip())
    if name not in names:
        raise Forbidden("This path is not for this service.", log=f"called by {name}")
    return name
