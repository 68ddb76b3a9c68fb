"""Links, and the refusals of activation and removal."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.errors import Forbidden, NotFound

RemovedBy = Literal["partner", "user", "deletion"]


class NoHandshake(Forbidden):
    """The user exists, but is not linked with this partner, or not since the link was removed."""

    code = "no_handshake"


class LinkNotFound(NotFound):
    """The link is unknown, belongs to another partner, or is removed already."""

    code = "link_not_found"


@dataclass(frozen=True, slots=True)
class Link:
    """One connection of a person to a partner. After a removal the person can get another one (`n` counts)."""

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
    """A partner that a person is linked with, as the account page shows it."""

    client_id: str
    name: str
    linked_at: datetime
    activated_at: datetime | None
