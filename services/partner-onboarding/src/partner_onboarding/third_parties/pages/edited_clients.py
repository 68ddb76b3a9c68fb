"""The operators' pages on which a client is changed, and a client of the platform's own is made.

A change is shown before it is made: the first press shows it, the second one makes it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.identifiers import is_identifier
from shared.web.form_answers import FormRoute
from shared.web.forms import read_fields
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.audit.domain import Actor, Change
from partner_onboarding.register.clients.domain import (
    SCOPES,
    THIRD_PARTY_SCOPES,
    Client,
    ClientChanged,
    MalformedClient,
    Registration,
    VendorIdTaken,
    audited,
    state_of,
)
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.pages.access import Operator
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.third_parties.pages.handovers import PATH as HANDOVERS
from partner_onboarding.third_parties.pages.handovers import HandoverService
from partner_onboarding.third_parties.pages.operated_clients import known_client_id

NEW: Final = "/operations/new-client"
#: The field at which each refusal stands.
_FIELDS: Final = {
    "unknown_scope": "scopes",
    "scope_not_allowed": "scopes",
    "invalid_network": "ip_allow_list",
    "invalid_url": "redirect_uris",
    "malformed_client": "name",
}
PagesPart = Annotated[Pages, needs(Pages)]
ClientService = Annotated[Clients, needs(Clients)]
router = APIRouter(include_in_schema=False, route_class=FormRoute)


@router.api_route("/operations/clients/{client_id}/edit", methods=["GET", "HEAD"])
async def edit_page(
    pages: PagesPart, clients: ClientService, request: Request, who: Operator, client_id: str
) -> Response:
    client = await _editable(clients, who, client_id)
    return _form(pages, request, client, _filled(client.registration))


@router.post("/operations/clients/{client_id}/edit")
async def edit(pages: PagesPart, clients: ClientService, request: Request, who: Operator, client_id: str) -> Response:
    fields = await read_fields(request)
    form = dict(reversed(fields))
    pages.form_tokens.check(request, form)
    client = await _editable(clients, who, client_id)
    filled = _sent(fields)
    try:
        wanted = clients.checked_change(client, **_wanted(filled))
        if form.get("confirmed") != "yes":
            return _form(pages, request, client, filled, shown=Change(audited(client), audited(wanted)).details)
        by = Actor("operator", who.user_id)
        await clients.change(who.tenant, client_id, **_wanted(filled), seen=form.get("seen", ""), by=by)
    except MalformedClient as refusal:
        return _form(pages, request, client, filled, 400, _wrong(pages, request, refusal, filled))
    except ClientChanged:
        client = await _editable(clients, who, client_id)
        errors = {"form": pages.texts(request).say("edit.changed_meanwhile")}
        return _form(pages, request, client, filled, 409, errors)
    return pages.redirect(f"/operations/clients/{client_id}?done=changed")


@router.api_route(NEW, methods=["GET", "HEAD"])
async def new_page(pages: PagesPart, request: Request, who: Operator) -> Response:
    return _form(pages, request, None, _filled(Registration("")))


@router.post(NEW)
async def make(
    pages: PagesPart, clients: ClientService, handovers: HandoverService, request: Request, who: Operator
) -> Response:
    fields = await read_fields(request)
    form = dict(reversed(fields))
    pages.form_tokens.check(request, form)
    filled, say = _sent(fields), pages.texts(request).say
    vendor_id = filled["vendor_id"].strip()
    if vendor_id and not is_identifier(vendor_id):
        return _form(pages, request, None, filled, 400, {"vendor_id": say("edit_wrong.vendor_id")})
    registration = Registration(**_wanted(filled), vendor_id=vendor_id or None)
    try:
        new = await clients.make(
            who.tenant,
            registration,
            takes_over=form.get("takes_over") == "yes",
            by=Actor("operator", who.user_id),
        )
    except MalformedClient as refusal:
        return _form(pages, request, None, filled, 400, _wrong(pages, request, refusal, filled))
    except VendorIdTaken:
        return _form(pages, request, None, filled, 409, {"takes_over": say("edit.vendor_id_taken")})
    handover_id = await handovers.keep(
        who.tenant,
        who.user_id,
        client_id=new.client.client_id,
        name=new.client.registration.name,
        values={"client_id": new.client.client_id, "client_secret": new.client_secret},
    )
    return pages.redirect(f"{HANDOVERS}/{handover_id}")


async def _editable(clients: Clients, who: SignedIn, client_id: str) -> Client:
    """Raises ClientNotFound, ClientDisabled, ClientInternal."""
    return await clients.live(who.tenant, known_client_id(client_id), by=Actor("operator", who.user_id))


def _filled(registration: Registration) -> dict[str, Any]:
    """The form as it is first shown."""
    return {
        "name": registration.name,
        "scopes": list(registration.scopes),
        "landing_url": registration.landing_url or "",
        "redirect_uris": "\n".join(registration.redirect_uris),
        "ip_allow_list": "\n".join(registration.ip_allow_list),
        "vendor_id": registration.vendor_id or "",
    }


def _sent(fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The form as it was sent."""
    form = dict(reversed(fields))
    names = ("name", "landing_url", "redirect_uris", "ip_allow_list", "vendor_id")
    return {name: form.get(name, "") for name in names} | {"scopes": [one for name, one in fields if name == "scopes"]}


def _wanted(filled: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": filled["name"],
        "scopes": tuple(filled["scopes"]),
        "landing_url": filled["landing_url"].strip() or None,
        "redirect_uris": tuple(filled["redirect_uris"].split()),
        "ip_allow_list": tuple(filled["ip_allow_list"].split()),
    }


def _wrong(pages: Pages, request: Request, refusal: MalformedClient, filled: Mapping[str, Any]) -> dict[str, str]:
    field = _FIELDS.get(refusal.stable_code, "form")
    if field == "redirect_uris" and not filled["redirect_uris"].strip():
        field = "landing_url"
    return {field: pages.texts(request).say(f"edit_wrong.{field}")}


def _form(
    pages: Pages,
    request: Request,
    client: Client | None,
    filled: Mapping[str, Any],
    status: int = 200,
    errors: Mapping[str, str] | None = None,
    *,
    shown: Mapping[str, Any] | None = None,
) -> Response:
    """The form; with `shown`, the change that it asks for, to be confirmed.

    Args:
        client: None for a new one.
    """
    is_third_party = client is not None and client.registration.kind == "third_party"
    here = NEW if client is None else f"/operations/clients/{client.client_id}/edit"
    return pages.render(
        request,
        "client_form.html" if shown is None else "client_change.html",
        status=status,
        here=here,
        action=here,
        client=client,
        filled=filled,
        scopes=THIRD_PARTY_SCOPES if is_third_party else SCOPES,
        takes_networks=not is_third_party or bool(filled["ip_allow_list"]),
        seen="" if client is None else state_of(client),
        errors=errors or {},
        shown=shown,
    )
