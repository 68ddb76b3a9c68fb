"""`/internal/sandboxes`: the register of tenants declares in which state a sandbox is to be."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from shared.callers import require_service
from shared.dependencies import needs
from shared.identifiers import Identifier, Tenant
from shared.sandboxes.domain import SandboxState, SandboxUser
from shared.sandboxes.service import Sandboxes

router = APIRouter(prefix="/internal/sandboxes", include_in_schema=False)


class SandboxUserBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user_id: Identifier
    points: Annotated[int, Field(ge=0)]


class SandboxBody(BaseModel):
    """`ahead_ms`: how far the clock was moved in this round."""

    model_config = ConfigDict(extra="forbid")

    round: Annotated[int, Field(ge=1)]
    ahead_ms: Annotated[int, Field(ge=0)]
    users: Annotated[list[SandboxUserBody], Field(max_length=100)]


@router.post("/{tenant}")
async def declare(
    sandboxes: Annotated[Sandboxes, needs(Sandboxes)],
    tenant: Annotated[Tenant, Path()],
    body: SandboxBody,
    _service_name: Annotated[str, require_service("partner-onboarding")],
) -> SandboxBody:
    """Answers when the service is there. A repeat changes nothing."""
    state = SandboxState(body.round, timedelta(milliseconds=body.ahead_ms))
    await sandboxes.bring_to(tenant, state, [SandboxUser(user.user_id, user.points) for user in body.users])
    return body
