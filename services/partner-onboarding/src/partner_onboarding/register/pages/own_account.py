"""Pages of a person's own account: change of password, copy of the data, and deletion."""

from math import ceil
from typing import Annotated

import orjson
from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.web.cookies import SESSION
from shared.web.form_answers import FormRoute
from shared.web.forms import FormExpired, read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.own_account.service import OwnAccount
from partner_onboarding.register.pages.session import sign_in_first, signed_in_session
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.sign_in.domain import TooManyAttempts, WrongPassword
from partner_onboarding.register.users.erasing import AccountIsNeeded
from partner_onboarding.register.users.new_passwords import UnfitPassword

router = APIRouter(include_in_schema=False, route_class=FormRoute)

PagesPart = Annotated[Pages, needs(Pages)]
SessionService = Annotated[Sessions, needs(Sessions)]
OwnAccountService = Annotated[OwnAccount, needs(OwnAccount)]


@router.api_route("/account/password", methods=["GET", "HEAD"])
async def password_page(pages: PagesPart, sessions: SessionService, request: Request) -> Response:
    if await signed_in_session(sessions, request) is None:
        return sign_in_first(pages, request)
    return _form(pages, request, "password.html")


@router.post("/account/password")
async def change_password(
    pages: PagesPart, sessions: SessionService, own_account: OwnAccountService, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    fields, say = await read_form(request), pages.texts(request).say
    present, new = fields.get("present_password", ""), fields.get("password", "")
    missing = {}
    if not present:
        missing["present_password"] = say("error.password_missing")
    if not new:
        missing["password"] = say("error.new_password_missing")
    if missing:
        return _form(pages, request, "password.html", 400, missing)
    try:
        pages.form_tokens.check(request, fields)
        cookie = await own_account.change_password(
            who,
            present,
            new,
            language=pages.language(request),
            address=request.app.state.proxies.client_network(request.scope),
        )
    except FormExpired as refusal:
        return _form(pages, request, "password.html", 403, {"form": say(f"error.{refusal.stable_code}")})
    except UnfitPassword as unfit:
        return _form(pages, request, "password.html", 400, {"password": say(f"error.{unfit.stable_code}")})
    except WrongPassword:
        return _form(pages, request, "password.html", 400, {"present_password": say("error.present_password_wrong")})
    except TooManyAttempts as refusal:
        return _too_many(pages, request, "password.html", refusal)
    response = pages.redirect("/account?password_changed=1")
    pages.cookies.set(request, response, SESSION, cookie)
    return response


@router.get("/account/data")
async def data(
    pages: PagesPart, sessions: SessionService, own_account: OwnAccountService, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    copy = orjson.dumps(await own_account.export(who), option=orjson.OPT_INDENT_2)
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="my-data.json"'}
    return Response(copy, headers=headers, media_type="application/json")


@router.api_route("/account/delete", methods=["GET", "HEAD"])
async def deletion_page(pages: PagesPart, sessions: SessionService, request: Request) -> Response:
    if await signed_in_session(sessions, request) is None:
        return sign_in_first(pages, request)
    return _form(pages, request, "delete_account.html")


@router.post("/account/delete")
async def delete(
    pages: PagesPart, sessions: SessionService, own_account: OwnAccountService, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    fields, say = await read_form(request), pages.texts(request).say
    present = fields.get("present_password", "")
    if not present:
        errors = {"present_password": say("error.password_missing")}
        return _form(pages, request, "delete_account.html", 400, errors)
    try:
        pages.form_tokens.check(request, fields)
        address = request.app.state.proxies.client_network(request.scope)
        await own_account.delete(who, present, address=address)
    except FormExpired as refusal:
        return _form(pages, request, "delete_account.html", 403, {"form": say(f"error.{refusal.stable_code}")})
    except WrongPassword:
        errors = {"present_password": say("error.present_password_wrong")}
        return _form(pages, request, "delete_account.html", 400, errors)
    except AccountIsNeeded:
        return _form(pages, request, "delete_account.html", 409, {"form": say("error.account_is_needed")})
    except TooManyAttempts as refusal:
        return _too_many(pages, request, "delete_account.html", refusal)
    response = pages.redirect("/login?deleted=1")
    pages.cookies.delete(request, response, SESSION)
    return response


def _form(
    pages: Pages,
    request: Request,
    template: str,
    status: int = 200,
    errors: dict[str, str] | None = None,
) -> Response:
    shown = "show_password" in request.query_params
    return pages.render(request, template, status=status, errors=errors or {}, shows_password=shown)


def _too_many(pages: Pages, request: Request, template: str, refusal: TooManyAttempts) -> Response:
    seconds, texts = refusal.retry_after_seconds or 1, pages.texts(request)
    text = texts.say("error.too_many_attempts", minutes=texts.count("minutes", ceil(seconds / 60)))
    response = _form(pages, request, template, 429, {"form": text})
    response.headers["Retry-After"] = str(seconds)
    return response
