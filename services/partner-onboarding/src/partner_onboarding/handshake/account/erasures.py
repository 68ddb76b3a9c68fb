"""People who deleted their accounts: the ledger closes theirs, so that their points lapse and nobody inherits them.

The journal is written in the transaction of the deletion, and the ledger is asked later and until it has done it: a
person can leave while the ledger is down.

The service logs each erasure of the journal, also those at the shell: the log outlives a restored database, and
`repeat-erasures` reads it.
"""

from datetime import datetime, timedelta
from typing import Final

import structlog
from shared.db import Database
from shared.errors import Unavailable
from shared.times import iso

from partner_onboarding.handshake.account import erasures_store as store
from partner_onboarding.handshake.account.ledger_client import LedgerClient

CLOSED_AT_ONCE: Final = 20
_TURN: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(minutes=10)
_REASON: Final = "the person deleted the account"
_log = structlog.get_logger("partner_onboarding")


class Erasures:
    """The journal of erasures."""

    def __init__(self, database: Database, ledger: LedgerClient) -> None:
        self._database = database
        self._ledger = ledger

    async def close_due(self) -> int:
        """Has the ledger close the accounts of people who are gone; returns how many it looked at."""
        async with self._database.transaction() as connection:
            due = await store.take_due(connection, CLOSED_AT_ONCE, _TURN)
        for erasure in due:
            if not erasure.attempts:
                log_erasure(erasure.tenant, erasure.user_id, erasure.erased_at)
            try:
                await self._ledger.close_account(erasure.tenant, erasure.user_id, _REASON)
            except Unavailable as trouble:
                _log.warning("an account was not closed", attempts=erasure.attempts + 1, error=repr(trouble))
                async with self._database.transaction() as connection:
                    await store.set_next_attempt(connection, erasure, _pause_after(erasure.attempts))
                continue
            async with self._database.transaction() as connection:
                await store.set_closed(connection, erasure)
        return len(due)


def log_erasure(tenant: str, user_id: str, erased_at: datetime) -> None:
    """A line that `repeat-erasures` reads."""
    _log.info("person erased", tenant=tenant, user_id=user_id, erased_at=iso(erased_at))


def _pause_after(attempts: int) -> timedelta:
    """The pause after so many failed attempts before this one: 2 s, 4 s, 8 s, … ten minutes."""
    return min(timedelta(seconds=2 << min(attempts, 12)), _LONGEST_PAUSE)
