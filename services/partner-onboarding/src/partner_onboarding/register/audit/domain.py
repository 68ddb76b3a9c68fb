"""Actors and audit entries."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

ActorKind = Literal["operator", "tenant_admin", "user", "client", "applicant", "anonymous", "shell"]
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
    "tenant_created",
    "user_created",
    "user_changed",
    "user_registered",
    "user_deleted",
    "user_disabled",
    "user_enabled",
    "role_revoked",
    "sessions_ended",
    "email_confirmed",
    "password_changed",
    "password_reset",
    "signed_in",
    "sign_in_failed",
    "signed_out",
    "link_created",
    "link_denied",
    "link_removed",
    "handshake_redeemed",
    "user_activated",
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
#: Nobody who has shown who he or she is.
ANONYMOUS = Actor("anonymous")
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
    #: The network that the request came from; None for a command or a chore.
    origin: str | None = None
    request_id: str | None = None
