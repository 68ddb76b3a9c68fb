"""Reads a list, writes its rows in transactions of some thousands, and answers each row in its order.

    chunks → records → orders ──queue──► COPY, COMMIT ──► tokens, links

Reading and writing overlap; the queue between them is bounded, and so is memory.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import structlog
from shared.db import OutcomeUnknown
from shared.errors import Refusal, Unavailable

from token_service.imports.rows import RowProblem
from token_service.imports.writing import Outcome, RowWriter
from token_service.tokens.terms import Order

_ROWS_AT_ONCE: Final = 4000
#: Rows are as long as they like: so many parts of a body, of some 64 KB, are enough for a transaction as well.
_PARTS_AT_ONCE: Final = 8
_QUEUED: Final = 1
_WRITTEN_AT_ONCE: Final = 2
_ATTEMPTS: Final = 6
_log = structlog.get_logger("imports")

R = TypeVar("R")


#: A row as it came, and the order that it makes, or why it makes none. A plain tuple: there are millions of them.
Row: TypeAlias = tuple[R, Order | RowProblem]

_Queue = asyncio.Queue[list[Row[R]] | Exception | None]


async def import_rows(
    writer: RowWriter, blocks: AsyncIterator[list[Row[R]]], shape: Callable[[Sequence[tuple[Row[R], Outcome]]], bytes]
) -> AsyncIterator[bytes]:
    """The shaped outcomes of all rows, in their order.

    Args:
        blocks: the rows as they come in.
        shape: turns some rows and their outcomes into bytes.
    """
    queue: _Queue[R] = asyncio.Queue(_QUEUED)
    reading = asyncio.create_task(_read(blocks, queue))
    getting = asyncio.create_task(queue.get())
    writing: deque[asyncio.Task[list[tuple[Row[R], Outcome]]]] = deque()
    try:
        while True:
            # While the database writes some rows, the next are made ready; and whoever waits for an answer before
            # sending more gets it.
            oldest = [writing[0]] if writing else []
            taken = [getting] if len(writing) < _WRITTEN_AT_ONCE else []
            await asyncio.wait([*oldest, *taken], return_when=asyncio.FIRST_COMPLETED)
            if writing and writing[0].done():
                yield shape(writing.popleft().result())
            elif getting.done():
                rows = getting.result()
                if rows is None:
                    break
                if isinstance(rows, Exception):
                    raise rows
                writing.append(asyncio.create_task(_write(writer, rows)))
                getting = asyncio.create_task(queue.get())
        while writing:
            yield shape(await writing.popleft())
    finally:
        reading.cancel()
        getting.cancel()
        # What was begun is ended: a row is either written and answered, or neither.
        await asyncio.gather(*writing, getting, reading, return_exceptions=True)


async def _read(blocks: AsyncIterator[list[Row[R]]], queue: _Queue[R]) -> None:
    """Puts rows in line by the thousand: few enough to wait for, many enough for a transaction."""
    waiting: list[Row[R]] = []
    parts = 0
    try:
        async for rows in blocks:
            waiting += rows
            parts += 1
            # Fewer are written, too, when the writer has nothing else to do.
            if waiting and (len(waiting) >= _ROWS_AT_ONCE or parts >= _PARTS_AT_ONCE or queue.empty()):
                for start in range(0, len(waiting), _ROWS_AT_ONCE):
                    await queue.put(waiting[start : start + _ROWS_AT_ONCE])
                waiting = []
                parts = 0
        if waiting:
            await queue.put(waiting)
        await queue.put(None)
    # Whatever it is, it is raised where the rows are taken.
    except Exception as error:
        await queue.put(error)


async def _write(writer: RowWriter, rows: list[Row[R]]) -> list[tuple[Row[R], Outcome]]:
    orders = [read for _, read in rows if isinstance(read, Order)]
    outcomes = await _write_patiently(writer, orders) if orders else ()
    if len(orders) == len(rows):
        return list(zip(rows, outcomes, strict=True))
    left = iter(outcomes)
    return [(row, next(left) if isinstance(row[1], Order) else row[1]) for row in rows]


async def _write_patiently(writer: RowWriter, orders: list[Order]) -> Sequence[Outcome]:
    """Tries again while the trouble may pass; after that, rows are named as not landed."""
    problem: Any = None
    for attempt in range(_ATTEMPTS):
        try:
            return await writer.write(orders)
        except OutcomeUnknown as error:
            problem = RowProblem(error.message, code=error.stable_code)
            break
        except Unavailable as error:
            problem = RowProblem(error.message, code=error.stable_code)
            await asyncio.sleep(0.1 * 2**attempt)
        except Refusal as error:
            problem = RowProblem(error.message, code=error.stable_code)
            break
        # Some rows that cannot be written, for whatever reason, must not end the import of all others.
        except Exception:
            _log.exception("rows cannot be written", rows=len(orders))
            problem = RowProblem("cannot be written", code="internal_error")
            break
    return [problem] * len(orders)
