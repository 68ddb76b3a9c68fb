"""What administrators did in the other services: each tells it, and it is written down here once."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field
from shared.callers import require_service
from shared.db import Database
from shared.dependencies import needs
from shared.errors import Forbidden
from shared.idempotency import Answer, Answers, RequestKey
from shared.identifiers import Identifier, Tenant
from shared.times import Instant, iso
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store
from partner_onboarding.register.audit.domain import SHELL, Actor, Change, ForeignAction
from partner_onboarding.register.notices.service import Notices
from partner_onboarding.register.tenants import store as tenants_store
from partner_onboarding.register.tenants.domain import TenantNotFound

#: What each service may tell.
OF_SERVICE: Final[Mapping[str, tuple[ForeignAction, ...]]] = {
    "points-ledger": ("account_opened", "account_closed", "hold_time_changed"),
    "sso-issuer": (
        *("vendor_changed", "vendor_secret_added", "signing_keys_rotated"),
        *("receipt_keys_rotated", "receipt_keys_taken_back"),
    ),
    "token-service": (
        *("landing_page_changed", "landing_page_removed"),
        *("token_changed", "token_revoked", "campaign_revoked", "token_keys_rotated"),
    ),
}
_Values = Annotated[dict[str, Any] | None, Field(max_length=50)]


class ActBody(BaseModel):
    """An act; see `shared.acts`."""

    act_id: Identifier
    client_id: Identifier | None
    action: ForeignAction
    subject: Identifier
    before: _Values
    after: _Values
    details: Annotated[dict[str, Any], Field(max_length=50)]
    origin: Annotated[str | None, Field(max_length=100)]
    request_id: Annotated[str | None, Field(max_length=200)]
    acted_at: Instant


class ForeignActs:
    """Writes down what was done elsewhere."""

    def __init__(self, database: Database, answers: Answers, notices: Notices) -> None:
        self._database = database
        self._answers = answers
        self._notices = notices

    async def write_once(self, service: str, tenant: str, act: ActBody) -> Answer:
        """Writes an act into the audit; a repeat changes nothing. Operators hear of a new secret by mail.

        Raises:
            TenantNotFound
        """

        async def write(connection: AsyncConnection) -> Answer:
            if await tenants_store.find_tenant(connection, tenant) is None:
                raise TenantNotFound("There is no such tenant.")
            actor = SHELL if act.client_id is None else Actor("client", act.client_id)
            await store.add(
                connection,
                tenant,
                actor,
                act.action,
                act.subject,
                act.details | {"acted_at": iso(act.acted_at)},
                change=Change(act.before, act.after),
                origin=act.origin,
                request_id=act.request_id,
            )
            if act.action == "vendor_secret_added":
                facts = {
                    "vendor": str(act.details.get("vendor", act.subject)),
                    "query": urlencode({"q": act.subject}),
                    "actor_kind": actor.kind,
                    "actor": actor.name,
                }
                await self._notices.tell_operators(connection, tenant, "vendor_secret_made", facts, but=None)
            return Answer.of(200, {"act_id": act.act_id})

        key = RequestKey(act.act_id, hashlib.sha256(act.act_id.encode()).digest())
        return await self._answers.once(tenant, f"service:{service}", key, write)


router = APIRouter(prefix="/internal", include_in_schema=False)


@router.post("/tenants/{tenant}/acts")
async def take_act(
    acts: Annotated[ForeignActs, needs(ForeignActs)],
    tenant: Annotated[Tenant, Path()],
    body: ActBody,
    service: Annotated[str, require_service(*OF_SERVICE)],
) -> Response:
    if body.action not in OF_SERVICE[service]:
        raise Forbidden("This is no act of this service.")
    return (await acts.write_once(service, tenant, body)).response()
