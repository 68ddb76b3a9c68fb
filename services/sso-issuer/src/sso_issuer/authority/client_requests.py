"""A client's request to an authority: reads the form, authenticates the client, counts and audits a refusal."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from shared.callers import Caller
from shared.errors import PayloadTooLarge, Refusal, TooManyRequests, Unavailable
from starlette.exceptions import HTTPException
from starlette.requests import Request

from sso_issuer.authority.attempt_limits import AttemptLimits
from sso_issuer.authority.authorities import Authorities
from sso_issuer.authority.client_authentication import ClientAuthentication, Proof, claimed_client_id, proof_of
from sso_issuer.authority.domain import AuthorityClient, GrantType, InvalidRequest
from sso_issuer.authority.forms import check_media_type, needed, parse_form
from sso_issuer.authority.service import Authority


class ClientRequest(NamedTuple):
    """A request with the proof of its client, which is to be checked before anything else is said."""

    proof: Proof
    form: Mapping[str, str]


class ClientRequests:
    """Admits clients to the endpoints of an authority."""

    def __init__(
        self,
        authorities: Authorities,
        authentication: ClientAuthentication,
        authority: Authority,
        limits: AttemptLimits,
    ) -> None:
        self._authorities = authorities
        self._authentication = authentication
        self._authority = authority
        self._limits = limits

    @asynccontextmanager
    async def admit(self, tenant: str, request: Request) -> AsyncIterator[ClientRequest]:
        """Reads the form and the proof of who the client is, which the managed block checks.

        Writes a refusal to the audit and counts it, also one that the managed block raises.

        Raises:
            TenantNotFound, InvalidRequest, InvalidClient, TooManyRequests, Unavailable: as they say.
        """
        await self._authorities.check(tenant)
        form: dict[str, str] = {}
        proof: Proof | None = None
        try:
            form = await _read_form(request)
            proof = proof_of(request, form, tenant=tenant, audiences=lambda: self._audiences(tenant, request))
            yield ClientRequest(proof, form)
        except Refusal as refusal:
            await self.note(request, tenant, refusal, form, None if proof is None else proof.client)
            raise
        finally:
            client = None if proof is None else proof.client
            if client is not None:
                # For the access log.
                request.state.caller = Caller(client.client_id, tenant, frozenset(), client.kind)

    async def needed(self, asked: ClientRequest, name: str) -> str:
        """The value of a required parameter.

        Raises:
            InvalidRequest: it is missing or empty.
            InvalidClient: so it is, and the proof is wrong.
        """
        if name not in asked.form:
            await self._authentication.prove(asked.proof)
        return needed(asked.form, name)

    def _audiences(self, tenant: str, request: Request) -> frozenset[str]:
        issuer = self._authorities.issuer(tenant)
        endpoint = f"{issuer}/oauth/{request.url.path.rpartition('/')[2]}"
        return frozenset({issuer, self._authorities.token_endpoint(tenant), endpoint})

    async def note(
        self,
        request: Request,
        tenant: str,
        refusal: Refusal,
        form: Mapping[str, str],
        client: AuthorityClient | None = None,
        *,
        from_browser: bool = False,
    ) -> None:
        """Counts a refusal against the authenticated client, or the network, and writes it to the audit.

        A transient failure is no refusal: a retry is right, and perhaps the audit itself cannot be written.

        Raises:
            TooManyRequests: instead of the refusal; nothing is written.
        """
        if isinstance(refusal, (Unavailable, TooManyRequests)):
            return
        await self._limits.count(refusal, request.scope, client, from_browser=from_browser)
        given = form.get("grant_type")
        await self._authority.note_refusal(
            tenant,
            refusal,
            client_id=claimed_client_id(request, form),
            grant_type=given if given in set(GrantType) else None,
            request_id=request.state.request_id,
        )


async def _read_form(request: Request) -> dict[str, str]:
    if request.scope["query_string"]:
        # RFC 6749, 2.3.1: a secret in an address would reach logs.
        raise InvalidRequest("Parameters belong into the body, not into the address.")
    check_media_type(request.headers.get("content-type"))
    try:
        body = await request.body()
    except HTTPException as error:
        raise PayloadTooLarge("The request body is too long.", log=str(error.detail)) from None
    return parse_form(body)
