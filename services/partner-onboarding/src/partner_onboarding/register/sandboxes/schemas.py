"""Bodies about a sandbox."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from shared.sandboxes.domain import SandboxState
from shared.times import Timestamp


class AdvanceBody(BaseModel):
    """By how much the clock moves forward."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"advance": "PT20M"}]})

    advance: Annotated[
        str,
        Field(
            strict=True,
            min_length=1,
            max_length=64,
            description="A duration of ISO 8601 without months and years, between a second and 3650 days.",
        ),
    ]


class SandboxBody(BaseModel):
    """The state of the sandbox."""

    tenant: str
    round: Annotated[int, Field(description="Counts the beginnings, from 1.")]
    ahead_seconds: Annotated[float, Field(description="How far the clock was moved in this round.")]
    clock: Annotated[Timestamp, Field(description="What time it is in the sandbox.")]

    @classmethod
    def of(cls, tenant: str, state: SandboxState, now: datetime) -> "SandboxBody":
        ahead = state.ahead
        return cls(tenant=tenant, round=state.round, ahead_seconds=ahead.total_seconds(), clock=now + ahead)
