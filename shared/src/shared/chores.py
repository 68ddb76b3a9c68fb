"""Periodic work of a service, beside its requests.

    chores = Chores()                                     # in create_app; `create_service_app(…, chores=chores)`
    ...
    async with AsyncExitStack() as closing:               # in the lifespan; closes in the opposite order, all of it
        closing.push_async_callback(database.dispose)
        closing.push_async_callback(ledger.close)
        await closing.enter_async_context(
            chores.running(Chore("sweep", sweep, every_seconds=1.0, full_slice=500))
        )
        yield

Guarantees:
- an error ends a round and never the chore: it is logged and counted, and the next round comes after the usual pause;
- a chore that hangs is cut off after `timeout_seconds`, which counts as an error;
- chores do not wait for each other: each has a task of its own;
- the end is bounded. A round under way may end by itself for `GRACE_SECONDS`, then it is cancelled, and after another
  `CANCEL_SECONDS` it is left alone. `running` never raises on the way out, so what is closed after it is closed.

Several replicas may do the same chore at once. A chore is late rather than missing: nothing that callers see may depend
on its being on time.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import Counter, Gauge

from shared.errors import Unavailable

#: How long a round under way may take to end by itself when the service stops.
GRACE_SECONDS: Final = 5.0
#: How long it may then take to notice that it was cancelled.
CANCEL_SECONDS: Final = 2.0
_LATE_AFTER_PAUSES: Final = 3
_LATE_AFTER_SECONDS: Final = 30.0
_log = structlog.get_logger("chores")
_runs = Counter("chore_runs", "Rounds of periodic work that were begun.", ["chore"])
_failures = Counter(
    "chore_failures", "Rounds of periodic work that ended with an error. Alarm when it goes on.", ["chore"]
)
_last_success = Gauge(
    "chore_last_success_timestamp_seconds",
    "When a round last ended well; before the first one, when the process started. Alarm on its age.",
    ["chore"],
)
_late_after = Gauge(
    "chore_late_after_seconds", "Without success for so long, the chore is late: alarm on it.", ["chore"]
)


@dataclass(frozen=True, slots=True)
class Chore:
    """One periodic job.

    Args:
        name: label of its metrics; unique within the process.
        do: one round. What it returns counts only together with `full_slice`.
        every_seconds: the pause after a round, give or take a fifth, so that replicas do not come all at once.
        full_slice: a round that returns at least this number has left work behind, and is followed at once by
            another one.
        timeout_seconds: after which a round is cut off.
    """

    name: str
    do: Callable[[], Awaitable[object]]
    every_seconds: float
    full_slice: int | None = None
    timeout_seconds: float = 300.0


class Chores:
    """The chores of one process.

    Args:
        clock: seconds; handed in by tests.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._rounds: dict[str, _Rounds] = {}

    @asynccontextmanager
    async def running(self, *chores: Chore) -> AsyncIterator[None]:
        """Does `chores` while the block runs, each for the first time at once."""
        self._rounds = {chore.name: _Rounds(chore, self._clock) for chore in chores}
        for rounds in self._rounds.values():
            rounds.begin()
        try:
            yield
        finally:
            await asyncio.gather(*(rounds.end() for rounds in self._rounds.values()), return_exceptions=True)

    def freshness(self) -> dict[str, dict[str, object]]:
        """By name: seconds since a round last ended well, failures since then, and whether that is late."""
        return {name: rounds.freshness() for name, rounds in self._rounds.items()}


class _Rounds:
    def __init__(self, chore: Chore, clock: Callable[[], float]) -> None:
        self._chore = chore
        self._clock = clock
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures_in_a_row = 0
        self._runs = _runs.labels(chore.name)
        self._failures = _failures.labels(chore.name)
        self._last_success = _last_success.labels(chore.name)
        self._succeeded_at = clock()
        self._last_success.set(self._succeeded_at)
        self._late_after = max(_LATE_AFTER_PAUSES * chore.every_seconds, chore.every_seconds + _LATE_AFTER_SECONDS)
        _late_after.labels(chore.name).set(self._late_after)

    def begin(self) -> None:
        self._task = asyncio.create_task(self._go_on(), name=f"chore-{self._chore.name}")

    async def end(self) -> None:
        self._stopping.set()
        if self._task is None:
            return
        _, running = await asyncio.wait({self._task}, timeout=GRACE_SECONDS)
        for task in running:
            task.cancel()
            _, deaf = await asyncio.wait({task}, timeout=CANCEL_SECONDS)
            _log.warning("chore cut off at the end", chore=self._chore.name, noticed=not deaf)

    def freshness(self) -> dict[str, object]:
        age = max(0.0, self._clock() - self._succeeded_at)
        return {
            "seconds_since_success": round(age, 3),
            "failures_since": self._failures_in_a_row,
            "is_late": age > self._late_after,
        }

    async def _go_on(self) -> None:
        while not self._stopping.is_set():
            found = await self._one_round()
            if self._chore.full_slice is not None and isinstance(found, int) and found >= self._chore.full_slice:
                # More waits; requests get their turn in between.
                await asyncio.sleep(0)
                continue
            await self._pause()

    async def _one_round(self) -> object:
        self._runs.inc()
        try:
            async with asyncio.timeout(self._chore.timeout_seconds):
                found = await self._chore.do()
        except Unavailable as error:
            self._failed()
            _log.warning("chore put off", chore=self._chore.name, why=error.log or error.message)
        except asyncio.CancelledError:
            # Something within the round was cancelled, and not this task: one more error.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._failed()
            _log.exception("chore failed", chore=self._chore.name)
        # Whatever it was, the next round may go better, and nobody else would do the work until a restart.
        except Exception:
            self._failed()
            _log.exception("chore failed", chore=self._chore.name)
        else:
            self._failures_in_a_row = 0
            self._succeeded_at = self._clock()
            self._last_success.set(self._succeeded_at)
            return found
        return None

    def _failed(self) -> None:
        self._failures_in_a_row += 1
        self._failures.inc()

    async def _pause(self) -> None:
        # Jitter: not a secret.
        seconds = self._chore.every_seconds * random.uniform(0.8, 1.2)  # noqa: S311  # nosec B311
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
