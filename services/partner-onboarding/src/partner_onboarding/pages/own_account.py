"""What people do with their own accounts: partners, password, a copy of their data, and leaving."""

from math import ceil
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from partner_onboarding.links.service import Links
from partner_onboarding.own_account.service import AccountIsNeeded, OwnAccount
from partner_onboarding.pages.forms import SESSION_COOKIE, FormExpired, read_form
from partner_onboarding.pages.languages import language_of
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.pages.who import who_asks
from partner_onboarding.sessions.domain import TooManyAttempts, WrongPassword
from partner_onboarding.sessions.service import Sessions
from partner_onboarding.users.new_passwords import UnfitPassword


def own_account_routes(pages: Pages, sessions: Sessions, links: Links, own_account: OwnAccount) -> APIRouter:
    """Below /account."""
    routes = APIRouter(include_in_schema=False)
    _add_unlinking(routes, pages, sessions, links)
    _add_password(routes, pages, sessions, own_account)
    _add_data(routes, pages, sessions, own_account)
    return routes


def _add_unlinking(routes: APIRouter, pages: Pages, sessions: Sessions, links: Links) -> None:
    @routes.api_route("/account/unlink", methods=["GET", "HEAD"])
    async def unlink_page(request: Request) -> Response:
        who = await who_asks(sessions, request)
        if who is None:
            return _sign_in_first(pages, request)
        wanted = request.query_params.get("partner", "")
        linked = await links.partners_of(who.tenant, who.user_id)
        partner = next((one for one in linked if one.client_id == wanted), None)
        if partner is None:
            return pages.redirect("/account")
        return pages.render(request, "unlink.html", partner=partner)

    @routes.post("/account/unlink")
    async def unlink(request: Request) -> Response:
        who = await who_asks(sessions, request)
        if who is None:
            return _sign_in_first(pages, request)
        fields = await read_form(request)
        pages.form_tokens.check(request, fields)
        await links.unlink(who.tenant, who.user_id, fields.get("partner", ""))
        return pages.redirect("/account?unlinked=1#partners")


def _add_password(routes: APIRouter, pages: Pages, sessions: Sessions, own_account: OwnAccount) -> None:
    @routes.api_route("/account/password", methods=["GET", "HEAD"])
    async def password_page(request: Request) -> Response:
        if await who_asks(sessions, request) is None:
            return _sign_in_first(pages, request)
        return _form(pages, request, "password.html")

    @routes.post("/account/password")
    async def change_password(request: Request) -> Response:
        who = await who_asks(sessions, request)
        if who is None:
            return _sign_in_first(pages, request)
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
                language=language_of(request),
                address=request.app.state.proxies.client_network(request.scope),
            )
        except FormExpired:
            return _form(pages, request, "password.html", 403, {"form": say("error.form_expired")})
        except UnfitPassword as unfit:
            return _form(pages, request, "password.html", 400, {"password": say(f"error.{unfit.stable_code}")})
        except WrongPassword:
            return _form(
                pages, request, "password.html", 400, {"present_password": say("error.present_password_wrong")}
            )
        except TooManyAttempts as refusal:
            return _too_many(pages, request, "password.html", refusal)
        response = pages.redirect("/account?password_changed=1")
        pages.set_cookie(request, response, SESSION_COOKIE, cookie)
        return response


def _add_data(routes: APIRouter, pages: Pages, sessions: Sessions, own_account: OwnAccount) -> None:
    @routes.get("/account/data")
    async def data(request: Request) -> Response:
        who = await who_asks(sessions, request)
        if who is None:
            return _sign_in_first(pages, request)
        copy = orjson.dumps(await own_account.export(who), option=orjson.OPT_INDENT_2)
        headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="my-data.json"'}
        return Response(copy, headers=headers, media_type="application/json")

    @routes.api_route("/account/delete", methods=["GET", "HEAD"])
    async def deletion_page(request: Request) -> Response:
        if await who_asks(sessions, request) is None:
            return _sign_in_first(pages, request)
        return _form(pages, request, "delete_account.html")

    @routes.post("/account/delete")
    async def delete(request: Request) -> Response:
        who = await who_asks(sessions, request)
        if who is None:
            return _sign_in_first(pages, request)
        fields, say = await read_form(request), pages.texts(request).say
        present = fields.get("present_password", "")
        if not present:
            errors = {"present_password": say("error.password_missing")}
            return _form(pages, request, "delete_account.html", 400, errors)
        try:
            pages.form_tokens.check(request, fields)
            address = request.app.state.proxies.client_network(request.scope)
            await own_account.delete(who, present, address=address)
        except FormExpired:
            return _form(pages, request, "delete_account.html", 403, {"form": say("error.form_expired")})
        except WrongPassword:
            errors = {"present_password": say("error.present_password_wrong")}
            return _form(pages, request, "delete_account.html", 400, errors)
        except AccountIsNeeded:
            return _form(pages, request, "delete_account.html", 409, {"form": say("error.account_is_needed")})
        except TooManyAttempts as refusal:
            return _too_many(pages, request, "delete_account.html", refusal)
        response = pages.redirect("/login?deleted=1")
        pages.delete_cookie(request, response, SESSION_COOKIE)
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


def _sign_in_first(pages: Pages, request: Request) -> Response:
    goal = request.url.path + (f"?{request.url.query}" if request.method == "GET" and request.url.query else "")
    return pages.redirect(f"/login?{urlencode({'next': goal})}")
