"""Reads a list, writes its rows in transactions of thousands, and answers each row in order.

    chunks → records → orders ──queue──► COPY, COMMIT ──► tokens, links

Reading and writing overlap; the queue between them is bounded, and so is memory. Rows of one reference are written in
the order in which they stand: the first has the token, and later ones repeat it or are refused.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence, Set
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import stamina
import structlog
from shared.database_failures import OutcomeUnknown
from shared.errors import Refusal, Unavailable

from token_service.imports.references import Reference, reference_of
from token_service.imports.rows import RowProblem
from token_service.imports.writing import Outcome, Writer
from token_service.tokens.terms import Order

_ROWS_AT_ONCE: Final = 4000
#: How many parts of a body (some 64 KB each) fill a transaction if rows are long.
_PARTS_AT_ONCE: Final = 8
_QUEUED: Final = 1
_WRITTEN_AT_ONCE: Final = 2
_ATTEMPTS: Final = 6
_log = structlog.get_logger("imports")

R = TypeVar("R")


#: A row as it came, its order or the reason of its refusal, and its line. A plain tuple, since there are millions.
Row: TypeAlias = tuple[R, Order | RowProblem, int]


class _Writing(NamedTuple, Generic[R]):
    """Rows that are being written, and the references that they name."""

    task: "asyncio.Task[list[tuple[Row[R], Outcome]]]"
    references: Set[Reference]


_Queue = asyncio.Queue[list[Row[R]] | Exception | None]


async def import_rows(
    writer: Writer, blocks: AsyncIterator[list[Row[R]]], shape: Callable[[Sequence[tuple[Row[R], Outcome]]], bytes]
) -> AsyncGenerator[bytes, None]:
    """The answers to all rows, in their order.

    Args:
        blocks: the rows as they come in.
        shape: turns rows and their outcomes into bytes.
    """
    queue: _Queue[R] = asyncio.Queue(_QUEUED)
    reading = asyncio.create_task(_read(blocks, queue))
    getting = asyncio.create_task(queue.get())
    writing: deque[_Writing[R]] = deque()
    try:
        while True:
            # While the database writes rows, the next ones are prepared. A caller that waits for an answer before it
            # sends more gets it.
            oldest = [writing[0].task] if writing else []
            taken = [getting] if len(writing) < _WRITTEN_AT_ONCE else []
            await asyncio.wait([*oldest, *taken], return_when=asyncio.FIRST_COMPLETED)
            if writing and writing[0].task.done():
                yield shape(writing.popleft().task.result())
            elif getting.done():
                rows = getting.result()
                if rows is None:
                    break
                if isinstance(rows, Exception):
                    raise rows
                writing.append(_begin(writer, rows, writing))
                getting = asyncio.create_task(queue.get())
        while writing:
            yield shape(await writing.popleft().task)
    finally:
        reading.cancel()
        getting.cancel()
        # A running transaction is finished: a row is written and answered, or neither.
        await asyncio.gather(*(one.task for one in writing), getting, reading, return_exceptions=True)


async def _read(blocks: AsyncIterator[list[Row[R]]], queue: _Queue[R]) -> None:
    """Queues rows by the thousand."""
    waiting: list[Row[R]] = []
    parts = 0
    try:
        async for rows in blocks:
            waiting += rows
            parts += 1
            # If the writer is idle, fewer rows suffice.
            if waiting and (len(waiting) >= _ROWS_AT_ONCE or parts >= _PARTS_AT_ONCE or queue.empty()):
                for start in range(0, len(waiting), _ROWS_AT_ONCE):
                    await queue.put(waiting[start : start + _ROWS_AT_ONCE])
                waiting = []
                parts = 0
        end: Exception | None = None
    # Raised where the rows are taken, behind those that came before it.
    except Exception as error:
        end = error
    if waiting:
        await queue.put(waiting)
    await queue.put(end)


def _begin(writer: Writer, rows: list[Row[R]], writing: Iterable[_Writing[R]]) -> _Writing[R]:
    """Writes rows when those of the same references, which are being written, have been."""
    references = {reference_of(read) for _, read, _ in rows if isinstance(read, Order) and read.reference is not None}
    before = [one.task for one in writing if not one.references.isdisjoint(references)]
    return _Writing(asyncio.create_task(_write(writer, rows, before)), references)


async def _write(
    writer: Writer, rows: list[Row[R]], before: Sequence["asyncio.Task[Any]"]
) -> list[tuple[Row[R], Outcome]]:
    if before:
        await asyncio.wait(before)
    orders = [read for _, read, _ in rows if isinstance(read, Order)]
    outcomes = await _write_patiently(writer, orders) if orders else ()
    if len(orders) == len(rows):
        return list(zip(rows, outcomes, strict=True))
    left = iter(outcomes)
    return [(row, next(left) if isinstance(row[1], Order) else row[1]) for row in rows]


async def _write_patiently(writer: Writer, orders: list[Order]) -> Sequence[Outcome]:
    """Retries transient errors; after that, the rows are refused."""
    try:
        # Without arguments, which stamina would write into the log.
        return await _patiently(lambda: writer.write(orders))
    except Refusal as error:
        problem: Any = RowProblem(error.message, code=error.stable_code)
    # Rows that cannot be written must not end the import of the others.
    except Exception:
        _log.exception("rows cannot be written", rows=len(orders))
        problem = RowProblem("cannot be written", code="internal_error")
    return [problem] * len(orders)


def _may_pass(error: Exception) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, OutcomeUnknown)


_patiently = stamina.AsyncRetryingCaller(
    attempts=_ATTEMPTS, timeout=None, wait_initial=0.1, wait_max=5.0, wait_jitter=0.05
).on(_may_pass)
