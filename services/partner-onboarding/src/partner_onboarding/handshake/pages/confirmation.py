"""The link in the mail: shown by a GET, which mail scanners send too, and carried out by a button."""

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from partner_onboarding.handshake.mail.service import CONFIRM_PATH, Mails, UnknownLink
from partner_onboarding.pages.forms import FormExpired, read_form
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.register.users.domain import EmailTaken


def confirmation_routes(pages: Pages, mails: Mails) -> APIRouter:
    """Below /register/confirm."""
    routes = APIRouter(include_in_schema=False)

    def page(request: Request, outcome: str, status: int = 200) -> Response:
        return pages.render(request, "confirm.html", status=status, outcome=outcome)

    @routes.api_route(CONFIRM_PATH + "/{tenant}/{token}", methods=["GET", "HEAD"])
    async def confirm_page(request: Request, tenant: str, token: str) -> Response:
        return page(request, "question")

    @routes.post(CONFIRM_PATH + "/{tenant}/{token}")
    async def confirm(
        request: Request, tenant: str = Path(max_length=40), token: str = Path(max_length=64)
    ) -> Response:
        try:
            pages.form_tokens.check(request, await read_form(request))
            await mails.confirm(tenant, token)
        except FormExpired:
            return page(request, "question", 403)
        except UnknownLink:
            return page(request, "refused", 410)
        except EmailTaken:
            return page(request, "taken", 409)
        return page(request, "confirmed")

    return routes
