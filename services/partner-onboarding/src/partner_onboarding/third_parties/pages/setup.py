"""The page on which a tenant's admin consents to a third party, or refuses (source: integration process)."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Path, Request
from shared.dependencies import needs
from shared.web.form_answers import FormRoute
from shared.web.forms import read_form
from shared.web.languages import LANGUAGES
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.pages.scopes import words_of
from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.clients.domain import CLIENT_ID, Client, ClientNotFound
from partner_onboarding.register.pages.access import TenantAdmin
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.tenants.service import Tenants
from partner_onboarding.register.users.service import Users
from partner_onboarding.settings import Settings
from partner_onboarding.third_parties.consents.domain import (
    Asked,
    Consent,
    RefusedAuthorization,
    UnknownUser,
    asked_of,
    is_state,
    redirect_of,
)
from partner_onboarding.third_parties.consents.service import Consents
from partner_onboarding.third_parties.pages.redirects import leave

#: The form carries the state on, of which every character may take twelve bytes.
_MAX_FORM_BYTES: Final = 65_536
#: The parameters of the link, which the form carries on.
_CARRIED: Final = ("response_type", "redirect_uri", "state", "scope", "code_challenge", "code_challenge_method")


PagesPart = Annotated[Pages, needs(Pages)]
ConsentService = Annotated[Consents, needs(Consents)]
TenantService = Annotated[Tenants, needs(Tenants)]
UserService = Annotated[Users, needs(Users)]
SettingsPart = Annotated[Settings, needs(Settings)]
router = APIRouter(include_in_schema=False, route_class=FormRoute)


@router.api_route("/setup/{client_id}", methods=["GET", "HEAD"])
async def setup_page(
    pages: PagesPart,
    consents: ConsentService,
    tenants: TenantService,
    users: UserService,
    settings: SettingsPart,
    request: Request,
    who: TenantAdmin,
    client_id: Annotated[str, Path()],
) -> Response:
    client, present = await _third_party(consents, who, client_id)
    carried = request.query_params
    try:
        asked = asked_of(client, carried)
    except RefusedAuthorization as refusal:
        return _send_back(client, carried, refusal, _issuer(settings, who))
    own = (await users.get(who.tenant, who.user_id)).profile.email
    chosen = present.subject if present is not None else own
    return await _page(pages, tenants, request, who, client, asked, present, carried, designated=chosen)


@router.post("/setup/{client_id}")
async def decide(
    pages: PagesPart,
    consents: ConsentService,
    tenants: TenantService,
    settings: SettingsPart,
    request: Request,
    who: TenantAdmin,
    client_id: Annotated[str, Path()],
) -> Response:
    issuer = _issuer(settings, who)
    form = await read_form(request, max_bytes=_MAX_FORM_BYTES)
    pages.form_tokens.check(request, form)
    client, present = await _third_party(consents, who, client_id)
    try:
        asked = asked_of(client, form)
    except RefusedAuthorization as refusal:
        return _send_back(client, form, refusal, issuer)
    actor = Actor("tenant_admin", who.user_id)
    if form.get("decision") != "consent":
        await consents.refuse(who.tenant, client_id, asked, by=actor)
        return leave(asked.redirect_uri, error="access_denied", state=asked.state, iss=issuer)
    language = form.get("language", "")
    texts = pages.texts_in(language) if language in LANGUAGES else pages.texts(request)
    try:
        code = await consents.consent(
            who.tenant,
            client_id,
            asked,
            designated=form.get("designated_user", ""),
            words=words_of(texts, asked.scopes),
            language=texts.language,
            by=actor,
        )
    except UnknownUser:
        errors = {"designated_user": pages.texts(request).say("wrong.designated_user")}
        designated = form.get("designated_user", "")[:254]
        return await _page(
            pages, tenants, request, who, client, asked, present, form, designated=designated, errors=errors
        )
    return leave(asked.redirect_uri, code=code, state=asked.state, iss=issuer)


async def _third_party(consents: Consents, who: SignedIn, client_id: str) -> tuple[Client, Consent | None]:
    if not CLIENT_ID.fullmatch(client_id):
        raise ClientNotFound("There is no such integration.")
    return await consents.third_party(who.tenant, client_id)


async def _page(
    pages: Pages,
    tenants: Tenants,
    request: Request,
    who: SignedIn,
    client: Client,
    asked: Asked,
    present: Consent | None,
    carried: Mapping[str, str],
    *,
    designated: str,
    errors: Mapping[str, str] | None = None,
) -> Response:
    texts = pages.texts(request)
    holding = present.scopes if present is not None else ()
    context: dict[str, Any] = {
        "client": client,
        "tenant": await tenants.get(who.tenant),
        "site": urlsplit(asked.redirect_uri).netloc,
        "new_words": words_of(texts, [scope for scope in asked.scopes if scope not in holding]),
        "held_words": words_of(texts, holding),
        "carried": {name: carried[name] for name in _CARRIED if name in carried},
        "designated": designated,
        "errors": errors or {},
    }
    # Both buttons end, over a redirect, at the third party's site.
    return pages.render(request, "setup.html", status=400 if errors else 200, leads_away=True, **context)


def _send_back(client: Client, carried: Mapping[str, str], refusal: RefusedAuthorization, issuer: str) -> Response:
    """Sends an error to the third party. The address is registered; otherwise the refusal would be another one."""
    redirect_uri = redirect_of(client, carried.get("redirect_uri"))
    state = carried.get("state") or None
    if state is not None and not is_state(state):
        # It could not come back as it was sent, and without it the third party cannot tell whose answer this is.
        raise refusal
    return leave(redirect_uri, error=refusal.stable_code, error_description=refusal.message, state=state, iss=issuer)


def _issuer(settings: Settings, who: SignedIn) -> str:
    """The tenant authority, which every authorization response names (RFC 9207)."""
    return f"{settings.public_url}/tenants/{who.tenant}"
