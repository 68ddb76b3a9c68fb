"""The page on which a tenant's admin sees and ends consents."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request
from shared.dependencies import needs
from shared.web.form_answers import FormRoute
from shared.web.forms import read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.clients.domain import CLIENT_ID
from partner_onboarding.register.pages.access import TenantAdmin
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.tenants.service import Tenants
from partner_onboarding.register.users.domain import Profile, UserNotFound
from partner_onboarding.register.users.service import Users
from partner_onboarding.settings import Settings
from partner_onboarding.third_parties.consents.domain import ConsentNotFound, UnknownUser
from partner_onboarding.third_parties.consents.schemas import receipt
from partner_onboarding.third_parties.consents.service import Consents

_Version = Annotated[int, Path(ge=1, le=2**31 - 1)]
_PAGE = 50


PagesPart = Annotated[Pages, needs(Pages)]
ConsentService = Annotated[Consents, needs(Consents)]
TenantService = Annotated[Tenants, needs(Tenants)]
UserService = Annotated[Users, needs(Users)]
SettingsPart = Annotated[Settings, needs(Settings)]
router = APIRouter(prefix="/consents", include_in_schema=False, route_class=FormRoute)


@router.api_route("", methods=["GET", "HEAD"])
async def overview(
    pages: PagesPart,
    consents: ConsentService,
    tenants: TenantService,
    users: UserService,
    request: Request,
    who: TenantAdmin,
) -> Response:
    after = request.query_params.get("after", "")
    found = await consents.list_consents(who.tenant, after=after if CLIENT_ID.fullmatch(after) else "", limit=_PAGE + 1)
    shown = found[:_PAGE]
    people = {one.consent.subject: await _profile(users, who, one.consent.subject) for one in shown}
    return pages.render(
        request,
        "consents.html",
        tenant=await tenants.get(who.tenant),
        given=shown,
        people=people,
        next_after=shown[-1].client.client_id if len(found) > _PAGE else None,
    )


@router.api_route("/{client_id}", methods=["GET", "HEAD"])
async def one(
    pages: PagesPart, consents: ConsentService, users: UserService, request: Request, who: TenantAdmin, client_id: str
) -> Response:
    return await _page(pages, consents, users, request, who, client_id)


@router.post("/{client_id}/designated-user")
async def redesignate(
    pages: PagesPart, consents: ConsentService, users: UserService, request: Request, who: TenantAdmin, client_id: str
) -> Response:
    form = await read_form(request)
    pages.form_tokens.check(request, form)
    designated = form.get("designated_user", "")
    try:
        await consents.redesignate(who.tenant, _known(client_id), designated, by=_actor(who))
    except UnknownUser:
        errors = {"designated_user": pages.texts(request).say("wrong.designated_user")}
        return await _page(
            pages, consents, users, request, who, client_id, status=400, errors=errors, typed=designated[:254]
        )
    return pages.redirect(f"/consents/{client_id}?done=redesignated")


@router.post("/{client_id}/withdraw")
async def withdraw(
    pages: PagesPart, consents: ConsentService, request: Request, who: TenantAdmin, client_id: str
) -> Response:
    pages.form_tokens.check(request, await read_form(request))
    await consents.withdraw(who.tenant, _known(client_id), by=_actor(who))
    return pages.redirect(f"/consents/{client_id}?done=withdrawn")


@router.api_route("/{client_id}/receipts/{version}", methods=["GET", "HEAD"])
async def download_receipt(
    consents: ConsentService,
    tenants: TenantService,
    settings: SettingsPart,
    who: TenantAdmin,
    client_id: str,
    version: _Version,
) -> Response:
    client, history = await consents.history(who.tenant, _known(client_id))
    found = next((consent for consent in history if consent.version == version), None)
    if found is None:
        raise ConsentNotFound("There is no such receipt.")
    body = receipt(await tenants.get(who.tenant), client, found, settings.public_url)
    name = f"consent-{client_id}-{version}.json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(orjson.dumps(body, option=orjson.OPT_INDENT_2), 200, headers, "application/json")


async def _page(
    pages: Pages,
    consents: Consents,
    users: Users,
    request: Request,
    who: SignedIn,
    client_id: str,
    *,
    status: int = 200,
    **context: Any,
) -> Response:
    client, history = await consents.history(who.tenant, _known(client_id))
    newest = history[0]
    granted = next((consent for consent in history if consent.holds), newest)
    return pages.render(
        request,
        "consent.html",
        status=status,
        here=f"/consents/{client_id}",
        client=client,
        consent=newest,
        scopes=granted.scopes,
        history=history,
        person=await _profile(users, who, newest.subject),
        done=request.query_params.get("done", ""),
        **{"errors": {}, "typed": newest.subject} | context,
    )


async def _profile(users: Users, who: SignedIn, user_id: str) -> Profile | None:
    try:
        return (await users.get(who.tenant, user_id)).profile
    except UserNotFound:
        return None


def _known(client_id: str) -> str:
    if not CLIENT_ID.fullmatch(client_id):
        raise ConsentNotFound("There is no such consent.")
    return client_id


def _actor(who: SignedIn) -> Actor:
    return Actor("tenant_admin", who.user_id)
