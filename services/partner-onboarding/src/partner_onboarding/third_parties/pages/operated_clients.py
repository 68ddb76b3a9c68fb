"""The operators' pages about clients: rotate a secret with an overlap, end one, take a client out of use."""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from shared.dependencies import needs
from shared.errors import Malformed
from shared.web.form_answers import FormRoute
from shared.web.forms import read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.clients.domain import CLIENT_ID, ClientNotFound, FormerSecretLive, is_platforms_own
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.pages.access import Operator
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.third_parties.pages.handovers import PATH as HANDOVERS
from partner_onboarding.third_parties.pages.handovers import HandoverService

_N = Annotated[int, Path(ge=1, le=2**31 - 1)]
_PAGE: Final = 50
#: The overlaps (seconds) that the page offers.
OVERLAPS: Final = (0, 3600, 86_400, 604_800, 2_592_000)
_DAY: Final = 86_400


PagesPart = Annotated[Pages, needs(Pages)]
ClientService = Annotated[Clients, needs(Clients)]
router = APIRouter(prefix="/operations/clients", include_in_schema=False, route_class=FormRoute)


@router.api_route("", methods=["GET", "HEAD"])
async def list_clients(pages: PagesPart, clients: ClientService, request: Request, who: Operator) -> Response:
    after = request.query_params.get("after", "")
    known = after if CLIENT_ID.fullmatch(after) else ""
    found = await clients.list_clients(who.tenant, after=known, limit=_PAGE + 1)
    shown = found[:_PAGE]
    more = len(found) > _PAGE
    return pages.render(request, "clients.html", listed=shown, next_after=shown[-1].client.client_id if more else None)


@router.api_route("/{client_id}", methods=["GET", "HEAD"])
async def one_client(
    pages: PagesPart, clients: ClientService, request: Request, who: Operator, client_id: str
) -> Response:
    return await _client_page(pages, clients, request, who, client_id)


@router.post("/{client_id}/secrets")
async def rotate(
    pages: PagesPart,
    clients: ClientService,
    handovers: HandoverService,
    request: Request,
    who: Operator,
    client_id: str,
) -> Response:
    form = await read_form(request)
    pages.form_tokens.check(request, form)
    overlap = next((one for one in OVERLAPS if str(one) == form.get("overlap_seconds")), None)
    if overlap is None:
        raise Malformed("Choose for how long the present secret stays valid.")
    end_former = form.get("end_former") == "yes"
    try:
        new = await clients.rotate_secret(
            who.tenant, known_client_id(client_id), overlap_seconds=overlap, end_former=end_former, by=_actor(who)
        )
    except FormerSecretLive:
        errors = {"end_former": pages.texts(request).say("clients.former_live")}
        return await _client_page(pages, clients, request, who, client_id, status=409, errors=errors)
    handover_id = await handovers.keep(
        who.tenant,
        who.user_id,
        client_id=client_id,
        name=new.client.registration.name,
        values={"client_id": client_id, "client_secret": new.client_secret},
    )
    return pages.redirect(f"{HANDOVERS}/{handover_id}")


@router.post("/{client_id}/secrets/{n}/end")
async def end_secret(
    pages: PagesPart, clients: ClientService, request: Request, who: Operator, client_id: str, n: _N
) -> Response:
    pages.form_tokens.check(request, await read_form(request))
    await clients.revoke_secret(who.tenant, known_client_id(client_id), n, by=_actor(who))
    return pages.redirect(f"/operations/clients/{client_id}?done=ended")


@router.post("/{client_id}/disable")
async def disable(
    pages: PagesPart, clients: ClientService, request: Request, who: Operator, client_id: str
) -> Response:
    pages.form_tokens.check(request, await read_form(request))
    await clients.disable(who.tenant, known_client_id(client_id), by=_actor(who))
    return pages.redirect(f"/operations/clients/{client_id}?done=disabled")


async def _client_page(
    pages: Pages,
    clients: Clients,
    request: Request,
    who: SignedIn,
    client_id: str,
    *,
    status: int = 200,
    errors: Mapping[str, str] | None = None,
) -> Response:
    listed, now = await clients.get(who.tenant, known_client_id(client_id)), await clients.now()
    former = next((secret for secret in listed.secrets if secret.is_live(now) and secret.expires_at is not None), None)
    return pages.render(
        request,
        "client.html",
        status=status,
        here=f"/operations/clients/{client_id}",
        client=listed.client,
        secrets=listed.secrets,
        former=former,
        now=now,
        overlaps=OVERLAPS,
        usual_overlap=_DAY,
        is_internal=is_platforms_own(who.tenant, client_id),
        done=request.query_params.get("done", ""),
        errors=errors or {},
    )


def known_client_id(client_id: str) -> str:
    """Raises ClientNotFound for what is no id of a client."""
    if not CLIENT_ID.fullmatch(client_id):
        raise ClientNotFound("There is no such client.")
    return client_id


def _actor(who: SignedIn) -> Actor:
    return Actor("operator", who.user_id)
