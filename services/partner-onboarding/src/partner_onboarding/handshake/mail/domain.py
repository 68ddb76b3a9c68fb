"""Which mails there are, and when one is tried again."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from partner_onboarding.register.notices.domain import Kind

#: How long a link in a mail is good.
LINK_LIFETIME: Final = timedelta(days=3)
#: A mail that could not be sent for so long is given up.
GIVEN_UP_AFTER: Final = timedelta(days=7)
_LONGEST_PAUSE: Final = timedelta(hours=1)
#: For so long nobody else takes a mail that somebody is about to send.
TURN: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that waits to be sent."""

    tenant: str
    mail_id: str
    user_id: str
    kind: Kind
    language: str
    created_at: datetime
    attempts: int
    next_attempt_at: datetime


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts that failed: 10 s, 20 s, 40 s, … an hour."""
    return min(timedelta(seconds=5 << min(attempts, 12)), _LONGEST_PAUSE)
