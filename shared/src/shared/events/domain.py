"""Events, their readers, and the pauses between attempts to deliver one.

Source of the rules: the contract's section on events; delivery follows Standard Webhooks.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from shared.callers import Caller, InsufficientScope
from shared.errors import Conflict, Malformed, NotFound

#: How long a service hands out an event.
KEPT_FOR: Final = timedelta(days=30)
#: The pauses after each failed attempt; the tenth failure is the last.
PAUSES: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 60, 300, 1800, 7200, 21_600, 43_200, 86_400, 86_400)
)
#: After so long with nothing but failures an endpoint is disabled.
DISABLED_AFTER: Final = timedelta(days=5)
#: Sent by hand or by the service itself, in every topic.
OWN_TYPES: Final = ("endpoint.test", "endpoint.disabled")
#: Endpoints of one client in one topic.
MOST_ENDPOINTS: Final = 20

_EVENT_ID: Final = re.compile("evt_([0-9a-f]{24})(?:_[1-9][0-9]{0,5})?")

DeliveryState = Literal["waiting", "delivered", "failed"]


class EndpointNotFound(NotFound):
    """The caller has no such endpoint."""

    code = "endpoint_not_found"


class EventNotFound(NotFound):
    """The caller sees no such event, or it is older than 30 days."""

    code = "event_not_found"


class TooManyEndpoints(Conflict):
    """The caller has as many endpoints as a client may have."""

    code = "too_many_endpoints"


class EndpointDisabled(Conflict):
    """Nothing is sent to an endpoint that is disabled."""

    code = "endpoint_disabled"


class UnknownEventType(Malformed):
    """The topic has no events of this type."""

    code = "unknown_event_type"


class NewEvent(NamedTuple):
    """An event, as a use case records it. It gets its id when it is written.

    Args:
        type: such as `points.held`.
        data: what callers read, or what the topic's `body` makes that of; JSON.
        owner: the vendor, partner or client that the event belongs to; None for the platform alone.
        happened_at: None stands for the time at which it is recorded.
    """

    type: str
    data: Any
    owner: str | None = None
    happened_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event with its place in the order of its tenant and topic."""

    number: int
    event_id: str
    type: str
    owner: str | None
    happened_at: datetime
    data: Any


@dataclass(frozen=True, slots=True)
class Reader:
    """A caller, and what it sees: all events of its tenant, or those of one owner."""

    tenant: str
    client_id: str
    owner: str | None

    def sees(self, owner: str | None) -> bool:
        """Whether this reader sees an event of this owner."""
        return self.owner is None or self.owner == owner


@dataclass(frozen=True, slots=True)
class Audience:
    """Those who may read a topic.

    Args:
        scopes: any of which lets a caller in.
        owner: gives the owner whose events the caller sees; None for all of the tenant.
        kinds: the kinds of clients that it takes; a third party is not the platform, whatever it may read.
        needs_scope: False lets in every client of these kinds.
    """

    scopes: tuple[str, ...] = ()
    owner: Callable[[Caller], str] | None = None
    kinds: tuple[str, ...] = ("first_party",)
    needs_scope: bool = True

    def has(self, caller: Caller) -> bool:
        return caller.kind in self.kinds and not (self.needs_scope and caller.scopes.isdisjoint(self.scopes))


@dataclass(frozen=True, slots=True)
class Topic:
    """A service's part of what happens.

    Args:
        name: `points`, `redirects`, `links` or `tokens`.
        types: all types of events that it has.
        audiences: who may read; the first that a caller belongs to holds, so the widest comes first.
        body: makes what callers read of an event's recorded data.
    """

    name: str
    types: tuple[str, ...]
    audiences: tuple[Audience, ...]
    body: Callable[[Any], Mapping[str, Any]] = dict

    def reader(self, caller: Caller) -> Reader:
        """What the caller sees.

        Raises:
            InsufficientScope: the caller is none of those who may read.
        """
        for audience in self.audiences:
            if audience.has(caller):
                owner = None if audience.owner is None else audience.owner(caller)
                return Reader(caller.tenant, caller.client_id, owner)
        scopes = sorted({scope for audience in self.audiences for scope in audience.scopes})
        raise InsufficientScope(f"This needs the scope {' or '.join(scopes)}.")

    def check_types(self, types: Sequence[str]) -> tuple[str, ...]:
        """The types in one spelling: sorted, each once.

        Raises:
            UnknownEventType: names the first that the topic does not have.
        """
        for name in types:
            if name not in self.types and name not in OWN_TYPES:
                raise UnknownEventType(f"There are no events of the type {name!r} here.", types=list(self.types))
        return tuple(sorted(set(types)))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a client wants events to be sent.

    `types` is empty for all types. `failing_since` is None after a delivery that worked.
    """

    tenant: str
    endpoint_id: str
    client_id: str
    owner: str | None
    url: str
    types: tuple[str, ...]
    description: str
    enabled: bool
    disabled_because: str | None
    position: int
    failing_since: datetime | None
    created_at: datetime

    @property
    def reader(self) -> Reader:
        """The endpoint gets what its client may see."""
        return Reader(self.tenant, self.client_id, self.owner)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to an endpoint."""

    tenant: str
    endpoint_id: str
    number: int
    event_id: str
    type: str
    state: DeliveryState
    attempts: int
    status: int | None
    error: str | None
    attempted_at: datetime | None
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt.

    Args:
        status: the HTTP status; None when there was no answer.
        error: why there was none, in a word.
    """

    status: int | None
    error: str | None
    milliseconds: int

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more events (410)."""
        return self.status == 410


def new_key() -> str:
    """What the ids of events that are recorded together begin with, behind `evt_`. Nobody can guess it."""
    return secrets.token_hex(12)


def key_of(event_id: str) -> str | None:
    """The key in an event's id; None for what is no such id."""
    found = _EVENT_ID.fullmatch(event_id)
    return None if found is None else found[1]


def pause_after(attempts: int, jitter: float) -> timedelta | None:
    """The pause after so many failed attempts; None after the last one.

    Args:
        jitter: 0 to 1; lengthens the pause by up to a tenth, so that failed deliveries do not come back all at once.
    """
    if attempts > len(PAUSES):
        return None
    return PAUSES[attempts - 1] * (1 + jitter / 10)
