"""Integration requests over HTTP: anyone may ask; operators (`clients:admin`) see and decide for their own tenant."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel
from shared.callers import Caller, Callers, document_credentials, require
from shared.dependencies import needs
from shared.idempotency import Answer, IdempotencyKey
from shared.problems import document_refusals
from shared.web.languages import accepted_language

from partner_onboarding.register.audit.domain import APPLICANT, Actor
from partner_onboarding.register.clients.domain import ExceedsOwnRights
from partner_onboarding.third_parties.integrations.applications import Applications
from partner_onboarding.third_parties.integrations.domain import (
    AlreadyDecided,
    CompanyUnknown,
    MalformedRequest,
    RequestNotFound,
)
from partner_onboarding.third_parties.integrations.schemas import (
    ApprovedRequestBody,
    DeclineBody,
    RequestBody,
    RequestId,
    RequestsBody,
    RequestsQuery,
    SubmittedRequestBody,
    WishBody,
)
from partner_onboarding.third_parties.integrations.service import REQUESTS, Integrations, RequestPlace

router = APIRouter(
    prefix="/v1/integration-requests", tags=["integration requests"], dependencies=document_credentials()
)

ApplicationService = Annotated[Applications, needs(Applications)]
IntegrationService = Annotated[Integrations, needs(Integrations)]
Admin = Annotated[Caller, require("clients:admin")]
RequestIdInPath = Annotated[RequestId, Path()]


@router.post(
    "",
    status_code=201,
    response_model=SubmittedRequestBody,
    summary="Ask for an integration",
    responses=document_refusals([MalformedRequest]),
)
async def submit_integration_request(
    applications: ApplicationService,
    callers: Annotated[Callers, needs(Callers)],
    request: Request,
    key: IdempotencyKey,
    body: WishBody,
) -> Response:
    """Without credentials, too: `tenant` then names whose data it is about. A tenant that does not exist gets
    the same answer as one that does."""
    caller = await _caller(callers, request)
    if caller is not None and body.tenant not in {None, caller.tenant}:
        # As for every other call: a caller can name no tenant but its own.
        raise MalformedRequest("tenant", "The tenant comes from the credentials: leave it out.")
    tenant = body.tenant if caller is None else caller.tenant
    if tenant is None:
        raise MalformedRequest("tenant", "Name the tenant whose data it is about.")
    answer = await applications.submit_once(
        tenant,
        body.wish(accepted_language(request.headers.get("accept-language")) or "en"),
        by=APPLICANT if caller is None else _actor(caller),
        network=request.app.state.proxies.client_network(request.scope),
        key=key,
        shape=lambda receipt: _answer(201, SubmittedRequestBody.of(receipt)),
    )
    return answer.response()


@router.get("", summary="The tenant's requests")
async def list_integration_requests(
    integrations: IntegrationService, caller: Admin, response: Response, asked: Annotated[RequestsQuery, Query()]
) -> RequestsBody:
    pages = REQUESTS.of(caller.tenant, state=asked.state)
    found = await integrations.newest(
        caller.tenant, state=asked.state, after=pages.place(asked.cursor), limit=asked.limit + 1
    )
    page = pages.cut(found, asked.limit, RequestPlace.of)
    response.headers["Cache-Control"] = "no-store"
    return RequestsBody(requests=[RequestBody.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/{request_id}", summary="One request", responses=document_refusals([RequestNotFound]))
async def get_integration_request(
    integrations: IntegrationService, caller: Admin, request_id: RequestIdInPath, response: Response
) -> RequestBody:
    response.headers["Cache-Control"] = "no-store"
    return RequestBody.of(await integrations.get(caller.tenant, request_id))


@router.post(
    "/{request_id}/approve",
    response_model=ApprovedRequestBody,
    summary="Approve and register",
    responses=document_refusals([RequestNotFound, AlreadyDecided, CompanyUnknown, ExceedsOwnRights]),
)
async def approve_integration_request(
    integrations: IntegrationService, caller: Admin, key: IdempotencyKey, request_id: RequestIdInPath
) -> Response:
    """Registers the client and hands over, this once, its secret and the other three things it needs."""
    answer = await integrations.approve_once(
        caller.tenant,
        request_id,
        by=_actor(caller),
        key=key,
        shape=lambda approved: _answer(200, ApprovedRequestBody.of_approved(approved)),
    )
    return answer.response()


@router.post(
    "/{request_id}/decline",
    response_model=RequestBody,
    summary="Decline, with a reason",
    responses=document_refusals([MalformedRequest, RequestNotFound, AlreadyDecided]),
)
async def decline_integration_request(
    integrations: IntegrationService, caller: Admin, key: IdempotencyKey, request_id: RequestIdInPath, body: DeclineBody
) -> Response:
    answer = await integrations.decline_once(
        caller.tenant,
        request_id,
        body.reason,
        by=_actor(caller),
        key=key,
        shape=lambda declined: _answer(200, RequestBody.of(declined)),
    )
    return answer.response()


async def _caller(callers: Callers, request: Request) -> Caller | None:
    """Who calls with credentials, which then have to be right and an operator's; None for one without."""
    if "authorization" not in request.headers:
        return None
    caller = await callers.authenticate(request.scope)
    caller.need("clients:admin")
    return caller


def _actor(caller: Caller) -> Actor:
    return Actor("client", caller.client_id)


def _answer(status: int, body: BaseModel) -> Answer:
    return Answer.of(status, body.model_dump(mode="json"), Cache_Control="no-store")
