"""The state of a sandbox, who is there, and refusals."""

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import Conflict, Forbidden

#: Users whom every sandbox has. Others may be people who have registered there.
TEST_USERS: Final = ("user-1", "user-2", "user-insufficient", "user-slow", "user-503", "user-expiring")
#: What the ids of test clients begin with, which developers make for themselves.
TEST_CLIENT_PREFIX: Final = "test-"
_TEST_CLIENT_BYTES: Final = 6
#: The form of their ids, for Python and PostgreSQL.
TEST_CLIENT_PATTERN: Final = f"^{TEST_CLIENT_PREFIX}[0-9a-f]{{{2 * _TEST_CLIENT_BYTES}}}$"
_TEST_CLIENT: Final = re.compile(TEST_CLIENT_PATTERN)


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


def new_test_client_id() -> str:
    """The id of a new test client."""
    return f"{TEST_CLIENT_PREFIX}{secrets.token_hex(_TEST_CLIENT_BYTES)}"


def is_test_client(client_id: str) -> bool:
    """Whether a client is one that a developer has made for tests: its id says so, and no other gets such an id."""
    return _TEST_CLIENT.fullmatch(client_id) is not None
