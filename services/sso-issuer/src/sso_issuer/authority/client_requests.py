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
from sso_issuer.authority.client_authentication import ClientAuthentication, claimed_client_id
from sso_issuer.authority.domain import AuthorityClient, GrantType, InvalidRequest
from sso_issuer.authority.forms import check_media_type, parse_form
from sso_issuer.authority.service import Authority


class ClientRequest(NamedTuple):
    """A request of an authenticated client."""

    client: AuthorityClient
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
        """Reads the form and authenticates the client.

        Writes a refusal to the audit and counts it, also one that the managed block raises.

        Raises:
            TenantNotFound, InvalidRequest, InvalidClient, TooManyRequests, Unavailable: as they say.
        """
        await self._authorities.check(tenant)
        form: dict[str, str] = {}
        client: AuthorityClient | None = None
        try:
            form = await _read_form(request)
            audiences = {
                self._authorities.issuer(tenant),
                self._authorities.token_endpoint(tenant),
                f"{self._authorities.issuer(tenant)}/oauth/{request.url.path.rpartition('/')[2]}",
            }
            client = await self._authentication.authenticate(request, form, tenant=tenant, audiences=audiences)
            # For the access log.
            request.state.caller = Caller(client.client_id, tenant, frozenset(), client.kind)
            yield ClientRequest(client, form)
        except Refusal as refusal:
            await self.note(request, tenant, refusal, form, client)
            raise

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
