"""Who is signed in with the browser that asks."""

from fastapi import Request

from partner_onboarding.pages.forms import SESSION_COOKIE
from partner_onboarding.sessions.domain import NoSession, SignedIn
from partner_onboarding.sessions.service import Sessions


async def who_asks(sessions: Sessions, request: Request) -> SignedIn | None:
    """Whose session the request comes with, or None."""
    try:
        return await sessions.check(request.cookies.get(SESSION_COOKIE, ""))
    except NoSession:
        return None
