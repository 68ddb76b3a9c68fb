"""The authorities over HTTP, as RFC 6749, 7009, 7662 and 8414 have it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from shared.callers import Caller, document_credentials, require
from shared.errors import PayloadTooLarge, Refusal, TooManyRequests, Unavailable
from shared.identifiers import Identifier
from starlette.exceptions import HTTPException

from sso_issuer.authority.answers import private_json
from sso_issuer.authority.asking import Asking
from sso_issuer.authority.authorities import Authorities
from sso_issuer.authority.client_authentication import ClientAuthentication, claimed_client_id
from sso_issuer.authority.domain import AuthorityClient, EventKind, GrantType, InvalidRequest
from sso_issuer.authority.forms import check_media_type, needed, parse_form
from sso_issuer.authority.guessing import Guessing
from sso_issuer.authority.schemas import (
    ERRORS,
    INTROSPECTION_FORM,
    TOKEN_FORM,
    EventOut,
    EventPage,
    IntrospectionOut,
    MetadataOut,
    TokenOut,
)
from sso_issuer.authority.service import Authority
from sso_issuer.cursors import cursor_behind, place_of
from sso_issuer.keys.domain import KEY_SET_LIFETIME

router = APIRouter(tags=["authority"])

Tenant = Annotated[str, Path(description="The tenant whose authority this is.")]
Use = Callable[[AuthorityClient, Mapping[str, str]], Awaitable[Response]]

_CACHED: Final = {
    "Cache-Control": f"public, max-age={int(KEY_SET_LIFETIME.total_seconds())}",
    "Access-Control-Allow-Origin": "*",
}


@router.get("/tenants/{tenant}/.well-known/openid-configuration", summary="What the authority can do")
@router.get(
    "/.well-known/oauth-authorization-server/tenants/{tenant}",
    name="authority_metadata_of_rfc_8414",
    summary="The same, where RFC 8414 has it",
)
async def authority_metadata(tenant: Tenant, request: Request, response: Response) -> MetadataOut:
    authorities: Authorities = request.app.state.authorities
    await authorities.check(tenant)
    response.headers.update(_CACHED)
    return MetadataOut.model_validate(authorities.metadata(tenant))


@router.get(
    "/tenants/{tenant}/oauth/authorize",
    summary="Lead a tenant admin's browser to the page that asks for consent",
    status_code=303,
    response_class=Response,
    responses={303: {"description": "To that page, or back to the client with an error"}, **ERRORS},
)
async def authorize(tenant: Tenant, request: Request) -> Response:
    authorities: Authorities = request.app.state.authorities
    asking: Asking = request.app.state.asking
    guessing: Guessing = request.app.state.guessing
    network = _network_of(request)
    await guessing.check_network(network)
    await authorities.check(tenant)
    params: dict[str, str] = {}
    try:
        params = parse_form(request.scope["query_string"])
        location = await asking.destination(tenant, authorities.issuer(tenant), params)
    except Refusal as refusal:
        await _note(request, tenant, refusal, params)
        await guessing.note(refusal, network, None)
        raise
    headers = {"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response(status_code=303, headers=headers)


@router.post(
    "/tenants/{tenant}/oauth/token",
    summary="An access token for a consent, or for one of the platform's own clients",
    response_model=TokenOut,
    responses=ERRORS,
    openapi_extra=TOKEN_FORM,
)
async def give_token(tenant: Tenant, request: Request) -> Response:
    async def give(client: AuthorityClient, form: Mapping[str, str]) -> Response:
        authority: Authority = request.app.state.authority
        if form.get("grant_type") == GrantType.AUTHORIZATION_CODE:
            guessing: Guessing = request.app.state.guessing
            await guessing.check_codes(client)
        given = await authority.give_token(client, form, request.state.request_id)
        return private_json(
            {
                "access_token": given.token,
                "token_type": "Bearer",
                "expires_in": given.expires_in,
                "scope": " ".join(given.scopes),
            }
        )

    return await _with_client(tenant, request, give)


@router.post(
    "/tenants/{tenant}/oauth/introspect",
    summary="Is an access token good at this moment?",
    response_model=IntrospectionOut,
    response_model_exclude_none=True,
    responses=ERRORS,
    openapi_extra=INTROSPECTION_FORM,
)
async def introspect(tenant: Tenant, request: Request) -> Response:
    async def ask(client: AuthorityClient, form: Mapping[str, str]) -> Response:
        authority: Authority = request.app.state.authority
        said = await authority.introspect(client, needed(form, "token"), request.state.request_id)
        return private_json({"active": False} if said is None else said)

    return await _with_client(tenant, request, ask)


@router.post(
    "/tenants/{tenant}/oauth/revoke",
    summary="End an access token",
    response_class=Response,
    responses={200: {"description": "It is no good any more, if it ever was."}, **ERRORS},
    openapi_extra=INTROSPECTION_FORM,
)
async def revoke(tenant: Tenant, request: Request) -> Response:
    async def end(client: AuthorityClient, form: Mapping[str, str]) -> Response:
        authority: Authority = request.app.state.authority
        await authority.revoke(client, needed(form, "token"), request.state.request_id)
        return Response(headers={"Cache-Control": "no-store", "Pragma": "no-cache"})

    return await _with_client(tenant, request, end)


@router.get(
    "/sso/v1/authority-events",
    summary="What the tenant's authority did and refused, newest first",
    dependencies=document_credentials(),
)
async def list_authority_events(
    request: Request,
    caller: Annotated[Caller, require("sso:admin")],
    client_id: Annotated[Identifier | None, Query(description="Of one client: what it asked, and its tokens.")] = None,
    event: Annotated[EventKind | None, Query()] = None,
    cursor: Annotated[str | None, Query(max_length=400, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> EventPage:
    authority: Authority = request.app.state.authority
    found = await authority.list_newest(
        caller.tenant,
        client_id=client_id,
        kind=event,
        before=None if cursor is None else place_of(cursor),
        limit=limit + 1,
    )
    page = found[:limit]
    return EventPage(
        events=[EventOut.model_validate(row, from_attributes=True) for row in page],
        next_cursor=cursor_behind(page[-1].written_at, page[-1].event_id) if len(found) > limit else None,
    )


async def _with_client(tenant: str, request: Request, use: Use) -> Response:
    """Reads the form, finds out which client asks, and leaves an audit row of what is refused on the way."""
    authorities: Authorities = request.app.state.authorities
    authentication: ClientAuthentication = request.app.state.client_authentication
    guessing: Guessing = request.app.state.guessing
    network = _network_of(request)
    await guessing.check_network(network)
    await authorities.check(tenant)
    form: dict[str, str] = {}
    client: AuthorityClient | None = None
    try:
        form = await _read_form(request)
        audiences = {
            authorities.issuer(tenant),
            authorities.token_endpoint(tenant),
            f"{authorities.issuer(tenant)}/oauth/{request.url.path.rpartition('/')[2]}",
        }
        client = await authentication.authenticate(request, form, tenant=tenant, audiences=audiences)
        # For the access log.
        request.state.caller = Caller(client.client_id, tenant, frozenset(), client.kind)
        return await use(client, form)
    except Refusal as refusal:
        await _note(request, tenant, refusal, form)
        await guessing.note(refusal, network, client)
        raise


def _network_of(request: Request) -> str:
    network: str | None = request.app.state.proxies.client_network(request.scope)
    return network or "unknown"


async def _read_form(request: Request) -> dict[str, str]:
    if request.scope["query_string"]:
        # RFC 6749, 2.3.1: what stands in an address stands in logs.
        raise InvalidRequest("Parameters belong into the body, not into the address.")
    check_media_type(request.headers.get("content-type"))
    try:
        body = await request.body()
    except HTTPException as error:
        raise PayloadTooLarge("The request body is too long.", log=str(error.detail)) from None
    return parse_form(body)


async def _note(request: Request, tenant: str, refusal: Refusal, form: Mapping[str, Any]) -> None:
    """Passing trouble is no refusal: asking again is right, and it may be the audit itself that cannot be written."""
    if isinstance(refusal, (Unavailable, TooManyRequests)):
        return
    authority: Authority = request.app.state.authority
    given = form.get("grant_type")
    await authority.note_refusal(
        tenant,
        refusal,
        client_id=claimed_client_id(request, form),
        grant_type=given if given in set(GrantType) else None,
        request_id=request.state.request_id,
    )
