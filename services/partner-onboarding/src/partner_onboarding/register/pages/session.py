"""The session that a browser's request comes with."""

from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import Response

from partner_onboarding.pages.forms import SESSION_COOKIE
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.register.sessions.domain import NoSession, SignedIn
from partner_onboarding.register.sessions.service import Sessions


async def signed_in_session(sessions: Sessions, request: Request) -> SignedIn | None:
    """Whose session the request comes with, or None."""
    try:
        return await sessions.check(request.cookies.get(SESSION_COOKIE, ""))
    except NoSession:
        return None


def sign_in_first(pages: Pages, request: Request) -> Response:
    """To the sign-in page, and back here afterwards."""
    goal = request.url.path + (f"?{request.url.query}" if request.method == "GET" and request.url.query else "")
    return pages.redirect(f"/login?{urlencode({'next': goal})}")
