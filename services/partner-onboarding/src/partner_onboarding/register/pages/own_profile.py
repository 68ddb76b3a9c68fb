"""Pages on which a person changes the own name and address."""

from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.errors import TooManyRequests
from shared.web.form_answers import FormRoute
from shared.web.forms import FormExpired, read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.notices.links import UnknownMailedLink
from partner_onboarding.register.own_account.domain import EMAIL_PATH
from partner_onboarding.register.own_account.profile import OwnProfile, TooManyLinks
from partner_onboarding.register.pages.session import sign_in_first, signed_in_session
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.sign_in.domain import WrongPassword
from partner_onboarding.register.users.domain import EmailTaken, MalformedUser

router = APIRouter(include_in_schema=False, route_class=FormRoute)

PagesPart = Annotated[Pages, needs(Pages)]
SessionService = Annotated[Sessions, needs(Sessions)]
ProfileService = Annotated[OwnProfile, needs(OwnProfile)]
_FIELDS = ("firstname", "lastname", "email", "present_password")
_MISSING = {"present_password": "password_missing"}


@router.api_route("/account/profile", methods=["GET", "HEAD"])
async def profile_page(
    pages: PagesPart, sessions: SessionService, profiles: ProfileService, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    profile = (await profiles.get(who)).profile
    filled = {"firstname": profile.firstname, "lastname": profile.lastname, "email": profile.email}
    return _form(pages, request, filled)


@router.post("/account/profile")
async def change_profile(
    pages: PagesPart, sessions: SessionService, profiles: ProfileService, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    fields, texts = await read_form(request), pages.texts(request)
    say = texts.say
    missing = {name: say(f"error.{_MISSING.get(name, f'{name}_missing')}") for name in _FIELDS if not fields.get(name)}
    if missing:
        return _form(pages, request, fields, 400, missing)
    try:
        pages.form_tokens.check(request, fields)
        is_mailed = await profiles.change(
            who,
            fields["present_password"],
            email=fields["email"],
            firstname=fields["firstname"],
            lastname=fields["lastname"],
            language=texts.language,
            network=request.app.state.proxies.client_network(request.scope),
        )
    except FormExpired as refusal:
        return _form(pages, request, fields, 403, {"form": say(f"error.{refusal.stable_code}")})
    except MalformedUser as refusal:
        return _form(pages, request, fields, 400, _wrong(fields, refusal, say))
    except WrongPassword:
        return _form(pages, request, fields, 400, {"present_password": say("error.present_password_wrong")})
    except TooManyLinks as refusal:
        return _later(pages, request, fields, refusal, {"email": say("error.too_many_links")})
    except TooManyRequests as refusal:
        minutes = texts.count("minutes", ceil((refusal.retry_after_seconds or 1) / 60))
        return _later(pages, request, fields, refusal, {"form": say("error.too_many_attempts", minutes=minutes)})
    return pages.redirect("/account?address_asked=1" if is_mailed else "/account?profile_changed=1")


@router.api_route(EMAIL_PATH, methods=["GET", "HEAD"])
async def confirm_page(pages: PagesPart, profiles: ProfileService, request: Request) -> Response:
    """A GET uses nothing up, since mail scanners open every link."""
    token = request.query_params.get("token", "")
    try:
        await profiles.check_link(token)
    except UnknownMailedLink:
        return _answer(pages, request, "refused", 410)
    return _answer(pages, request, "question", token=token)


@router.post(EMAIL_PATH)
async def confirm(pages: PagesPart, profiles: ProfileService, request: Request) -> Response:
    fields = await read_form(request)
    token = fields.get("token", "")
    pages.form_tokens.check(request, fields)
    try:
        await profiles.confirm(token, language=pages.language(request))
    except UnknownMailedLink:
        return _answer(pages, request, "refused", 410)
    except EmailTaken:
        return _answer(pages, request, "taken", 409)
    return _answer(pages, request, "confirmed")


def _wrong(fields: Mapping[str, str], refusal: MalformedUser, say: Any) -> dict[str, str]:
    if refusal.stable_code == "malformed_email":
        return {"email": say("error.email_malformed")}
    # The rule is one for both names.
    field = "firstname" if not fields["firstname"].strip() or fields["lastname"].strip() else "lastname"
    return {field: say("error.name_malformed")}


def _form(
    pages: Pages,
    request: Request,
    filled: Mapping[str, str],
    status: int = 200,
    errors: Mapping[str, str] | None = None,
) -> Response:
    return pages.render(
        request,
        "profile.html",
        status=status,
        filled={name: filled.get(name, "") for name in ("firstname", "lastname", "email")},
        errors=errors or {},
        shows_password="show_password" in request.query_params,
    )


def _later(
    pages: Pages, request: Request, filled: Mapping[str, str], refusal: TooManyRequests, errors: Mapping[str, str]
) -> Response:
    response = _form(pages, request, filled, 429, errors)
    response.headers["Retry-After"] = str(refusal.retry_after_seconds or 1)
    return response


def _answer(pages: Pages, request: Request, outcome: str, status: int = 200, *, token: str = "") -> Response:
    # The browser sends the address, which carries the token, to nothing that the page loads or leads to.
    return pages.render(
        request,
        "new_address.html",
        status=status,
        here="/account/profile" if outcome != "question" else None,
        outcome=outcome,
        token=token,
        action=EMAIL_PATH,
        referrer_policy="strict-origin",
    )
