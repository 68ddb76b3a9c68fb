"""The session of a browser's request."""

from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import Response

from partner_onboarding.pages.forms import SESSION_COOKIE
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.register.sessions.domain import NoSession, SignedIn
from partner_onboarding.register.sessions.service import Sessions


async def signed_in_session(sessions: Sessions, request: Request) -> SignedIn | None:
    """The signed-in person of the request, or None."""
    try:
        return await sessions.check(request.cookies.get(SESSION_COOKIE, ""))
    except NoSession:
        return None


def sign_in_first(pages: Pages, request: Request) -> Response:
    """Redirects to the sign-in page, which leads back here."""
    goal = request.url.path + (f"?{request.url.query}" if request.method == "GET" and request.url.query else "")
    return pages.redirect(f"/login?{urlencode({'next': goal})}")
