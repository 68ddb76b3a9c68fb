"""What happens to links, for the partner and for the platform."""

from datetime import datetime

from shared.events.domain import NewEvent
from shared.times import iso

from partner_onboarding.handshake.links.domain import Link, RemovedBy


def link_created(client_id: str, user_id: str, at: datetime) -> NewEvent:
    return NewEvent("link.created", _link(client_id, user_id) | {"linked_at": iso(at)}, client_id, at)


def link_activated(link: Link, at: datetime) -> NewEvent:
    data = _link(link.client_id, link.user_id) | {"activated_at": iso(at)}
    return NewEvent("link.activated", data, link.client_id, at)


def link_removed(link: Link, at: datetime, by: RemovedBy) -> NewEvent:
    data = _link(link.client_id, link.user_id) | {"removed_at": iso(at), "removed_by": by}
    return NewEvent("link.removed", data, link.client_id, at)


def assignment_made(link: Link, start: datetime) -> NewEvent:
    """A month of access, which begins at `start`, was assigned and will be billed."""
    data = _link(link.client_id, link.user_id) | {"months": 1, "assigned_at": iso(start)}
    return NewEvent("assignment.made", data, link.client_id)


def _link(client_id: str, user_id: str) -> dict[str, object]:
    return {"partner_id": client_id, "userId": user_id}
