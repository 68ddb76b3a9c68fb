"""Tidies up after holds that have run out. Nothing depends on it: expiry is decided at the moment of use."""

import asyncio
import random

import structlog
from prometheus_client import Counter, Gauge
from shared.db import Database
from shared.errors import Refusal, Unavailable
from shared.idempotency import Answer, Answers

from points_ledger import queries
from points_ledger.domain.accounts import Account, Entry, Expire
from points_ledger.domain.transactions import Transaction
from points_ledger.ledger import Ledger, Order

_LIMIT = 500
_log = structlog.get_logger("sweeper")
_oldest = Gauge("ledger_oldest_hold_seconds", "Age of the oldest open hold.")
_held = Gauge("ledger_held_points", "Points of all open holds.")
_swept = Counter("ledger_swept_accounts", "Accounts in which the sweeper released expired holds.")


async def sweep(database: Database, ledger: Ledger) -> int:
    """Releases holds that have run out; returns how many it found. Several replicas may do so at once."""
    async with database.transaction() as connection:
        holds = await queries.open_holds(connection)
        due = await queries.users_with_expired_holds(connection, _LIMIT)
    _held.set(holds.points)
    _oldest.set(holds.oldest_seconds)
    await asyncio.gather(*(ledger.carry_out(Order(Expire(tenant, user_id), _nothing)) for tenant, user_id in due))
    _swept.inc(len(due))
    return sum(due.values())


async def sweep_forever(database: Database, ledger: Ledger, answers: Answers, pause_seconds: float) -> None:
    """Until cancelled. Answers whose time has run out are swept along."""
    while True:
        found = 0
        try:
            found = await sweep(database, ledger)
            await answers.forget_old()
        except Unavailable as error:
            _log.warning("sweep put off", why=error.log)
        # Whatever it was, the next round may go better, and holds must not lie about until somebody restarts us.
        except Exception:
            _log.exception("sweep failed")
        if found < _LIMIT:
            # Jitter, so that replicas do not sweep at the same moment.
            await asyncio.sleep(pause_seconds * random.uniform(0.8, 1.2))  # noqa: S311 — not a secret


def _nothing(_outcome: Transaction | Entry | Account | Refusal, _repeated: bool) -> Answer:
    return Answer(204, b"")
