"""What a link is, and why one cannot be activated or removed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.errors import Forbidden, NotFound

RemovedBy = Literal["partner", "user", "deletion"]


class NoHandshake(Forbidden):
    """The user is there, and has not been linked with this partner, or not since the link was removed."""

    code = "no_handshake"


class LinkNotFound(NotFound):
    """Unknown, of another partner, or removed already."""

    code = "link_not_found"


@dataclass(frozen=True, slots=True)
class Link:
    """One connection of a person to a partner; whoever was removed and comes again gets another (`n` counts)."""

    tenant: str
    client_id: str
    user_id: str
    n: int
    linked_at: datetime
    activated_at: datetime | None
    removed_at: datetime | None
    months_assigned: int
    next_assignment_at: datetime | None


@dataclass(frozen=True, slots=True)
class LinkedPartner:
    """A partner to whom a person is linked, as the person sees it."""

    client_id: str
    name: str
    linked_at: datetime
    activated_at: datetime | None
