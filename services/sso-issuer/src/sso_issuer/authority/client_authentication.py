"""Client authentication by Basic, by form fields or by a signed assertion; exactly one of them."""

import base64
import binascii
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

from shared.db import Database
from shared.identifiers import is_identifier
from shared.proxies import ProxyTrust, is_within, parse_networks
from shared.register import Register
from starlette.requests import Request

from sso_issuer.authority import assertions, store
from sso_issuer.authority.domain import AuthorityClient, InvalidClient, InvalidRequest, Kind
from sso_issuer.register_client import RegisterClient

METHODS: Final = ("client_secret_basic", "client_secret_post", "private_key_jwt")


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """The credentials in a request: a secret or an assertion."""

    client_id: str
    secret: str = ""
    assertion: str = ""


@dataclass(frozen=True, kw_only=True)
class _Proven:
    """An authenticated client, as the register describes it."""

    client_id: str
    tenant: str
    kind: Kind
    scopes: frozenset[str]
    vendor_id: str | None
    ip_allow_list: tuple[str, ...]


class ClientAuthentication:
    """Authenticates the clients of an authority.

    Args:
        register: checks secrets each time anew, so that a withdrawn one ends at once.
        longest_assertion_seconds: the longest life of an assertion.
    """

    def __init__(
        self,
        database: Database,
        register: Register,
        clients: RegisterClient,
        proxies: ProxyTrust,
        *,
        longest_assertion_seconds: int,
    ) -> None:
        self._database = database
        self._register = register
        self._clients = clients
        self._proxies = proxies
        self._longest_assertion_seconds = longest_assertion_seconds

    async def authenticate(
        self, request: Request, form: Mapping[str, str], *, tenant: str, audiences: Collection[str]
    ) -> AuthorityClient:
        """The client of a request to the authority of `tenant`.

        Args:
            audiences: the allowed `aud` of an assertion.

        Raises:
            InvalidRequest: there is more than one proof, or a malformed one.
            InvalidClient: the client is unknown, disabled or of another tenant, or the proof is wrong; all look the
            same.
            Unavailable: the register or the database cannot be asked.
        """
        shown = _shown_by(request, form)
        if shown.assertion:
            proven = await self._by_assertion(shown, tenant, audiences)
        else:
            proven = await self._by_secret(shown)
        if proven is None or proven.tenant != tenant:
            raise InvalidClient(log="unknown" if proven is None else "of another tenant")
        if proven.ip_allow_list:
            address = self._proxies.client_address(request.scope)
            if address is None or not is_within(address, parse_networks(proven.ip_allow_list)):
                raise InvalidClient("This client may not call from your address.", log=f"address {address}")
        return AuthorityClient(
            client_id=proven.client_id,
            tenant=tenant,
            kind=proven.kind,
            scopes=proven.scopes,
            is_bound=proven.vendor_id is not None or bool(proven.ip_allow_list),
        )

    async def _by_secret(self, shown: _Shown) -> _Proven | None:
        found = await self._register.check(shown.client_id, shown.secret)
        if found is None:
            # RFC 6749 form-encodes id and secret inside Basic, but hardly any client does.
            decoded = unquote_plus(shown.client_id), unquote_plus(shown.secret)
            if decoded != (shown.client_id, shown.secret) and "\0" not in "".join(decoded):
                found = await self._register.check(*decoded)
        if found is None:
            return None
        return _Proven(
            client_id=found.client_id,
            tenant=found.tenant,
            kind="first_party" if found.kind == "first_party" else "third_party",
            scopes=found.scopes,
            vendor_id=found.vendor_id,
            ip_allow_list=found.ip_allow_list,
        )

    async def _by_assertion(self, shown: _Shown, tenant: str, audiences: Collection[str]) -> _Proven | None:
        found = await self._clients.find_client(shown.client_id)
        if found is None or found.tenant != tenant:
            return None
        async with self._database.transaction() as connection:
            now = await store.read_clock(connection)
            assertion = assertions.verify(
                shown.assertion,
                client_id=found.client_id,
                jwks=found.jwks,
                audiences=audiences,
                now=now.timestamp(),
                longest_seconds=self._longest_assertion_seconds,
            )
            if not await store.use_assertion(connection, tenant, found.client_id, assertion):
                raise InvalidClient(log="assertion: used before")
        return _Proven(
            client_id=found.client_id,
            tenant=found.tenant,
            kind=found.kind,
            scopes=found.scopes,
            vendor_id=found.vendor_id,
            ip_allow_list=found.ip_allow_list,
        )


def claimed_client_id(request: Request, form: Mapping[str, str]) -> str | None:
    """The client that a request claims to come from, for the audit of a refusal."""
    try:
        client_id = _shown_by(request, form).client_id
    except (InvalidClient, InvalidRequest):
        client_id = form.get("client_id", "")
    return client_id if is_identifier(client_id) else None


def _shown_by(request: Request, form: Mapping[str, str]) -> _Shown:
    headers = request.headers.getlist("authorization")
    ways = [bool(headers), "client_secret" in form, "client_assertion" in form or "client_assertion_type" in form]
    if sum(ways) > 1 or len(headers) > 1:
        raise InvalidRequest("A client shows one proof of who it is, not several.")
    if headers:
        shown = _basic(headers[0])
    elif "client_secret" in form:
        if "client_id" not in form:
            raise InvalidRequest("The parameter client_id is missing.")
        shown = _Shown(client_id=form["client_id"], secret=form["client_secret"])
    elif any(ways):
        if form.get("client_assertion_type") != assertions.ASSERTION_TYPE or "client_assertion" not in form:
            raise InvalidRequest("An assertion comes as client_assertion with its client_assertion_type.")
        assertion = form["client_assertion"]
        shown = _Shown(client_id=assertions.claimed_client(assertion), assertion=assertion)
    else:
        raise InvalidClient("This needs client authentication.")
    if form.get("client_id", shown.client_id) not in {shown.client_id, unquote_plus(shown.client_id)}:
        raise InvalidRequest("The client_id is not that of the credentials.")
    return shown


def _basic(header: str) -> _Shown:
    scheme, _, credentials = header.partition(" ")
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    client_id, _, secret = text.partition(":")
    if scheme.lower() != "basic" or not client_id or not secret or "\0" in text:
        raise InvalidClient("The Authorization header is not Basic with a client id and a secret.")
    return _Shown(client_id=client_id, secret=secret)
