"""The mails, and the pauses between attempts to send one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from partner_onboarding.register.notices.domain import Kind

#: How long a link in a mail is valid.
LINK_LIFETIME: Final = timedelta(days=3)
#: How long the service tries to send a mail.
GIVEN_UP_AFTER: Final = timedelta(days=7)
_LONGEST_PAUSE: Final = timedelta(hours=1)
#: How long a replica that took a mail has it to itself.
TURN: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Mail:
    """A waiting mail."""

    tenant: str
    mail_id: str
    #: None for somebody without an account.
    user_id: str | None
    kind: Kind
    language: str
    created_at: datetime
    attempts: int
    #: None when there is nothing more to do.
    next_attempt_at: datetime | None
    #: A sealed address, where the mail goes to another than the user's present one.
    recipient: bytes | None = None
    #: Sealed: what the text names.
    facts: bytes | None = None


def pause_after(attempts: int) -> timedelta:
    """The pause after so many failed attempts: 10 s, 20 s, 40 s, … an hour."""
    return min(timedelta(seconds=5 << min(attempts, 12)), _LONGEST_PAUSE)
