"""Integration requests over HTTP: anyone may ask; operators (`clients:admin`) see and decide for their own tenant."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from shared.callers import Caller, Callers, document_credentials, require
from shared.idempotency import Answer, Answers, IdempotencyKey, Transaction
from shared.rate_limits import RateLimit

from partner_onboarding.register.audit.domain import APPLICANT, Actor
from partner_onboarding.third_parties.integrations import schemas
from partner_onboarding.third_parties.integrations.domain import MalformedRequest, State
from partner_onboarding.third_parties.integrations.service import Integrations

_Admin = Annotated[Caller, require("clients:admin")]
_RequestId = Annotated[schemas.RequestId, Path()]
#: No client has this id, so that clients share no idempotency keys with callers without credentials.
_NOBODY = "(anyone)"


def integration_routes(integrations: Integrations, limit: RateLimit, answers: Answers) -> APIRouter:
    """The routes below /v1/integration-requests."""
    routes = APIRouter(
        prefix="/v1/integration-requests", tags=["integration requests"], dependencies=document_credentials()
    )

    @routes.post("", status_code=201, response_model=schemas.RequestSubmitted, summary="Ask for an integration")
    async def submit_integration_request(
        request: Request, key: IdempotencyKey, body: schemas.RequestToSubmit
    ) -> Response:
        """Also without credentials: then `tenant` names the tenant. An unknown tenant gets the same answer as an
        existing one."""
        caller = await _caller(request)
        if caller is not None:
            # As everywhere, a caller cannot name a tenant other than its own.
            if body.tenant not in {None, caller.tenant}:
                raise MalformedRequest("tenant", "The tenant comes from the credentials: leave it out.")
            tenant, who, by = caller.tenant, caller.client_id, Actor("client", caller.client_id)
        else:
            if body.tenant is None:
                raise MalformedRequest("tenant", "Name the tenant whose data it is about.")
            await limit.count(request.app.state.proxies.client_network(request.scope) or "unknown")
            tenant, who, by = body.tenant, _NOBODY, APPLICANT

        async def submit(connection: Transaction) -> Answer:
            receipt = await integrations.submit(connection, tenant, body.wish(), by=by)
            return _answer(201, schemas.submitted(receipt))

        return (await answers.once(tenant, who, key, submit)).response()

    @routes.get("", summary="The tenant's requests")
    async def list_integration_requests(
        caller: _Admin,
        response: Response,
        state: State | None = None,
        cursor: schemas.RequestId | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> schemas.RequestList:
        found = await integrations.newest(caller.tenant, state=state, after=cursor, limit=limit + 1)
        page = found[:limit]
        response.headers["Cache-Control"] = "no-store"
        return schemas.RequestList(
            requests=[schemas.shown(one) for one in page],
            next_cursor=page[-1].request_id if len(found) > limit else None,
        )

    @routes.get("/{request_id}", summary="One request")
    async def get_integration_request(
        caller: _Admin, request_id: _RequestId, response: Response
    ) -> schemas.RequestShown:
        response.headers["Cache-Control"] = "no-store"
        return schemas.shown(await integrations.get(caller.tenant, request_id))

    @routes.post("/{request_id}/approve", response_model=schemas.RequestApproved, summary="Approve and register")
    async def approve_integration_request(caller: _Admin, key: IdempotencyKey, request_id: _RequestId) -> Response:
        """Registers the client and returns, only this once, its secret with id and URLs."""

        async def approve(connection: Transaction) -> Answer:
            return _answer(
                200,
                schemas.approved(await integrations.approve(connection, caller.tenant, request_id, by=_actor(caller))),
            )

        return (await answers.once(caller.tenant, caller.client_id, key, approve)).response()

    @routes.post("/{request_id}/decline", response_model=schemas.RequestShown, summary="Decline, with a reason")
    async def decline_integration_request(
        caller: _Admin, key: IdempotencyKey, request_id: _RequestId, body: schemas.RequestToDecline
    ) -> Response:
        async def decline(connection: Transaction) -> Answer:
            return _answer(
                200,
                schemas.shown(
                    await integrations.decline(connection, caller.tenant, request_id, body.reason, by=_actor(caller))
                ),
            )

        return (await answers.once(caller.tenant, caller.client_id, key, decline)).response()

    return routes


async def _caller(request: Request) -> Caller | None:
    """The caller, who must be an operator's client; None if the request has no credentials."""
    if "authorization" not in request.headers:
        return None
    callers: Callers = request.app.state.callers
    caller = await callers.authenticate(request.scope)
    caller.need("clients:admin")
    return caller


def _actor(caller: Caller) -> Actor:
    return Actor("client", caller.client_id)


def _answer(status: int, body: Any) -> Answer:
    return Answer.of(status, body.model_dump(mode="json"), Cache_Control="no-store")
