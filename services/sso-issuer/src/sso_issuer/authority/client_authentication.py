"""Client authentication by Basic, by form fields or by a signed assertion; exactly one of them."""

import base64
import binascii
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

from shared.db import Database
from shared.errors import Refusal, Unavailable
from shared.identifiers import is_identifier
from shared.proxies import ProxyTrust, is_within, parse_networks
from shared.register import Client
from starlette.requests import Request
from starlette.types import Scope

from sso_issuer.authority import assertions
from sso_issuer.authority.domain import AuthorityClient, InvalidClient, InvalidRequest
from sso_issuer.authority.used_assertions import UsedAssertions
from sso_issuer.register_client import RegisterClient, RegisteredClient
from sso_issuer.secret_checks import SecretsRegister

METHODS: Final = ("client_secret_basic", "client_secret_post", "private_key_jwt")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """The credentials in a request: a secret or an assertion."""

    client_id: str
    secret: str = ""
    assertion: str = ""


@dataclass(slots=True)
class Proof:
    """What a request shows of who its client is.

    Attributes:
        tenant: whose authority was asked.
        audiences: gives the allowed `aud` of an assertion.
        client: the client, as soon as the register has confirmed the proof.
    """

    tenant: str
    scope: Scope
    audiences: Callable[[], Collection[str]]
    shown: _Shown
    client: AuthorityClient | None = None

    def spellings(self) -> list[tuple[str, str]]:
        """The client id and secret that are meant, the likelier first."""
        literal = self.shown.client_id, self.shown.secret
        # RFC 6749 form-encodes id and secret inside Basic, but hardly any client does.
        decoded = unquote_plus(literal[0]), unquote_plus(literal[1])
        return [literal] if decoded == literal or "\0" in "".join(decoded) else [literal, decoded]


class ClientAuthentication:
    """Authenticates the clients of an authority. All that is wrong with a proof looks the same to its caller.

    Args:
        register: checks secrets each time anew, so that a withdrawn one ends at once.
        longest_assertion_seconds: the longest life of an assertion.
    """

    def __init__(
        self,
        database: Database,
        register: SecretsRegister,
        clients: RegisterClient,
        proxies: ProxyTrust,
        *,
        longest_assertion_seconds: int,
    ) -> None:
        self._used = UsedAssertions(database)
        self._register = register
        self._clients = clients
        self._proxies = proxies
        self._longest_assertion_seconds = longest_assertion_seconds

    async def prove(self, proof: Proof) -> AuthorityClient:
        """The client of a request, which is in the proof from then on.

        Raises:
            InvalidClient: the client is unknown, disabled or of another tenant, or the proof is wrong.
            Unavailable: the register or the database cannot be asked.
        """
        if proof.client is None:
            find = self._by_assertion if proof.shown.assertion else self._by_secret
            proof.client = self._admitted(proof, await find(proof))
        return proof.client

    async def prove_for_line(self, proof: Proof) -> None:
        """What `prove_all` cannot do: an assertion is used up, in a line of its own.

        Raises:
            InvalidClient, Unavailable: as `prove` does.
        """
        if proof.shown.assertion:
            await self.prove(proof)

    async def prove_all(self, proofs: Sequence[Proof]) -> list[AuthorityClient | Refusal]:
        """The same as `prove` for many secrets in one call, with a refusal of its own for each."""
        spelled = [[] if proof.client is not None else proof.spellings() for proof in proofs]
        found = await self._check_all(dict.fromkeys(one for spellings in spelled for one in spellings))
        return [self._settle(proof, spellings, found) for proof, spellings in zip(proofs, spelled, strict=True)]

    async def close(self) -> None:
        """Writes what waits in line, and takes no more."""
        await self._used.close()

    def _settle(
        self,
        proof: Proof,
        spellings: Sequence[tuple[str, str]],
        found: Mapping[tuple[str, str], Client | None] | Unavailable,
    ) -> AuthorityClient | Refusal:
        if proof.client is not None:
            return proof.client
        if isinstance(found, Unavailable):
            return Unavailable(log=found.log)
        try:
            client = next((client for one in spellings if (client := found[one]) is not None), None)
            proof.client = self._admitted(proof, client)
        except Refusal as refusal:
            return refusal
        return proof.client

    async def _check_all(
        self, credentials: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Client | None] | Unavailable:
        try:
            return await self._register.check_all(credentials) if credentials else {}
        except Unavailable as refusal:
            return refusal

    def _admitted(self, proof: Proof, found: Client | RegisteredClient | None) -> AuthorityClient:
        """The client with a good proof, if it may call here.

        Raises:
            InvalidClient: there is none, it is of another tenant, or its address is not on its list.
        """
        if found is None or found.tenant != proof.tenant:
            raise InvalidClient(log="unknown" if found is None else "of another tenant")
        if found.ip_allow_list:
            address = self._proxies.client_address(proof.scope)
            if address is None or not is_within(address, parse_networks(found.ip_allow_list)):
                raise InvalidClient("This client may not call from your address.", log=f"address {address}")
        return AuthorityClient(
            client_id=found.client_id,
            tenant=found.tenant,
            kind="first_party" if found.kind == "first_party" else "third_party",
            scopes=found.scopes,
            is_bound=found.vendor_id is not None or bool(found.ip_allow_list),
            has_addresses=bool(found.ip_allow_list),
        )

    async def _by_secret(self, proof: Proof) -> Client | None:
        for spelling in proof.spellings():
            found = await self._register.check(*spelling)
            if found is not None:
                return found
        return None

    async def _by_assertion(self, proof: Proof) -> RegisteredClient | None:
        found = await self._clients.find_client(proof.shown.client_id)
        if found is None or found.tenant != proof.tenant:
            return None
        now = await self._used.now()
        assertion = assertions.verify(
            proof.shown.assertion,
            client_id=found.client_id,
            jwks=found.jwks,
            audiences=proof.audiences(),
            now=now.timestamp(),
            longest_seconds=self._longest_assertion_seconds,
        )
        if not await self._used.use(proof.tenant, found.client_id, assertion):
            raise InvalidClient(log="assertion: used before")
        return found


def proof_of(
    request: Request, form: Mapping[str, str], *, tenant: str, audiences: Callable[[], Collection[str]]
) -> Proof:
    """The proof in a request to the authority of `tenant`.

    Raises:
        InvalidRequest: there is more than one proof, or a malformed one.
        InvalidClient: there is none.
    """
    return Proof(tenant, request.scope, audiences, _shown_by(request, form))


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
