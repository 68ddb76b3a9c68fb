"""What time does: keys move, successors are published, old answers are forgotten."""

import asyncio
import random

import structlog
from shared.idempotency import Answers

from sso_issuer.keys.service import Keys

_log = structlog.get_logger("upkeep")


async def keep_up(keys: Keys, answers: Answers, every_seconds: float) -> None:
    """Runs until cancelled; several replicas may do so at once, and any may be late."""
    while True:
        try:
            await keys.advance_due()
            await answers.forget_old()
        # Whatever it was, the next round may go better, and keys must not stop moving because of it.
        except Exception:
            _log.exception("upkeep failed")
        # Jitter, so that replicas do not come all at once.
        await asyncio.sleep(every_seconds * random.uniform(0.8, 1.2))  # noqa: S311 — not a secret
