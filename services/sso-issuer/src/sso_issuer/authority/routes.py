"""The authorities over HTTP (RFC 6749, 7009, 7662 and 8414)."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response
from shared.callers import document_credentials
from shared.dependencies import needs, provided
from shared.errors import Refusal
from shared.problems import document_refusals
from shared.shortcuts import Shortcut

from sso_issuer.admins import REFUSALS, Admin
from sso_issuer.authority.authorities import Authorities
from sso_issuer.authority.authorize import ConsentRequests
from sso_issuer.authority.client_requests import ClientRequests
from sso_issuer.authority.errors import private_json
from sso_issuer.authority.forms import parse_form
from sso_issuer.authority.introspections import Introspections
from sso_issuer.authority.schemas import (
    ERRORS,
    INTROSPECTION_FORM,
    TOKEN_FORM,
    AccessTokenBody,
    AuthorityEventBody,
    AuthorityEventsBody,
    EventsQuery,
    IntrospectionBody,
    MetadataBody,
)
from sso_issuer.authority.service import Authority
from sso_issuer.keys.domain import KEY_SET_LIFETIME
from sso_issuer.keys.published import TenantNotFound

router = APIRouter(tags=["authority"])

Tenant = Annotated[str, Path(description="The tenant whose authority this is.")]
AuthorityService = Annotated[Authority, needs(Authority)]
KnownAuthorities = Annotated[Authorities, needs(Authorities)]
Clients = Annotated[ClientRequests, needs(ClientRequests)]

_UNKNOWN: Final = document_refusals([TenantNotFound])
TOKEN_TYPE: Final = "Bearer"  # noqa: S105 — RFC 6750, no secret
_CACHED: Final = {
    "Cache-Control": f"public, max-age={int(KEY_SET_LIFETIME.total_seconds())}",
    "Access-Control-Allow-Origin": "*",
}


@router.get(
    "/tenants/{tenant}/.well-known/openid-configuration", summary="What the authority can do", responses=_UNKNOWN
)
@router.get(
    "/.well-known/openid-configuration/tenants/{tenant}",
    name="authority_metadata_before_the_path",
    summary="The same, for clients that put the well-known part before the path",
    responses=_UNKNOWN,
)
@router.get(
    "/.well-known/oauth-authorization-server/tenants/{tenant}",
    name="authority_metadata_of_rfc_8414",
    summary="The same, where RFC 8414 has it",
    responses=_UNKNOWN,
)
async def authority_metadata(tenant: Tenant, response: Response, authorities: KnownAuthorities) -> MetadataBody:
    await authorities.check(tenant)
    response.headers.update(_CACHED)
    return MetadataBody.model_validate(authorities.metadata(tenant))


@router.get(
    "/tenants/{tenant}/oauth/authorize",
    summary="Lead a tenant admin's browser to the page that asks for consent",
    status_code=303,
    response_class=Response,
    responses={303: {"description": "To that page, or back to the client with an error"}, **ERRORS},
)
async def authorize(
    tenant: Tenant,
    request: Request,
    authorities: KnownAuthorities,
    consents: Annotated[ConsentRequests, needs(ConsentRequests)],
    clients: Clients,
) -> Response:
    await authorities.check(tenant)
    params: dict[str, str] = {}
    try:
        params = parse_form(request.scope["query_string"])
        location = await consents.destination(tenant, authorities.issuer(tenant), params)
    except Refusal as refusal:
        await clients.note(request, tenant, refusal, params, from_browser=True)
        raise
    headers = {"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response(status_code=303, headers=headers)


@router.post(
    "/tenants/{tenant}/oauth/token",
    summary="An access token for a consent, or for one of the platform's own clients",
    response_model=AccessTokenBody,
    responses=ERRORS,
    openapi_extra=TOKEN_FORM,
)
async def give_token(tenant: Tenant, request: Request, clients: Clients, authority: AuthorityService) -> Response:
    async with clients.admit(tenant, request) as (proof, form):
        given = await authority.give_token(proof, form, request.state.request_id)
    body = AccessTokenBody(
        access_token=given.token, token_type=TOKEN_TYPE, expires_in=given.expires_in, scope=" ".join(given.scopes)
    )
    return private_json(body.model_dump())


@router.post(
    "/tenants/{tenant}/oauth/introspect",
    summary="Is an access token good at this moment?",
    response_model=IntrospectionBody,
    response_model_exclude_none=True,
    responses=ERRORS,
    openapi_extra=INTROSPECTION_FORM,
)
async def introspect(
    tenant: Tenant,
    request: Request,
    clients: Clients,
    introspections: Annotated[Introspections, needs(Introspections)],
) -> Response:
    async with clients.admit(tenant, request) as asked:
        said = await introspections.introspect(
            asked.proof, await clients.needed(asked, "token"), request.state.request_id
        )
    return private_json({"active": False} if said is None else said)


@router.post(
    "/tenants/{tenant}/oauth/revoke",
    summary="End an access token",
    response_class=Response,
    responses={200: {"description": "It is no good any more, if it ever was."}, **ERRORS},
    openapi_extra=INTROSPECTION_FORM,
)
async def revoke(tenant: Tenant, request: Request, clients: Clients, authority: AuthorityService) -> Response:
    async with clients.admit(tenant, request) as asked:
        await authority.revoke(asked.proof, await clients.needed(asked, "token"), request.state.request_id)
    return Response(headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


async def _give_token_at_once(request: Request) -> Response:
    parts = provided(request.app, ClientRequests), provided(request.app, Authority)
    return await give_token(request.path_params["tenant"], request, *parts)


async def _introspect_at_once(request: Request) -> Response:
    parts = provided(request.app, ClientRequests), provided(request.app, Introspections)
    return await introspect(request.path_params["tenant"], request, *parts)


async def _revoke_at_once(request: Request) -> Response:
    parts = provided(request.app, ClientRequests), provided(request.app, Authority)
    return await revoke(request.path_params["tenant"], request, *parts)


SHORTCUTS: Final = (
    Shortcut("POST", "/tenants/{tenant}/oauth/token", _give_token_at_once),
    Shortcut("POST", "/tenants/{tenant}/oauth/introspect", _introspect_at_once),
    Shortcut("POST", "/tenants/{tenant}/oauth/revoke", _revoke_at_once),
)


@router.get(
    "/sso/v1/authority-events",
    summary="What the tenant's authority did and refused, newest first",
    dependencies=document_credentials(),
    responses=REFUSALS,
)
async def list_authority_events(
    authority: AuthorityService,
    caller: Admin,
    asked: Annotated[EventsQuery, Query()],
) -> AuthorityEventsBody:
    page = await authority.list_newest(
        caller.tenant, client_id=asked.client_id, kind=asked.event, cursor=asked.cursor, limit=asked.limit
    )
    return AuthorityEventsBody(
        events=[AuthorityEventBody.model_validate(row, from_attributes=True) for row in page.items],
        next_cursor=page.next_cursor,
    )
