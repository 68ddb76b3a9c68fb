"""The page that shows a new secret to the operator who made it."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from shared.dependencies import needs
from shared.web.form_answers import FormRoute
from shared.web.forms import read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.pages.access import Operator
from partner_onboarding.third_parties.handovers.service import Handovers

PATH = "/operations/handovers"
PagesPart = Annotated[Pages, needs(Pages)]
HandoverService = Annotated[Handovers, needs(Handovers)]
HandoverId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{22}$")]
router = APIRouter(prefix=PATH, include_in_schema=False, route_class=FormRoute)


@router.api_route("/{handover_id}", methods=["GET", "HEAD"])
async def show(
    pages: PagesPart, handovers: HandoverService, request: Request, who: Operator, handover_id: HandoverId
) -> Response:
    handover = await handovers.find(who.tenant, who.user_id, handover_id)
    return pages.render(request, "handover.html", handover=handover, action=f"{PATH}/{handover_id}/done")


@router.post("/{handover_id}/done")
async def done(
    pages: PagesPart, handovers: HandoverService, request: Request, who: Operator, handover_id: HandoverId
) -> Response:
    pages.form_tokens.check(request, await read_form(request))
    handover = await handovers.find(who.tenant, who.user_id, handover_id)
    await handovers.end(who.tenant, who.user_id, handover_id)
    return pages.redirect(f"/operations/clients/{handover.client_id}")
