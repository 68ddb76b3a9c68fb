"""Actors and audit entries."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

ActorKind = Literal["operator", "tenant_admin", "user", "client", "applicant", "anonymous", "shell"]
#: What the other services do; they tell it.
ForeignAction = Literal[
    "account_opened",
    "account_closed",
    "hold_time_changed",
    "vendor_changed",
    "vendor_secret_added",
    "signing_keys_rotated",
    "receipt_keys_rotated",
    "receipt_keys_taken_back",
    "landing_page_changed",
    "landing_page_removed",
    "token_changed",
    "token_revoked",
    "campaign_revoked",
    "token_keys_rotated",
]

Action = Literal[
    "request_submitted",
    "request_approved",
    "request_declined",
    "client_registered",
    "client_changed",
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
    "sandbox_clock_moved",
    "sandbox_begun_anew",
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
    ForeignAction,
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
class Change:
    """What an act changed: the values that differ, before and after it.

    Args:
        before: None for something that was not there.
        after: None for something that is gone.
        unsaid: the names of changed values that the audit does not keep: secrets, names and addresses.
    """

    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    unsaid: tuple[str, ...] = ()

    @property
    def details(self) -> dict[str, Any]:
        """As the audit keeps it: `before` and `after`, and the names of other values that changed as `changed`."""
        before, after = self.before, self.after
        if before is not None and after is not None:
            differing = [name for name in after if before.get(name) != after[name]]
            before, after = ({name: one.get(name) for name in differing} for one in (before, after))
        told: dict[str, Any] = {"changed": list(self.unsaid)} if self.unsaid else {}
        return told if before == after == {} else told | {"before": before, "after": after}


def unsaid(names: Collection[str]) -> Change:
    """A change of values that the audit does not keep."""
    return Change({}, {}, tuple(names))


#: The longest text that the audit is searched for.
LONGEST_SEARCH: Final = 128


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries somebody asks for; None leaves an aspect open.

    Args:
        text: part of the actor's id, the subject, the network or the request id, in any case.
        since: the earliest time.
        until: the first time that is too late.
    """

    text: str | None = None
    action: Action | None = None
    actor_kind: ActorKind | None = None
    since: datetime | None = None
    until: datetime | None = None


#: All entries.
EVERYTHING: Final = Filter()


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
