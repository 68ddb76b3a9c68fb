"""Group commit: all waiting commands are written in one transaction, and answered after its COMMIT.

    request ──submit──► line (bounded) ──► lane 1: lock, read, decide, write, COMMIT ──► answers
    request ──submit──►                └─► lane 2: the same, overlapping lane 1's fsync

A lane takes its share of all commands that wait or are under way, up to `batch_size`. With two lanes that is half of
them: the process reads and decides for one half while the database writes the other. The more commands wait, the less
each costs: under load one fsync carries hundreds, and a hot account is as cheap as a cold one. If a caller hangs up,
the transaction goes on, since the lane owns it and not the request.

Tenants take turns (`fair_line`). Where the tables are distributed by tenant, a batch is of one tenant, since its
transaction then needs one server alone. No tenant gets a second lane while another waits without one; and if a tenant's
batch is slow, such as one whose server is dead, another lane stands in for its lane, and it gets no further one.

Guarantees:
- a batch that fails with a transient error (`is_passing`) is retried whole; in the end each command is refused with
  `Unavailable`;
- a batch that fails for another reason is split in halves, so that one bad command does not harm the others;
- a COMMIT whose answer was lost is never repeated: its commands end as `OutcomeUnknown`;
- the line is bounded: a full line refuses at once, and no command waits in it for longer than `patience_seconds`, even
  if the database hangs;
- `close()` accepts no more commands and finishes those that wait.
"""

import asyncio
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared.database_failures import OutcomeUnknown, is_passing
from shared.errors import Refusal, Unavailable
from shared.fair_line import FairLine
from shared.tracing import traces

C = TypeVar("C")
R = TypeVar("R")

_CROWDS = 8
_UNTRACED: Final = nullcontext()
_log = structlog.get_logger("group_commit")

_waiting = Gauge("group_commit_waiting", "Commands that wait in line.", ["line"])
_batch = Histogram(
    "group_commit_batch_size",
    "Commands written in one transaction.",
    ["line"],
    buckets=[2**n for n in range(10)],
)
_retries = Counter("group_commit_retries", "Batches tried again after a passing trouble.", ["line"])


@dataclass(slots=True)
class _Lane:
    #: Whether another one runs in its place until its batch is done.
    has_stand_in: bool = False


class GroupCommit(Generic[C, R]):
    """A queue of commands in front of one writer.

    Args:
        write: writes a batch in one transaction and returns a result for each command, in order. A result that
            is an exception is raised to that command's caller alone. It must be safe to call again with the
            same commands after it raised anything but `OutcomeUnknown`.
        name: label of the metrics.
        lanes: how many transactions run at the same time.
        batch_size: the most commands in one transaction.
        tenant_of: whose a command is; without it, all are of one tenant.
        is_of_one_tenant: whether a batch must be.
        slow_seconds: if a batch of one tenant takes longer, another lane stands in for its lane.
        line_length: how many commands may wait; more are refused with `Unavailable`.
        attempts: how often a batch is tried while its error is transient.
        patience_seconds: after this time in line a command is refused.
        attempts_seconds: after this time no new attempt of a batch begins.
        clock: seconds, monotonic; handed in by tests.
    """

    def __init__(
        self,
        write: Callable[[Sequence[C]], Awaitable[Sequence[R | Exception]]],
        *,
        name: str,
        lanes: int = 2,
        batch_size: int = 256,
        tenant_of: Callable[[C], str] | None = None,
        is_of_one_tenant: bool = False,
        slow_seconds: float = 0.5,
        line_length: int = 4096,
        attempts: int = 5,
        patience_seconds: float = 10.0,
        attempts_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._name = name
        self._batch_size = batch_size
        self._tenant_of = tenant_of or _nobody
        self._is_of_one_tenant = is_of_one_tenant
        self._slow_seconds = slow_seconds
        self._line_length = line_length
        self._attempts = attempts
        self._patience_seconds = patience_seconds
        self._attempts_seconds = attempts_seconds
        self._clock = clock
        self._line = FairLine[tuple[C, asyncio.Future[R], float]]()
        self._lanes = self._free_lanes = self._stand_ins = lanes
        #: tenant → lanes that it has, where a batch is of one tenant.
        self._lanes_of: Tally[str] = Tally()
        #: Tenants whose last batch was slow.
        self._slow: set[str] = set()
        self._under_way = 0
        # How many commands were waiting or under way when the last batches were taken.
        self._crowds: deque[int] = deque([0], maxlen=_CROWDS)
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        self._waiting = _waiting.labels(name)
        self._waiting.set_function(lambda: len(self._line))
        self._batch = _batch.labels(name)
        self._retries = _retries.labels(name)

    async def submit(self, command: C) -> R:
        """Waits until `command` is durably written and returns its result.

        Raises:
            Unavailable: the line is full or closing, or the database did not take the batch in time. Nothing was
            committed, unless it is `OutcomeUnknown`.
        """
        if self._closed or len(self._line) >= self._line_length:
            raise Unavailable("Too many requests are waiting. Please try again shortly.", log=f"{self._name}: full")
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._line.add(self._tenant_of(command), (command, answer, self._clock()))
        self._open_lane()
        return await (traces.wait(self._name, answer) if traces.is_on else answer)

    async def close(self) -> None:
        """Accepts no more commands and returns when those in line are written."""
        self._closed = True
        while self._running:
            await asyncio.wait(set(self._running))

    def _open_lane(self) -> None:
        if self._free_lanes > 0:
            self._free_lanes -= 1
            lane = asyncio.create_task(self._serve(), name=f"group-commit-{self._name}")
            self._running.add(lane)
            lane.add_done_callback(self._running.discard)

    async def _serve(self) -> None:
        try:
            # More lanes than agreed run for a moment, after one has got its batch done that had a stand-in.
            while self._line and self._free_lanes >= 0:
                await self._until_a_share_waits()
                if not self._is_of_one_tenant:
                    await self._serve_batch(self._next_batch())
                elif (tenant := self._next_tenant()) is not None:
                    await self._serve_tenant(tenant)
                else:
                    # All that waits is for tenants whose lanes will take it.
                    return
        finally:
            self._free_lanes += 1

    async def _serve_batch(self, batch: Sequence[tuple[C, asyncio.Future[R]]]) -> None:
        if batch:
            self._under_way += len(batch)
            try:
                await self._carry_or_refuse(batch)
            finally:
                self._under_way -= len(batch)

    async def _serve_tenant(self, tenant: str) -> None:
        """Carries out a batch of one tenant, while another lane stands in if it takes long."""
        lane = _Lane()
        timer = asyncio.get_running_loop().call_later(self._slow_seconds, self._stand_in, lane, tenant)
        self._lanes_of[tenant] += 1
        try:
            await self._serve_batch(self._next_batch(tenant))
        finally:
            self._lanes_of[tenant] -= 1
            if not self._lanes_of[tenant]:
                del self._lanes_of[tenant]
            if timer.when() > asyncio.get_running_loop().time():
                self._slow.discard(tenant)
            timer.cancel()
            if lane.has_stand_in:
                self._stand_ins += 1
                self._free_lanes -= 1

    def _stand_in(self, lane: _Lane, tenant: str) -> None:
        self._slow.add(tenant)
        if self._stand_ins > 0:
            lane.has_stand_in = True
            self._stand_ins -= 1
            self._free_lanes += 1
            if self._line:
                self._open_lane()

    def _next_tenant(self) -> str | None:
        """Whose turn it is; a tenant without a lane comes before one that has one. Slow ones share a lane."""
        second: str | None = None
        is_a_slow_one_served = any(tenant in self._slow for tenant in self._lanes_of)
        for tenant in self._line.tenants():
            if tenant in self._slow and is_a_slow_one_served:
                continue
            if tenant not in self._lanes_of:
                return tenant
            second = second or tenant
        return second

    async def _until_a_share_waits(self) -> None:
        """Waits for a lane's share, as long as each turn of the event loop brings more, and one turn longer.

        After a batch all its callers return at the same time. If a lane left with the first of them, the others would
        wait for the next batch; if it waited for the callers of both lanes, the process would idle.
        """
        waiting, is_last_turn = 0, False
        while len(self._line) < self._share():
            await asyncio.sleep(0)
            if len(self._line) > waiting:
                waiting, is_last_turn = len(self._line), False
            elif is_last_turn:
                return
            else:
                is_last_turn = True

    def _share(self) -> int:
        """The most that a lane takes: its part of the largest recent crowd."""
        return min(self._batch_size, -(-max(self._crowds) // self._lanes))

    def _next_batch(self, tenant: str | None = None) -> list[tuple[C, asyncio.Future[R]]]:
        """The commands whose turn it is, of all tenants or of one.

        Those whose caller hung up or that waited too long are left out.
        """
        too_long_ago = self._clock() - self._patience_seconds
        self._crowds.append(len(self._line) + self._under_way)
        batch = []
        share = self._share()
        for command, answer, since in self._line.take(share) if tenant is None else self._line.take_of(tenant, share):
            if since < too_long_ago:
                _refuse([(command, answer)], Unavailable(log=f"{self._name}: waited too long"))
            elif not answer.done():
                batch.append((command, answer))
        return batch

    async def _carry_or_refuse(self, batch: Sequence[tuple[C, asyncio.Future[R]]]) -> None:
        """Carries a batch out. Whatever happens, every caller gets a result."""
        try:
            await self._carry(batch)
        # `_carry` handles failures of writing. This is a fault in its results, and the line must go on.
        except Exception as error:
            _log.exception("batch not answered", line=self._name, commands=len(batch))
            _refuse(batch, error)
        except BaseException:
            # The process ends during the write, whose outcome is therefore unknown.
            _refuse(batch, OutcomeUnknown())
            raise

    async def _carry(self, batch: Sequence[tuple[C, asyncio.Future[R]]]) -> None:
        self._batch.observe(len(batch))
        until = self._clock() + self._attempts_seconds
        for attempt in range(1, self._attempts + 1):
            try:
                with traces.batch(self._name, [answer for _, answer in batch]) if traces.is_on else _UNTRACED:
                    results = await self._write([command for command, _ in batch])
            except OutcomeUnknown as error:
                return _refuse(batch, error)
            except Refusal as error:
                if attempt == self._attempts or self._clock() > until or not isinstance(error, Unavailable):
                    return _refuse(batch, error)
            # A driver may raise anything. Errors that are not transient are isolated by halving and never swallowed.
            except Exception as error:
                if not is_passing(error):
                    return await self._halve(batch, error)
                if attempt == self._attempts or self._clock() > until:
                    _log.warning("batch given up", line=self._name, commands=len(batch), error=repr(error))
                    return _refuse(batch, Unavailable(log=f"{self._name}: {error!r}"))
            else:
                for (_, answer), result in zip(batch, results, strict=True):
                    if not answer.done():
                        _settle(answer, result)
                return None
            self._retries.inc()
            await asyncio.sleep(0.02 * 2**attempt)
        return None

    async def _halve(self, batch: Sequence[tuple[C, asyncio.Future[R]]], error: Exception) -> None:
        if len(batch) == 1:
            _log.error("command failed", line=self._name, exc_info=error)
            return _refuse(batch, error)
        middle = len(batch) // 2
        await self._carry(batch[:middle])
        await self._carry(batch[middle:])
        return None


def _nobody(_: object) -> str:
    return ""


def _settle(answer: "asyncio.Future[R]", result: R | Exception) -> None:
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _refuse(batch: Sequence[tuple[C, "asyncio.Future[R]"]], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
