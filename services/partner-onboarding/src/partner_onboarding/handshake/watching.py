"""Figures about what waits: mails, and months of partners."""

from datetime import datetime

from prometheus_client import Gauge
from shared.db import Database

from partner_onboarding.clock import Clock
from partner_onboarding.handshake.links import store as links_store
from partner_onboarding.handshake.mail import store as mail_store

_mails = Gauge("onboarding_mails_waiting", "Mails that are not sent yet.")
_oldest_mail = Gauge("onboarding_oldest_waiting_mail_seconds", "Age of the oldest mail that is not sent yet.")
_oldest_month = Gauge("onboarding_oldest_due_month_seconds", "How long the oldest due month has not been assigned.")


class WaitingWatch:
    """One in a process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def look(self) -> None:
        """Sets the figures."""
        async with self._database.transaction() as connection:
            now = await self._clock(connection)
            mails, oldest_mail = await mail_store.waiting(connection)
            oldest_month = await links_store.oldest_due(connection, now)
        _mails.set(mails)
        _oldest_mail.set(_age(oldest_mail, now))
        _oldest_month.set(_age(oldest_month, now))


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
