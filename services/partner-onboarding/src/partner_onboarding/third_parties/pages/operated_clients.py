"""The operators' pages about clients: rotate a secret with an overlap, end one, take a client out of use."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from shared.db import Database
from shared.errors import Malformed
from starlette.responses import Response

from partner_onboarding.pages.forms import read_form
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.clients.domain import CLIENT_ID, ClientNotFound
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.pages.access import signed_in_as
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.sessions.service import Sessions

_N = Annotated[int, Path(ge=1, le=2**31 - 1)]
_PAGE: Final = 50
#: The overlaps (seconds) that the page offers.
OVERLAPS: Final = (0, 3600, 86_400, 604_800, 2_592_000)
_DAY: Final = 86_400


def operated_client_routes(pages: Pages, sessions: Sessions, clients: Clients, database: Database) -> APIRouter:
    """The pages below /operations/clients."""
    routes = APIRouter(prefix="/operations/clients", include_in_schema=False)
    operator = Annotated[SignedIn, signed_in_as(sessions, "operator")]

    @routes.api_route("", methods=["GET", "HEAD"])
    async def list_clients(request: Request, who: operator) -> Response:
        after = request.query_params.get("after", "")
        known = after if CLIENT_ID.fullmatch(after) else ""
        found = await clients.list_clients(who.tenant, after=known, limit=_PAGE + 1)
        shown = found[:_PAGE]
        more = len(found) > _PAGE
        return pages.render(
            request, "clients.html", listed=shown, next_after=shown[-1].client.client_id if more else None
        )

    @routes.api_route("/{client_id}", methods=["GET", "HEAD"])
    async def one_client(request: Request, who: operator, client_id: str) -> Response:
        listed = await clients.get(who.tenant, _known(client_id))
        return pages.render(
            request,
            "client.html",
            here=f"/operations/clients/{client_id}",
            client=listed.client,
            secrets=listed.secrets,
            now=await clients.now(),
            overlaps=OVERLAPS,
            usual_overlap=_DAY,
            done=request.query_params.get("done", ""),
        )

    @routes.post("/{client_id}/secrets")
    async def rotate(request: Request, who: operator, client_id: str) -> Response:
        form = await read_form(request)
        pages.form_tokens.check(request, form)
        overlap = next((one for one in OVERLAPS if str(one) == form.get("overlap_seconds")), None)
        if overlap is None:
            raise Malformed("Choose for how long the present secret stays good.")
        async with database.transaction() as connection:
            new = await clients.rotate_secret(
                connection, who.tenant, _known(client_id), overlap_seconds=overlap, by=_actor(who)
            )
        return pages.render(
            request,
            "handover.html",
            here=f"/operations/clients/{client_id}",
            name=new.client.registration.name,
            values={"client_id": client_id, "client_secret": new.client_secret},
            back=f"/operations/clients/{client_id}",
        )

    @routes.post("/{client_id}/secrets/{n}/end")
    async def end_secret(request: Request, who: operator, client_id: str, n: _N) -> Response:
        pages.form_tokens.check(request, await read_form(request))
        await clients.revoke_secret(who.tenant, _known(client_id), n, by=_actor(who))
        return pages.redirect(f"/operations/clients/{client_id}?done=ended")

    @routes.post("/{client_id}/disable")
    async def disable(request: Request, who: operator, client_id: str) -> Response:
        pages.form_tokens.check(request, await read_form(request))
        await clients.disable(who.tenant, _known(client_id), by=_actor(who))
        return pages.redirect(f"/operations/clients/{client_id}?done=disabled")

    return routes


def _known(client_id: str) -> str:
    if not CLIENT_ID.fullmatch(client_id):
        raise ClientNotFound("There is no such client.")
    return client_id


def _actor(who: SignedIn) -> Actor:
    return Actor("operator", who.user_id)
