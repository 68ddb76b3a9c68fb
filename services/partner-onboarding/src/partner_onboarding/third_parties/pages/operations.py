"""The operators' pages about integration requests."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from shared.dependencies import needs
from shared.web.form_answers import FormRoute
from shared.web.forms import read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.pages.access import Operator
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.third_parties.integrations.domain import STATES, AlreadyDecided, MalformedRequest
from partner_onboarding.third_parties.integrations.schemas import RequestId
from partner_onboarding.third_parties.integrations.service import REQUESTS, Integrations, RequestPlace
from partner_onboarding.third_parties.pages.handovers import PATH as HANDOVERS
from partner_onboarding.third_parties.pages.handovers import HandoverService

_RequestId = Annotated[RequestId, Path()]
_PAGE: Final = 50


PagesPart = Annotated[Pages, needs(Pages)]
IntegrationService = Annotated[Integrations, needs(Integrations)]
router = APIRouter(prefix="/operations", include_in_schema=False, route_class=FormRoute)


@router.api_route("", methods=["GET", "HEAD"])
async def list_requests(
    pages: PagesPart, integrations: IntegrationService, request: Request, who: Operator
) -> Response:
    wanted = request.query_params.get("state", "submitted")
    state = next((one for one in STATES if one == wanted), None)
    listed = REQUESTS.of(who.tenant, state=state)
    place = listed.place_or_top(request.query_params.get("after"))
    found = await integrations.newest(who.tenant, state=state, after=place, limit=_PAGE + 1)
    page = listed.cut(found, _PAGE, RequestPlace.of)
    return pages.render(
        request,
        "operations.html",
        requests=page.items,
        state=state,
        states=STATES,
        counts=await integrations.count_by_state(who.tenant),
        next_after=page.next_cursor,
    )


@router.api_route("/requests/{request_id}", methods=["GET", "HEAD"])
async def one_request(
    pages: PagesPart, integrations: IntegrationService, request: Request, who: Operator, request_id: _RequestId
) -> Response:
    return await _request_page(pages, integrations, request, who, request_id)


@router.post("/requests/{request_id}/approve")
async def approve(
    pages: PagesPart,
    integrations: IntegrationService,
    handovers: HandoverService,
    request: Request,
    who: Operator,
    request_id: _RequestId,
) -> Response:
    pages.form_tokens.check(request, await read_form(request))
    try:
        approved = await integrations.approve(who.tenant, request_id, by=_actor(who))
    except AlreadyDecided:
        # A colleague was faster and has seen the secret.
        return await _request_page(pages, integrations, request, who, request_id, status=409)
    handover_id = await handovers.keep(
        who.tenant,
        who.user_id,
        client_id=approved.client_id,
        name=approved.request.wish.particulars.name,
        values={
            "client_id": approved.client_id,
            "client_secret": approved.client_secret,
            "tenant_authority_url": approved.tenant_authority_url,
            "cloud_api_url": approved.cloud_api_url,
        },
    )
    return pages.redirect(f"{HANDOVERS}/{handover_id}")


@router.post("/requests/{request_id}/decline")
async def decline(
    pages: PagesPart, integrations: IntegrationService, request: Request, who: Operator, request_id: _RequestId
) -> Response:
    form = await read_form(request)
    pages.form_tokens.check(request, form)
    reason = form.get("reason", "")
    try:
        await integrations.decline(who.tenant, request_id, reason, by=_actor(who))
    except AlreadyDecided:
        return await _request_page(pages, integrations, request, who, request_id, status=409)
    except MalformedRequest:
        errors = {"reason": pages.texts(request).say("wrong.reason")}
        return await _request_page(
            pages, integrations, request, who, request_id, status=400, errors=errors, reason=reason
        )
    return pages.redirect(f"/operations/requests/{request_id}?done=declined")


async def _request_page(
    pages: Pages,
    integrations: Integrations,
    request: Request,
    who: SignedIn,
    request_id: str,
    *,
    status: int = 200,
    **context: Any,
) -> Response:
    return pages.render(
        request,
        "operations_request.html",
        status=status,
        here=f"/operations/requests/{request_id}",
        asked=await integrations.get(who.tenant, request_id),
        done=request.query_params.get("done", ""),
        is_decided_already=status == 409,
        **{"errors": {}, "reason": ""} | context,
    )


def _actor(who: SignedIn) -> Actor:
    return Actor("operator", who.user_id)
