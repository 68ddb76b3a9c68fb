"""Who acts, and what is written down of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

ActorKind = Literal["operator", "tenant_admin", "client", "applicant", "shell"]
Action = Literal[
    "request_submitted",
    "request_approved",
    "request_declined",
    "client_registered",
    "client_disabled",
    "secret_added",
    "secret_revoked",
    "consent_granted",
    "consent_extended",
    "consent_redesignated",
    "consent_withdrawn",
    "consent_refused",
    "code_redeemed",
    "code_replayed",
]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a user by role and user id, a client by its id."""

    kind: ActorKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


#: Somebody with a shell on the machine, whom this service cannot tell from another.
SHELL = Actor("shell")
#: Whoever fills in the public form.
APPLICANT = Actor("applicant")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done in a tenant."""

    entry_id: int
    recorded_at: datetime
    actor: Actor
    action: Action
    subject: str
    details: Mapping[str, Any]
