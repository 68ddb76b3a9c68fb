"""The audit of the caller's own tenant over HTTP, for operators (`clients:admin`)."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from shared.callers import Caller, document_credentials, require
from shared.times import Timestamp

from partner_onboarding.register.audit.domain import Action, ActorKind
from partner_onboarding.register.audit.service import Audit


class EntryShown(BaseModel):
    """One act."""

    entry_id: int
    recorded_at: Timestamp
    actor_kind: ActorKind
    actor: Annotated[str, Field(description="A user's or a client's id; empty for one who was not known.")]
    action: Action
    subject: Annotated[str, Field(description="The id of what was acted on.")]
    details: dict[str, Any]


class AuditPage(BaseModel):
    """A page of the audit, newest first; `next_cursor` leads to older entries."""

    entries: list[EntryShown]
    next_cursor: str | None


def audit_routes(audit: Audit) -> APIRouter:
    """/v1/audit."""
    routes = APIRouter(prefix="/v1/audit", tags=["audit"], dependencies=document_credentials())

    @routes.get("", summary="Who did what in the tenant")
    async def list_audit(
        caller: Annotated[Caller, require("clients:admin")],
        cursor: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> AuditPage:
        found = await audit.newest(caller.tenant, before=cursor, limit=limit + 1)
        page = found[:limit]
        return AuditPage(
            entries=[
                EntryShown(
                    entry_id=entry.entry_id,
                    recorded_at=entry.recorded_at,
                    actor_kind=entry.actor.kind,
                    actor=entry.actor.name,
                    action=entry.action,
                    subject=entry.subject,
                    details=dict(entry.details),
                )
                for entry in page
            ],
            next_cursor=str(page[-1].entry_id) if len(found) > limit else None,
        )

    return routes
