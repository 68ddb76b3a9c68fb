"""A forgotten password: the page that asks for a mail, and the page behind the link in it."""

from math import ceil
from typing import Annotated

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.errors import TooManyRequests
from shared.web.form_answers import FormRoute
from shared.web.forms import FormExpired, read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.notices.links import UnknownMailedLink
from partner_onboarding.register.password_resets.domain import PATH
from partner_onboarding.register.password_resets.service import PasswordResets
from partner_onboarding.register.users.domain import MalformedUser
from partner_onboarding.register.users.new_passwords import UnfitPassword

router = APIRouter(include_in_schema=False, route_class=FormRoute)

PagesPart = Annotated[Pages, needs(Pages)]
Resets = Annotated[PasswordResets, needs(PasswordResets)]


@router.api_route("/password/forgotten", methods=["GET", "HEAD"])
async def forgotten_page(pages: PagesPart, request: Request) -> Response:
    return _forgotten(pages, request)


@router.post("/password/forgotten")
async def ask_for_link(pages: PagesPart, resets: Resets, request: Request) -> Response:
    fields, texts = await read_form(request), pages.texts(request)
    email = fields.get("email", "")
    if not email.strip():
        return _forgotten(pages, request, 400, {"email": texts.say("error.email_missing")})
    try:
        pages.form_tokens.check(request, fields)
        network = request.app.state.proxies.client_network(request.scope)
        await resets.request(email, language=texts.language, network=network)
    except FormExpired as refusal:
        return _forgotten(pages, request, 403, {"form": texts.say(f"error.{refusal.stable_code}")}, email=email)
    except MalformedUser:
        return _forgotten(pages, request, 400, {"email": texts.say("error.email_malformed")}, email=email)
    except TooManyRequests as refusal:
        seconds = refusal.retry_after_seconds or 1
        text = texts.say("forgotten.too_many", minutes=texts.count("minutes", ceil(seconds / 60)))
        response = _forgotten(pages, request, 429, {"form": text}, email=email)
        response.headers["Retry-After"] = str(seconds)
        return response
    return _forgotten(pages, request, is_sent=True)


@router.api_route(PATH, methods=["GET", "HEAD"])
async def reset_page(pages: PagesPart, resets: Resets, request: Request) -> Response:
    """A GET uses nothing up, since mail scanners open every link."""
    token = request.query_params.get("token", "")
    try:
        await resets.check_link(token)
    except UnknownMailedLink:
        return _dead_link(pages, request)
    return _reset(pages, request, token)


@router.post(PATH)
async def reset(pages: PagesPart, resets: Resets, request: Request) -> Response:
    fields, texts = await read_form(request), pages.texts(request)
    token, new = fields.get("token", ""), fields.get("password", "")
    try:
        pages.form_tokens.check(request, fields)
        await resets.check_link(token)
        if not new:
            return _reset(pages, request, token, 400, {"password": texts.say("error.new_password_missing")})
        network = request.app.state.proxies.client_network(request.scope)
        await resets.reset(token, new, language=texts.language, network=network)
    except FormExpired as refusal:
        return _reset(pages, request, token, 403, {"form": texts.say(f"error.{refusal.stable_code}")})
    except UnknownMailedLink:
        return _dead_link(pages, request)
    except UnfitPassword as unfit:
        return _reset(pages, request, token, 400, {"password": texts.say(f"error.{unfit.stable_code}")})
    return pages.redirect("/login?password_reset=1")


def _forgotten(
    pages: Pages,
    request: Request,
    status: int = 200,
    errors: dict[str, str] | None = None,
    *,
    email: str = "",
    is_sent: bool = False,
) -> Response:
    return pages.render(request, "forgotten.html", status=status, errors=errors or {}, email=email, is_sent=is_sent)


def _reset(
    pages: Pages, request: Request, token: str, status: int = 200, errors: dict[str, str] | None = None
) -> Response:
    # The browser sends the address, which carries the token, to nothing that the page loads or leads to.
    return pages.render(
        request, "reset.html", status=status, token=token, errors=errors or {}, referrer_policy="strict-origin"
    )


def _dead_link(pages: Pages, request: Request) -> Response:
    return pages.render(request, "reset_refused.html", status=410, here="/password/forgotten")
