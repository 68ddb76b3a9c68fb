"""The session that a browser's request comes with."""

from urllib.parse import urlencode

from fastapi import Request
from shared.dependencies import provided
from shared.web.cookies import SESSION
from shared.web.pages import Pages
from shared.web.visitors import Visitor, welcome
from starlette.responses import Response

from partner_onboarding.register.sessions.domain import NoSession, SignedIn
from partner_onboarding.register.sessions.service import Sessions


def session_cookie(request: Request) -> str:
    """The cookie of the browser's session; empty without one."""
    return provided(request.app, Pages).cookies.read(request, SESSION) or ""


async def check_session(sessions: Sessions, request: Request) -> SignedIn:
    """Whose session the request comes with; the page that answers shows that somebody is signed in.

    Raises:
        NoSession: nobody is signed in.
    """
    who = await sessions.check(session_cookie(request))
    welcome(request, Visitor(who.tenant, frozenset(who.roles), who.tenant_name))
    return who


async def signed_in_session(sessions: Sessions, request: Request) -> SignedIn | None:
    """Whose session the request comes with, or None."""
    try:
        return await check_session(sessions, request)
    except NoSession:
        return None


def sign_in_first(pages: Pages, request: Request) -> Response:
    """To the sign-in page, and back here afterwards."""
    goal = request.url.path + (f"?{request.url.query}" if request.method == "GET" and request.url.query else "")
    return pages.redirect(f"/login?{urlencode({'next': goal})}")
