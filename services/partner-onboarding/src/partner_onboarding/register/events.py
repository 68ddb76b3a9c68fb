"""What happens to links, consents and clients, for those who want to hear of it.

A partner sees its own links, a third party what becomes of its consents; every client hears of its own secrets. The
platform sees all of its tenant.
"""

from collections.abc import Mapping
from typing import Any, Final

from shared.callers import Caller
from shared.events.domain import Audience, NewEvent, Topic

#: Action in the audit → type of the event.
_OF_ACTION: Final[Mapping[str, str]] = {
    "consent_granted": "consent.granted",
    "consent_extended": "consent.granted",
    "consent_withdrawn": "consent.withdrawn",
    "client_disabled": "client.disabled",
    "secret_added": "secret.rotated",
}
#: What of the audit's details an event carries.
_DETAILS: Final = ("scopes", "version", "n", "overlap_seconds")


def _client(caller: Caller) -> str:
    return caller.client_id


TOPIC: Final = Topic(
    "links",
    (
        *("link.created", "link.activated", "link.removed", "assignment.made"),
        *("consent.granted", "consent.withdrawn", "client.disabled", "secret.rotated"),
    ),
    (
        Audience(("users:read", "users:write")),
        Audience(("partner:handshake",), _client),
        Audience(owner=_client, kinds=("third_party",), needs_scope=False),
    ),
)


def event_of(action: str, client_id: str, details: Mapping[str, Any]) -> NewEvent | None:
    """The event of something that was done to a client; None for what nobody needs to hear."""
    kind = _OF_ACTION.get(action)
    if kind is None:
        return None
    known = {**details, **(details.get("after") or {})}
    told = {name: known[name] for name in _DETAILS if name in known}
    return NewEvent(kind, {"client_id": client_id} | told, client_id)
