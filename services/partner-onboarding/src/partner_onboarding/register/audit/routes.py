"""The audit of the caller's own tenant over HTTP, for operators (`clients:admin`)."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.identifiers import PlainText
from shared.paging import Cursor, NextCursor
from shared.times import Instant, Timestamp
from shared.web.accept import wants_csv

from partner_onboarding.register.audit.domain import Action, ActorKind, Entry, Filter
from partner_onboarding.register.audit.exporting import csv_of
from partner_onboarding.register.audit.service import Audit, audit_pages

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
    """Which entries of the audit, and which page of them."""

    model_config = ConfigDict(extra="forbid")

    q: Annotated[
        PlainText | None,
        Field(description="Part of the actor's id, of the subject, the network or the request id, in any case."),
    ] = None
    action: Action | None = None
    actor_kind: ActorKind | None = None
    since: Annotated[Instant | None, Field(description="The earliest time.")] = None
    until: Annotated[Instant | None, Field(description="The first time that is too late.")] = None
    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100


@router.get(
    "",
    summary="Who did what in the tenant",
    response_model=AuditBody,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def list_audit(
    audit: AuditService,
    caller: Annotated[Caller, require("clients:admin")],
    asked: Annotated[AuditQuery, Query()],
    request: Request,
) -> AuditBody | Response:
    """Newest first. With a filter a page may be short and lead on. With `Accept: text/csv` all of it, without pages."""
    wanted = Filter(asked.q or None, asked.action, asked.actor_kind, asked.since, asked.until)
    place = audit_pages(caller.tenant, wanted).place(asked.cursor)
    if wants_csv(request):
        return await csv_of(audit, caller.tenant, wanted)
    page = await audit.newest(caller.tenant, wanted, before=place, limit=asked.limit)
    return AuditBody(entries=[AuditEntryBody.of(entry) for entry in page.items], next_cursor=page.next_cursor)
