"""Actors and audit entries."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

ActorKind = Literal["operator", "tenant_admin", "user", "client", "applicant", "shell"]
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
    "second_factor_added",
    "second_factor_removed",
    "recovery_codes_renewed",
]


@dataclass(frozen=True, slots=True)
class Actor:
    """An actor: a user by role and user id, or a client by its id."""

    kind: ActorKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


#: Somebody with a shell on the machine, whom the service cannot identify.
SHELL = Actor("shell")
#: Anybody who fills in the public form.
APPLICANT = Actor("applicant")


@dataclass(frozen=True, slots=True)
class Entry:
    """One act in a tenant."""

    entry_id: int
    recorded_at: datetime
    actor: Actor
    action: Action
    subject: str
    details: Mapping[str, Any]
