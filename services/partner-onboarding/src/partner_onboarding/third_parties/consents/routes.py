"""Consents over HTTP: for a tenant admin by the browser's session, or for a client with `clients:admin`.

A withdrawal by session is refused to other sites' pages, for which a browser would send the cookie too.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from shared.callers import Callers, document_credentials
from shared.dependencies import needs
from shared.errors import Unauthenticated
from shared.paging import Listing
from shared.problems import document_refusals
from shared.web.cross_site import CrossSiteRequest, foreign_origin_of

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.clients.listings import ClientPlace
from partner_onboarding.register.clients.schemas import ClientId
from partner_onboarding.register.pages.session import session_cookie
from partner_onboarding.register.sessions.domain import NoSession, NotTenantAdmin
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.third_parties.consents.domain import ConsentNotFound
from partner_onboarding.third_parties.consents.schemas import (
    ConsentBody,
    ConsentHistoryBody,
    ConsentsBody,
    ConsentsQuery,
)
from partner_onboarding.third_parties.consents.service import Consents

router = APIRouter(
    prefix="/v1/consents",
    tags=["consents"],
    dependencies=document_credentials(),
    responses=document_refusals([NotTenantAdmin]),
)

#: The list of consents has its own name, so that no cursor of the clients leads into it.
CONSENTS = Listing("consents", ClientPlace)
ConsentService = Annotated[Consents, needs(Consents)]
ClientIdInPath = Annotated[ClientId, Path()]


@dataclass(frozen=True, slots=True)
class _Admin:
    tenant: str
    actor: Actor
    by_session: bool


async def _admin(
    sessions: Annotated[Sessions, needs(Sessions)], callers: Annotated[Callers, needs(Callers)], request: Request
) -> _Admin:
    if "authorization" in request.headers:
        caller = await callers.authenticate(request.scope)
        caller.need("clients:admin")
        return _Admin(caller.tenant, Actor("client", caller.client_id), by_session=False)
    try:
        who = await sessions.check(session_cookie(request))
    except NoSession:
        raise Unauthenticated("Sign in as the tenant's admin, or send a client's credentials.") from None
    if "tenant_admin" not in who.roles:
        raise NotTenantAdmin("Only the tenant's admin can see its consents.")
    return _Admin(who.tenant, Actor("tenant_admin", who.user_id), by_session=True)


Admin = Annotated[_Admin, Depends(_admin)]


@router.get("", summary="What the tenant allows third parties")
async def list_consents(
    consents: ConsentService, who: Admin, response: Response, asked: Annotated[ConsentsQuery, Query()]
) -> ConsentsBody:
    pages = CONSENTS.of(who.tenant)
    place = pages.place(asked.cursor)
    found = await consents.list_consents(who.tenant, after=place.client_id if place else "", limit=asked.limit + 1)
    page = pages.cut(found, asked.limit, lambda given: ClientPlace(given.client.client_id))
    response.headers["Cache-Control"] = "no-store"
    return ConsentsBody(consents=[ConsentBody.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/{client_id}", summary="One consent with its history", responses=document_refusals([ConsentNotFound]))
async def get_consent(
    consents: ConsentService, who: Admin, client_id: ClientIdInPath, response: Response
) -> ConsentHistoryBody:
    response.headers["Cache-Control"] = "no-store"
    return ConsentHistoryBody.of_versions(*await consents.history(who.tenant, client_id))


@router.delete(
    "/{client_id}",
    status_code=204,
    summary="Withdraw a consent",
    responses=document_refusals([ConsentNotFound, NotTenantAdmin, CrossSiteRequest]),
)
async def withdraw_consent(consents: ConsentService, who: Admin, client_id: ClientIdInPath, request: Request) -> None:
    """Effective at once: there are no new tokens, and introspection calls old ones inactive."""
    if who.by_session and foreign_origin_of(request) is not None:
        raise CrossSiteRequest
    await consents.withdraw(who.tenant, client_id, by=who.actor)
