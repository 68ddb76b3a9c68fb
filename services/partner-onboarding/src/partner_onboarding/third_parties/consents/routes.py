"""Consents over HTTP: for a tenant admin by the browser's session, or for a client with `clients:admin`.

A withdrawal by session is refused to other sites' pages, for which a browser would send the cookie too.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from shared.callers import Callers, document_credentials
from shared.errors import Unauthenticated
from shared.web.cross_site import CrossSiteRequest, foreign_origin_of

from partner_onboarding.pages.forms import SESSION_COOKIE
from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.clients.schemas import ClientId
from partner_onboarding.register.sessions.domain import NoSession, NotTenantAdmin
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.third_parties.consents import schemas
from partner_onboarding.third_parties.consents.service import Consents

_ClientId = Annotated[ClientId, Path()]


@dataclass(frozen=True, slots=True)
class _Admin:
    tenant: str
    actor: Actor
    by_session: bool


def consent_routes(consents: Consents, sessions: Sessions) -> APIRouter:
    """The routes below /v1/consents."""
    routes = APIRouter(prefix="/v1/consents", tags=["consents"], dependencies=document_credentials())

    async def admin(request: Request) -> _Admin:
        if "authorization" in request.headers:
            callers: Callers = request.app.state.callers
            caller = await callers.authenticate(request.scope)
            caller.need("clients:admin")
            return _Admin(caller.tenant, Actor("client", caller.client_id), by_session=False)
        try:
            who = await sessions.check(request.cookies.get(SESSION_COOKIE, ""))
        except NoSession:
            raise Unauthenticated("Sign in as the tenant's admin, or send a client's credentials.") from None
        if "tenant_admin" not in who.roles:
            raise NotTenantAdmin("Only the tenant's admin can see its consents.")
        return _Admin(who.tenant, Actor("tenant_admin", who.user_id), by_session=True)

    whoever = Annotated[_Admin, Depends(admin)]

    @routes.get("", summary="What the tenant allows third parties")
    async def list_consents(
        who: whoever,
        response: Response,
        cursor: Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> schemas.ConsentList:
        found = await consents.list_consents(who.tenant, after=cursor, limit=limit + 1)
        page = found[:limit]
        response.headers["Cache-Control"] = "no-store"
        return schemas.ConsentList(
            consents=[schemas.shown(one) for one in page],
            next_cursor=page[-1].client.client_id if len(found) > limit else None,
        )

    @routes.get("/{client_id}", summary="One consent with its history")
    async def get_consent(who: whoever, client_id: _ClientId, response: Response) -> schemas.ConsentHistory:
        response.headers["Cache-Control"] = "no-store"
        return schemas.history(*await consents.history(who.tenant, client_id))

    @routes.delete("/{client_id}", status_code=204, summary="Withdraw a consent")
    async def withdraw_consent(who: whoever, client_id: _ClientId, request: Request) -> None:
        """Effective at once: there are no new tokens, and introspection calls old ones inactive."""
        if who.by_session and foreign_origin_of(request) is not None:
            raise CrossSiteRequest
        await consents.withdraw(who.tenant, client_id, by=who.actor)

    return routes
