"""Undoing the link to a partner, by the person."""

from typing import Annotated

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.web.form_answers import FormRoute
from shared.web.forms import read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.handshake.links.service import Links
from partner_onboarding.register.pages.session import sign_in_first, signed_in_session
from partner_onboarding.register.sessions.service import Sessions

PagesPart = Annotated[Pages, needs(Pages)]
SessionService = Annotated[Sessions, needs(Sessions)]
LinkService = Annotated[Links, needs(Links)]
router = APIRouter(include_in_schema=False, route_class=FormRoute)


@router.api_route("/account/unlink", methods=["GET", "HEAD"])
async def unlinking_page(pages: PagesPart, sessions: SessionService, links: LinkService, request: Request) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    wanted = request.query_params.get("partner", "")
    linked = await links.partners_of(who.tenant, who.user_id)
    partner = next((one for one in linked if one.client_id == wanted), None)
    if partner is None:
        return pages.redirect("/account")
    return pages.render(request, "unlink.html", partner=partner)


@router.post("/account/unlink")
async def unlink(pages: PagesPart, sessions: SessionService, links: LinkService, request: Request) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    fields = await read_form(request)
    pages.form_tokens.check(request, fields)
    await links.unlink(who.tenant, who.user_id, fields.get("partner", ""))
    return pages.redirect("/account?unlinked=1#partners")
