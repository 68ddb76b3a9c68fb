"""Where a person is signed in, and the way to end it everywhere else."""

from typing import Annotated

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.web.form_answers import FormRoute
from shared.web.forms import read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.pages.session import session_cookie, sign_in_first, signed_in_session
from partner_onboarding.register.sessions.service import Sessions

router = APIRouter(include_in_schema=False, route_class=FormRoute)

PagesPart = Annotated[Pages, needs(Pages)]
SessionService = Annotated[Sessions, needs(Sessions)]


@router.api_route("/account/sessions", methods=["GET", "HEAD"])
async def sessions_page(pages: PagesPart, sessions: SessionService, request: Request) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    own = await sessions.own(who, session_cookie(request))
    return pages.render(request, "own_sessions.html", own=own, are_ended="ended" in request.query_params)


@router.post("/account/sessions/end-others")
async def end_others(pages: PagesPart, sessions: SessionService, request: Request) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    pages.form_tokens.check(request, await read_form(request))
    await sessions.end_others(who, session_cookie(request))
    return pages.redirect("/account/sessions?ended=1")
