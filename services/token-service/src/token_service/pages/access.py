"""Who may see the pages: the tenant's administrators."""

import re
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from shared.dependencies import provided
from shared.errors import Forbidden
from shared.web.cookies import SESSION
from shared.web.pages import Pages
from shared.web.visitors import Visitor, welcome
from starlette.requests import Request
from starlette.responses import Response

from token_service.onboarding_client import TENANT_ADMIN, OnboardingClient, Session

_SESSION = re.compile(r"[\x21-\x7e]{1,512}")


class NotAdmin(Forbidden):
    code = "not_tenant_admin"

    def __init__(self) -> None:
        super().__init__("This page is for the tenant's administrators.")


async def as_admin(
    request: Request, show: Callable[[Session], Awaitable[Response]], *, here: str | None = None
) -> Response:
    """What `show` makes for a signed-in administrator; the sign-in page for somebody who is not signed in.

    Args:
        here: where the sign-in leads back to; by default the address of the request.

    Raises:
        NotAdmin
        Unavailable: partner-onboarding does not answer.
    """
    pages = provided(request.app, Pages)
    cookie = pages.cookies.read(request, SESSION) or ""
    known = _SESSION.fullmatch(cookie) is not None
    session = await provided(request.app, OnboardingClient).find_session(cookie) if known else None
    if session is None:
        address = quote(request.scope["path"]) + (f"?{request.url.query}" if request.url.query else "")
        # A path alone: the browser stays with the scheme that it came by.
        return pages.redirect(f"/login?next={quote(here or address, safe='')}")
    welcome(request, Visitor(session.tenant, session.roles, session.tenant_name))
    if TENANT_ADMIN not in session.roles:
        raise NotAdmin
    return await show(session)
