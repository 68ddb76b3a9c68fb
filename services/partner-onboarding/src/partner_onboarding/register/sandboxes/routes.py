"""`/v1/sandbox`: the clock and the beginning of a sandbox tenant. For every other tenant there is no such path."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.idempotency import Answer, IdempotencyKey
from shared.problems import document_refusals
from shared.sandboxes.domain import SandboxState

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.sandboxes.domain import MalformedAdvance, NoSandbox, read_advance
from partner_onboarding.register.sandboxes.schemas import AdvanceBody, SandboxBody
from partner_onboarding.register.sandboxes.service import SandboxTenants

router = APIRouter(prefix="/v1/sandbox", tags=["sandbox"], dependencies=document_credentials())

Service = Annotated[SandboxTenants, needs(SandboxTenants)]


async def _owner(sandboxes: Service, caller: Annotated[Caller, require("points:admin")]) -> Caller:
    await sandboxes.need_sandbox(caller.tenant)
    return caller


Owner = Annotated[Caller, Depends(_owner)]


@router.post(
    "/clock",
    summary="Move the clock forward",
    response_model=SandboxBody,
    responses=document_refusals([MalformedAdvance, NoSandbox]),
)
async def move_clock(sandboxes: Service, caller: Owner, key: IdempotencyKey, body: AdvanceBody) -> Response:
    """Holds, redirect tokens, campaign tokens and codes that the tenant has now end earlier by `advance`; what the
    advance ends, ends at this moment. New ones last as long as ever."""
    amount = read_advance(body.advance)
    shape = partial(_shape, caller.tenant)
    answer = await sandboxes.move_clock(caller.tenant, amount, by=_actor(caller), key=key, shape=shape)
    return answer.response()


@router.post("/reset", summary="Begin anew", response_model=SandboxBody, responses=document_refusals([NoSandbox]))
async def begin_anew(sandboxes: Service, caller: Owner, key: IdempotencyKey) -> Response:
    """Accounts, transactions, tokens, codes, links, people who have registered, and events are deleted; the test users
    have their starting points again. Clients, secrets, settings, endpoints and the audit stay."""
    shape = partial(_shape, caller.tenant)
    answer = await sandboxes.begin_anew(caller.tenant, by=_actor(caller), key=key, shape=shape)
    return answer.response()


def _actor(caller: Caller) -> Actor:
    return Actor("client", caller.client_id)


def _shape(tenant: str, state: SandboxState, now: datetime) -> Answer:
    return Answer.of(200, SandboxBody.of(tenant, state, now).model_dump(mode="json"))
