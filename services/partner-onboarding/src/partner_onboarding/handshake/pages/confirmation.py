"""The link in the mail, shown by a GET, which mail scanners send too, and carried out by a button; the mail again."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from shared.dependencies import needs
from shared.web.form_answers import FormRoute
from shared.web.forms import FormExpired, read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.handshake.mail.service import CONFIRM_PATH, RESEND_PATH, Mails, UnknownLink
from partner_onboarding.register.pages.session import sign_in_first, signed_in_session
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.users.domain import EmailTaken

PagesPart = Annotated[Pages, needs(Pages)]
MailService = Annotated[Mails, needs(Mails)]
SessionService = Annotated[Sessions, needs(Sessions)]
router = APIRouter(include_in_schema=False, route_class=FormRoute)


def _page(pages: Pages, request: Request, outcome: str, status: int = 200, trouble: str = "") -> Response:
    return pages.render(request, "confirm.html", status=status, outcome=outcome, trouble=trouble)


@router.api_route(CONFIRM_PATH + "/{tenant}/{token}", methods=["GET", "HEAD"])
async def confirm_page(pages: PagesPart, request: Request, tenant: str, token: str) -> Response:
    return _page(pages, request, "question")


@router.post(CONFIRM_PATH + "/{tenant}/{token}")
async def confirm(
    pages: PagesPart,
    mails: MailService,
    request: Request,
    tenant: str = Path(max_length=40),
    token: str = Path(max_length=64),
) -> Response:
    try:
        pages.form_tokens.check(request, await read_form(request))
        await mails.confirm(tenant, token)
    except FormExpired as refusal:
        return _page(pages, request, "question", 403, pages.texts(request).say(f"error.{refusal.stable_code}"))
    except UnknownLink:
        return _page(pages, request, "refused", 410)
    except EmailTaken:
        return _page(pages, request, "taken", 409)
    return _page(pages, request, "confirmed")


@router.api_route(RESEND_PATH, methods=["GET", "HEAD"])
async def resend_page(pages: PagesPart, sessions: SessionService, request: Request) -> Response:
    if await signed_in_session(sessions, request) is None:
        return sign_in_first(pages, request)
    return _page(pages, request, "resend")


@router.post(RESEND_PATH)
async def resend(pages: PagesPart, sessions: SessionService, mails: MailService, request: Request) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    try:
        pages.form_tokens.check(request, await read_form(request))
    except FormExpired as refusal:
        return _page(pages, request, "resend", 403, pages.texts(request).say(f"error.{refusal.stable_code}"))
    is_sent = await mails.send_again(who.tenant, who.user_id, pages.texts(request).language)
    return _page(pages, request, "resent" if is_sent else "confirmed")
