"""The second factor: its code at sign-in, setting it up, new recovery codes, giving it up."""

import asyncio
from math import ceil
from typing import Annotated, Final
from urllib.parse import urlencode

import segno
from fastapi import APIRouter, Request
from markupsafe import Markup
from shared.dependencies import needs
from shared.errors import Refusal
from shared.web.addresses import local_path
from shared.web.cookies import SESSION
from shared.web.form_answers import FormRoute
from shared.web.forms import FormExpired, read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.pages.session import session_cookie, sign_in_first, signed_in_session
from partner_onboarding.register.second_factors.domain import (
    Enrolment,
    NoSecondFactor,
    SecondFactorExists,
    SecondFactorNeeded,
    State,
    TooManyWrongCodes,
    WrongCode,
)
from partner_onboarding.register.second_factors.service import SecondFactors
from partner_onboarding.register.sessions.domain import HalfSignedIn, NoSession, SignedIn
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.sign_in.service import SignIn

_AFTERWARDS: Final = "/account"
_NOT_SET_UP: Final = State(is_set_up=False, recovery_codes_left=0)
_TEXT_OF: Final = {
    NoSecondFactor: "no_second_factor",
    SecondFactorExists: "second_factor_exists",
    SecondFactorNeeded: "second_factor_needed",
    WrongCode: "code_wrong",
}
_REFUSALS: Final[tuple[type[Refusal], ...]] = (FormExpired, TooManyWrongCodes, *_TEXT_OF)

PagesPart = Annotated[Pages, needs(Pages)]
SessionService = Annotated[Sessions, needs(Sessions)]
SignInService = Annotated[SignIn, needs(SignIn)]
SecondFactorService = Annotated[SecondFactors, needs(SecondFactors)]
router = APIRouter(include_in_schema=False, route_class=FormRoute)


@router.api_route("/login/code", methods=["GET", "HEAD"])
async def code_page(pages: PagesPart, sessions: SessionService, request: Request) -> Response:
    if await _half(sessions, request, "code") is None:
        return pages.redirect("/login")
    return _code_form(pages, request, request.query_params.get("next"))


@router.post("/login/code")
async def take_code(pages: PagesPart, sign_in: SignInService, request: Request) -> Response:
    fields = await read_form(request)
    goal = request.query_params.get("next")
    try:
        pages.form_tokens.check(request, fields)
        given = _code_of(fields, "code")
        started = await sign_in.with_code(session_cookie(request), given)
    except NoSession:
        return pages.redirect("/login")
    except _REFUSALS as refusal:
        return _code_form(pages, request, goal, refusal)
    response = pages.redirect(local_path(goal, _AFTERWARDS))
    pages.cookies.set(request, response, SESSION, started.cookie)
    return response


@router.api_route("/login/second-factor", methods=["GET", "HEAD"])
async def enrolment_page(
    pages: PagesPart, sessions: SessionService, second_factors: SecondFactorService, request: Request
) -> Response:
    half = await _half(sessions, request, "enrolment")
    if half is None:
        return pages.redirect("/login")
    return await _set_up(pages, second_factors, request, half)


@router.post("/login/second-factor")
async def take_enrolment(
    pages: PagesPart,
    sessions: SessionService,
    sign_in: SignInService,
    second_factors: SecondFactorService,
    request: Request,
) -> Response:
    half = await _half(sessions, request, "enrolment")
    if half is None:
        return pages.redirect("/login")
    fields = await read_form(request)
    try:
        pages.form_tokens.check(request, fields)
        given = _code_of(fields, "code")
        codes = await second_factors.confirm(
            half.tenant, half.user_id, given, actor=_actor(half), language=pages.language(request)
        )
        started = await sign_in.after_enrolment(session_cookie(request))
    except NoSession:
        return pages.redirect("/login")
    except _REFUSALS as refusal:
        return await _set_up(pages, second_factors, request, half, refusal)
    response = _codes_page(pages, request, codes, request.query_params.get("next"))
    pages.cookies.set(request, response, SESSION, started.cookie)
    return response


@router.api_route("/account/second-factor", methods=["GET", "HEAD"])
async def second_factor_page(
    pages: PagesPart, sessions: SessionService, second_factors: SecondFactorService, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    return await _set_up(pages, second_factors, request, who)


@router.post("/account/second-factor/begin")
async def begin(
    pages: PagesPart, sessions: SessionService, second_factors: SecondFactorService, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    try:
        pages.form_tokens.check(request, await read_form(request))
        await second_factors.begin(who.tenant, who.user_id)
    except _REFUSALS as refusal:
        return await _set_up(pages, second_factors, request, who, refusal)
    return pages.redirect("/account/second-factor")


@router.post("/account/second-factor")
async def confirm(
    pages: PagesPart, sessions: SessionService, second_factors: SecondFactorService, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    fields = await read_form(request)
    try:
        pages.form_tokens.check(request, fields)
        given = _code_of(fields, "code")
        codes = await second_factors.confirm(
            who.tenant, who.user_id, given, actor=_actor(who), language=pages.language(request)
        )
    except _REFUSALS as refusal:
        return await _set_up(pages, second_factors, request, who, refusal)
    return _codes_page(pages, request, codes, None)


@router.post("/account/second-factor/codes")
async def renew_codes(
    pages: PagesPart, sessions: SessionService, second_factors: SecondFactorService, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    fields = await read_form(request)
    try:
        pages.form_tokens.check(request, fields)
        given = _code_of(fields, "code")
        codes = await second_factors.renew_codes(who.tenant, who.user_id, given, actor=_actor(who))
    except _REFUSALS as refusal:
        return await _set_up(pages, second_factors, request, who, refusal)
    return _codes_page(pages, request, codes, None)


@router.post("/account/second-factor/remove")
async def remove(
    pages: PagesPart, sessions: SessionService, second_factors: SecondFactorService, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    fields = await read_form(request)
    try:
        pages.form_tokens.check(request, fields)
        await second_factors.remove(
            who.tenant,
            who.user_id,
            _code_of(fields, "remove_code"),
            who.roles,
            actor=_actor(who),
            language=pages.language(request),
        )
    except _REFUSALS as refusal:
        return await _set_up(pages, second_factors, request, who, refusal, field="remove_code")
    return pages.redirect("/account/second-factor?removed=1")


async def _half(sessions: Sessions, request: Request, awaits: str) -> HalfSignedIn | None:
    try:
        half = await sessions.half_signed_in(session_cookie(request))
    except NoSession:
        return None
    return half if half.awaits == awaits else None


def _code_of(fields: dict[str, str], field: str) -> str:
    given = fields.get(field, "").strip()
    if not given:
        raise WrongCode("Type the code.", code="code_missing")
    return given


def _actor(who: SignedIn | HalfSignedIn) -> Actor:
    for role in who.roles:
        if role in {"operator", "tenant_admin"}:
            return Actor(role, who.user_id)  # type: ignore[arg-type]  # both are kinds of actors
    return Actor("user", who.user_id)


async def _set_up(
    pages: Pages,
    second_factors: SecondFactors,
    request: Request,
    who: SignedIn | HalfSignedIn,
    refusal: Refusal | None = None,
    *,
    field: str = "code",
) -> Response:
    """The page of the second factor, in whichever state it is."""
    state = await second_factors.state_of(who.tenant, who.user_id)
    enrolment, picture = None, None
    if not state.is_set_up:
        try:
            enrolment = await second_factors.begun(who.tenant, who.user_id)
            picture = Markup(await asyncio.to_thread(_draw, enrolment))  # noqa: S704 — drawn by segno
        except NoSecondFactor:
            state = _NOT_SET_UP
    errors, status, seconds = _errors(pages, request, refusal, field)
    response = pages.render(
        request,
        "second_factor.html",
        status=status,
        here=_with_goal(_own_path(who), request.query_params.get("next")),
        state=state,
        enrolment=enrolment,
        picture=picture,
        is_half=isinstance(who, HalfSignedIn),
        is_removed="removed" in request.query_params,
        must_have=second_factors.must_have(who.roles),
        action=_with_goal(_own_path(who), request.query_params.get("next")),
        errors=errors,
    )
    if seconds is not None:
        response.headers["Retry-After"] = str(seconds)
    return response


def _own_path(who: SignedIn | HalfSignedIn) -> str:
    return "/login/second-factor" if isinstance(who, HalfSignedIn) else "/account/second-factor"


def _with_goal(path: str, goal: str | None) -> str:
    """The address of a page, with where to go afterwards. It may be longer than a field of a form."""
    place = local_path(goal, _AFTERWARDS)
    return path if place == _AFTERWARDS else f"{path}?{urlencode({'next': place})}"


def _draw(enrolment: Enrolment) -> str:
    return segno.make(enrolment.uri, error="m").svg_inline(scale=5, border=2, light="#fff", dark="#000")


def _code_form(pages: Pages, request: Request, goal: str | None, refusal: Refusal | None = None) -> Response:
    errors, status, seconds = _errors(pages, request, refusal, "code")
    response = pages.render(
        request,
        "second_factor_code.html",
        status=status,
        here=_with_goal("/login/code", goal),
        action=_with_goal("/login/code", goal),
        errors=errors,
    )
    if seconds is not None:
        response.headers["Retry-After"] = str(seconds)
    return response


def _codes_page(pages: Pages, request: Request, codes: list[str], goal: str | None) -> Response:
    return pages.render(
        request, "recovery_codes.html", here=request.url.path, codes=codes, goal=local_path(goal, _AFTERWARDS)
    )


def _errors(
    pages: Pages, request: Request, refusal: Refusal | None, field: str
) -> tuple[dict[str, str], int, int | None]:
    """What the page says of a refusal, its status, and when to try again (seconds)."""
    if refusal is None:
        return {}, 200, None
    texts = pages.texts(request)
    if isinstance(refusal, FormExpired):
        return {"form": texts.say("error.form_expired")}, 403, None
    if isinstance(refusal, TooManyWrongCodes):
        seconds = refusal.retry_after_seconds or 1
        minutes = texts.count("minutes", ceil(seconds / 60))
        return {"form": texts.say("error.codes_too_many", minutes=minutes)}, 429, seconds
    if refusal.stable_code == "code_missing":
        return {field: texts.say("error.code_missing")}, 400, None
    key = _TEXT_OF[type(refusal)]
    if isinstance(refusal, WrongCode):
        return {field: texts.say(f"error.{key}")}, 400, None
    return {"form": texts.say(f"error.{key}")}, 409, None
