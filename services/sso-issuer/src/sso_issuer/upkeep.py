"""What time does: keys move, successors are published, what has run out is forgotten."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog

_log = structlog.get_logger("upkeep")


async def keep_up(chores: Sequence[Callable[[], Awaitable[object]]], every_seconds: float) -> None:
    """Does every chore, again and again, until cancelled; several replicas may do so at once, and any may be late."""
    while True:
        for chore in chores:
            try:
                await chore()
            # Whatever it was, the next round may go better, and keys must not stop moving because of it.
            except Exception:
                _log.exception("upkeep failed")
        # Jitter, so that replicas do not come all at once.
        await asyncio.sleep(every_seconds * random.uniform(0.8, 1.2))  # noqa: S311 — not a secret
