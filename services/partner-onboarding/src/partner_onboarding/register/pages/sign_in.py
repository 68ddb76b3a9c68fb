"""Signing in and out."""

from math import ceil
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.web.addresses import local_path
from shared.web.cookies import SESSION
from shared.web.form_answers import FormRoute
from shared.web.forms import FormExpired, read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.pages.goals import place_of
from partner_onboarding.register.pages.session import check_session, session_cookie
from partner_onboarding.register.second_factors.service import SecondFactors
from partner_onboarding.register.sessions.domain import NoSession
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.sign_in.devices import DEVICE_COOKIE, DEVICE_SECONDS
from partner_onboarding.register.sign_in.domain import TooManyAttempts, WrongPassword
from partner_onboarding.register.sign_in.service import SeveralAccounts, SignIn
from partner_onboarding.register.users.domain import MalformedUser

_AFTERWARDS: Final = "/account"
#: Where a sign-in goes on whose password was right.
_NEXT_STEP: Final = {"code": "/login/code", "enrolment": "/login/second-factor"}
#: RFC 9110 requires a challenge with every 401. Browsers do not know this one and show the page.
_CHALLENGE: Final = {"WWW-Authenticate": 'Cookie realm="points platform", form-action="/login"'}


PagesPart = Annotated[Pages, needs(Pages)]
SessionService = Annotated[Sessions, needs(Sessions)]
SignInService = Annotated[SignIn, needs(SignIn)]
SecondFactorService = Annotated[SecondFactors, needs(SecondFactors)]
router = APIRouter(include_in_schema=False, route_class=FormRoute)


@router.api_route("/login", methods=["GET", "HEAD"])
async def login_page(pages: PagesPart, sessions: SessionService, request: Request) -> Response:
    goal = local_path(request.query_params.get("next"), _AFTERWARDS)
    try:
        await check_session(sessions, request)
    except NoSession:
        return _login_page(pages, request, {"next": goal})
    return pages.redirect(goal)


@router.post("/login")
async def take_form(
    pages: PagesPart, sign_in: SignInService, second_factors: SecondFactorService, request: Request
) -> Response:
    # The form's own address carries the goal: with a third party's state in it, it is longer than a field may be.
    fields = {"next": request.query_params.get("next", "")} | await read_form(request)
    say = pages.texts(request).say
    missing = {name: say(f"error.{name}_missing") for name in ("email", "password") if not fields.get(name, "").strip()}
    if missing:
        return _login_page(pages, request, fields, 400, missing)
    try:
        # Signing in in another tab meanwhile is no reason to refuse this one.
        pages.form_tokens.check(request, fields, from_before_sign_in=True)
        outcome = await sign_in.with_password(
            fields["email"],
            fields["password"],
            tenant=fields.get("tenant"),
            address=request.app.state.proxies.client_network(request.scope),
            former=pages.cookies.read(request, SESSION),
            device=pages.cookies.read(request, DEVICE_COOKIE),
        )
    except FormExpired as refusal:
        return _login_page(pages, request, fields, 403, {"form": say(f"error.{refusal.stable_code}")})
    except MalformedUser:
        return _login_page(pages, request, fields, 400, {"email": say("error.email_malformed")})
    except WrongPassword:
        response = _login_page(pages, request, fields, 401, {"email": say("error.wrong_password")})
        response.headers.update(_CHALLENGE)
        return response
    except TooManyAttempts as refusal:
        seconds = refusal.retry_after_seconds or 1
        minutes = pages.texts(request).count("minutes", ceil(seconds / 60))
        text = say("error.too_many_attempts", minutes=minutes)
        response = _login_page(pages, request, fields, 429, {"form": text})
        response.headers["Retry-After"] = str(seconds)
        return response
    if isinstance(outcome, SeveralAccounts):
        return _login_page(pages, request, fields, tenants=outcome.tenants)
    goal = local_path(fields.get("next"), _AFTERWARDS)
    if outcome.awaits is not None:
        if outcome.awaits == "enrolment":
            await second_factors.begin(outcome.tenant, outcome.user_id)
        goal = f"{_NEXT_STEP[outcome.awaits]}?{urlencode({'next': goal})}"
    response = pages.redirect(goal)
    pages.cookies.set(request, response, SESSION, outcome.cookie)
    if outcome.device is not None:
        pages.cookies.set(request, response, DEVICE_COOKIE, outcome.device, max_age=DEVICE_SECONDS)
    return response


@router.post("/logout")
async def sign_out(pages: PagesPart, sessions: SessionService, request: Request) -> Response:
    # Without a form token: the way out stands on the pages of all services, and must work however long one of them
    # was open. That no other site presses it is the judgement of `read_form`.
    await read_form(request)
    await sessions.sign_out(session_cookie(request))
    response = pages.redirect("/login?signed_out=1")
    pages.cookies.delete(request, response, SESSION)
    return response


def _login_page(
    pages: Pages,
    request: Request,
    fields: dict[str, str],
    status: int = 200,
    errors: dict[str, str] | None = None,
    **context: Any,
) -> Response:
    """The form, with all that was typed but the password."""
    goal = local_path(fields.get("next"), _AFTERWARDS)
    return pages.render(
        request,
        "login.html",
        status=status,
        here="/login" + (f"?{urlencode({'next': goal})}" if goal != _AFTERWARDS else ""),
        email=fields.get("email", "")[:254],
        goal=goal,
        place=place_of(goal),
        is_sent_here=goal != _AFTERWARDS,
        has_signed_out="signed_out" in request.query_params,
        is_deleted="deleted" in request.query_params,
        has_reset_password="password_reset" in request.query_params,
        shows_password="show_password" in request.query_params,
        errors=errors or {},
        **{"tenants": ()} | context,
    )
