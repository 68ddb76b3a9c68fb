"""Bodies of events and endpoints."""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.events.domain import DeliveryState
from shared.identifiers import PlainText
from shared.paging import NextCursor
from shared.times import Instant, Timestamp

_LONGEST_OVERLAP_SECONDS = int(timedelta(days=7).total_seconds())
_EXAMPLE: dict[str, Any] = {
    "id": "evt_2f1c7a9be04d5c6f7a8b9c0d",
    "type": "points.expired",
    "timestamp": "2026-11-21T08:15:30.123Z",
    "data": {"transactionid": "order-4711", "userid": "demo-user-1", "state": "expired", "points": 250},
}

EventType = Annotated[str, Field(strict=True, min_length=1, max_length=64)]
Url = Annotated[str, Field(strict=True, min_length=1, max_length=2000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EventsQuery(_Body):
    """How a reader follows the events."""

    after: Annotated[
        str | None,
        Field(
            max_length=64,
            description="`next_after` of the answer before, or the id of an event. Left out: from the oldest kept.",
        ),
    ] = None
    type: Annotated[str | None, Field(max_length=500, description="One type, or several with commas between them.")] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class EventBody(BaseModel):
    """Something that happened."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: Annotated[str, Field(description="The same in the list and in every delivery: ignore one that you know.")]
    type: str
    timestamp: Timestamp
    data: dict[str, Any]


class EventsBody(BaseModel):
    """Events, oldest first."""

    events: list[EventBody]
    next_after: Annotated[str, Field(description="Keep it and ask with it again; it is never null.")]


class NewEndpointBody(_Body):
    """The address and the types of a new endpoint."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"url": "https://shop.example/points-events"}]})

    url: Url
    types: Annotated[list[EventType] | None, Field(max_length=64, description="Left out: all types.")] = None
    description: PlainText = ""


class ChangedEndpointBody(_Body):
    """What is to change; what is left out stays."""

    url: Url | None = None
    types: Annotated[list[EventType] | None, Field(max_length=64)] = None
    description: PlainText | None = None
    enabled: Annotated[bool, Field(strict=True)] | None = None


class EndpointBody(BaseModel):
    """An endpoint."""

    endpoint_id: str
    url: str
    types: list[str]
    description: str
    state: Literal["enabled", "disabled"]
    disabled_because: Annotated[
        str | None,
        Field(
            description="`receiver_gone` (410), `failing_for_five_days`, `disabled_by_client`, `disabled_by_operator`."
        ),
    ]
    created_at: Timestamp


class MadeEndpointBody(EndpointBody):
    """A new endpoint, with the secret that signs what is sent to it."""

    secret: Annotated[str, Field(description="Shown this once. Standard Webhooks: `whsec_` and base64.")]


class EndpointsBody(BaseModel):
    """The caller's endpoints, oldest first."""

    endpoints: list[EndpointBody]
    next_cursor: NextCursor


class OverlapBody(_Body):
    """How long the present secret goes on signing beside the new one."""

    overlap_seconds: Annotated[int, Field(strict=True, ge=0, le=_LONGEST_OVERLAP_SECONDS)] = 86_400


class EndpointSecretBody(BaseModel):
    """A new secret."""

    endpoint_id: str
    secret: Annotated[str, Field(description="Shown this once.")]
    former_secret_expires_at: Timestamp


class TestOutcomeBody(BaseModel):
    """The outcome of a test event."""

    delivered: bool
    status: Annotated[int | None, Field(description="Null: there was no answer.")]
    milliseconds: int
    error: Annotated[str | None, Field(description="Why there was none, such as `timeout`.")]


class DeliveriesQuery(_Body):
    """Which deliveries are listed."""

    state: DeliveryState | None = None
    cursor: Annotated[str | None, Field(description="`next_cursor` of the page before, unchanged.")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class DeliveryBody(BaseModel):
    """An event on its way to an endpoint, and its last attempt."""

    event_id: str
    type: str
    state: DeliveryState
    attempts: int
    status: Annotated[int | None, Field(description="HTTP status of the last attempt; null without an answer.")]
    error: str | None
    attempted_at: Timestamp | None
    next_attempt_at: Timestamp | None


class DeliveriesBody(BaseModel):
    """A page of deliveries, newest event first."""

    deliveries: list[DeliveryBody]
    next_cursor: NextCursor


class ReplayBody(_Body):
    """Which events are sent again: one, or all since an instant."""

    event_id: Annotated[str | None, Field(max_length=64)] = None
    since: Instant | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.event_id is None) == (self.since is None):
            raise ValueError("name either event_id or since")
        return self


class ReplayedBody(BaseModel):
    """How many deliveries wait to be sent again."""

    waiting: int
