"""The audit of the caller's own tenant over HTTP, for operators (`clients:admin`)."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.paging import Cursor, NextCursor
from shared.times import Timestamp

from partner_onboarding.register.audit.domain import Action, ActorKind, Entry
from partner_onboarding.register.audit.service import AUDIT, Audit, AuditPlace

router = APIRouter(prefix="/v1/audit", tags=["audit"], dependencies=document_credentials())

AuditService = Annotated[Audit, needs(Audit)]


class AuditEntryBody(BaseModel):
    """One thing that was done."""

    entry_id: int
    recorded_at: Timestamp
    actor_kind: ActorKind
    actor: Annotated[str, Field(description="A user's or a client's id; empty for one who was not known.")]
    action: Action
    subject: Annotated[str, Field(description="The id of what was acted on.")]
    details: dict[str, Any]
    origin: Annotated[str | None, Field(description="The network that the request came from; null for a command.")]
    request_id: str | None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        return cls(
            entry_id=entry.entry_id,
            recorded_at=entry.recorded_at,
            actor_kind=entry.actor.kind,
            actor=entry.actor.name,
            action=entry.action,
            subject=entry.subject,
            details=dict(entry.details),
            origin=entry.origin,
            request_id=entry.request_id,
        )


class AuditBody(BaseModel):
    """A page of the audit, newest first."""

    entries: list[AuditEntryBody]
    next_cursor: NextCursor


class AuditQuery(BaseModel):
    """Which page of the audit."""

    model_config = ConfigDict(extra="forbid")

    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100


@router.get("", summary="Who did what in the tenant")
async def list_audit(
    audit: AuditService,
    caller: Annotated[Caller, require("clients:admin")],
    asked: Annotated[AuditQuery, Query()],
) -> AuditBody:
    pages = AUDIT.of(caller.tenant)
    found = await audit.newest(caller.tenant, before=pages.place(asked.cursor), limit=asked.limit + 1)
    page = pages.cut(found, asked.limit, lambda entry: AuditPlace(entry.entry_id))
    return AuditBody(entries=[AuditEntryBody.of(entry) for entry in page.items], next_cursor=page.next_cursor)
