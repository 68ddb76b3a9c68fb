"""The page on which a developer makes a test client, without an account and without asking anybody."""

from typing import Annotated

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.errors import TooManyRequests
from shared.web.form_answers import FormRoute
from shared.web.forms import FormExpired, read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.sandboxes.developers import LIVES_FOR, DevelopersClients
from partner_onboarding.settings import Settings

PATH = "/developers/test-client"
PagesPart = Annotated[Pages, needs(Pages)]
Developers = Annotated[DevelopersClients, needs(DevelopersClients)]
router = APIRouter(prefix=PATH, include_in_schema=False, route_class=FormRoute)


@router.api_route("", methods=["GET", "HEAD"])
async def form_page(pages: PagesPart, developers: Developers, request: Request) -> Response:
    await developers.sandbox()
    return _page(pages, request)


@router.post("")
async def make(
    pages: PagesPart, developers: Developers, settings: Annotated[Settings, needs(Settings)], request: Request
) -> Response:
    form = await read_form(request)
    say = pages.texts(request).say
    try:
        pages.form_tokens.check(request, form)
        new = await developers.make(request.app.state.proxies.client_network(request.scope))
    except FormExpired as refusal:
        return _page(pages, request, 403, say(f"error.{refusal.stable_code}"))
    except TooManyRequests as refusal:
        response = _page(pages, request, 429, say("refused.too_many"))
        response.headers["Retry-After"] = str(refusal.retry_after_seconds or 1)
        return response
    values = {
        "client_id": new.client.client_id,
        "client_secret": new.client_secret,
        "cloud_api_url": settings.public_url,
    }
    return _page(pages, request, values=values)


def _page(
    pages: Pages, request: Request, status: int = 200, trouble: str | None = None, values: dict[str, str] | None = None
) -> Response:
    response = pages.render(
        request,
        "test_client.html",
        status=status,
        here=PATH,
        action=PATH,
        days=LIVES_FOR.days,
        given=values,
        errors={"form": trouble} if trouble else {},
    )
    response.headers["Cache-Control"] = "no-store"
    return response
