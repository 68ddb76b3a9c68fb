"""The state of a sandbox, and refusals."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import Conflict, Forbidden


class SandboxesNotAllowed(Forbidden):
    """Production mode without `SANDBOXES`."""

    code = "sandboxes_not_allowed"

    def __init__(self) -> None:
        super().__init__("This platform has no sandboxes. Its operators can switch them on: SANDBOXES=true.")


class TenantInUse(Conflict):
    code = "tenant_in_use"

    def __init__(self) -> None:
        super().__init__("Only a new tenant can become a sandbox: this one has records here already.")


class SandboxState(NamedTuple):
    """`round` counts the beginnings of a sandbox from 1; `ahead` is how far its clock was moved in this round."""

    round: int
    ahead: timedelta


class SandboxUser(NamedTuple):
    """A user whom every sandbox has; with so many points at the beginning."""

    user_id: str
    points: int


@dataclass(frozen=True, slots=True)
class Advance:
    """A movement of a tenant's clock. What began until `moved_at` ends earlier by `amount`.

    Attributes:
        place: behind it are the rows that are still to be moved; None at the beginning.
    """

    tenant: str
    amount: timedelta
    moved_at: datetime
    place: str | None


#: Moves a slice of a service's rows within a transaction; returns the place behind it, or None when all are moved.
Move = Callable[[AsyncConnection, Advance], Awaitable[str | None]]
#: Gives a sandbox its test users.
Welcome = Callable[[str, Sequence[SandboxUser]], Awaitable[None]]
