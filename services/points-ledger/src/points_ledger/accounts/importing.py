"""`POST /v1/credits/import`: a stream of credits, answered line by line, in constant memory.

A line is a credit like any other: the same reference again changes nothing, so a caller simply repeats an import that
broke off.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
from pydantic import ValidationError
from shared.callers import Caller
from shared.errors import Malformed, Refusal
from shared.idempotency import Answer
from shared.identifiers import Identifier
from shared.line_exchange import LineTooLong, lines_of
from shared.problems import status_of

from points_ledger.accounts.schemas import PostBody, entry_body
from points_ledger.accounts.service import AccountService
from points_ledger.domain.accounts import Entry
from points_ledger.ledger import Settled

#: How many credits may wait at the same time; enough to fill the batches of the line.
_AHEAD: Final = 512


class CreditLine(PostBody):
    """One line: a credit and its account."""

    user_id: Identifier


async def import_credits(service: AccountService, caller: Caller, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The outcome of each line that is not empty, in the order of the lines.

    If two lines have the same account and reference, the first is booked; the second repeats it or is refused.
    """
    under_way: deque[asyncio.Task[bytes]] = deque()
    named: dict[tuple[str, str], asyncio.Task[bytes]] = {}
    number = 0
    try:
        async for line in lines_of(chunks):
            number += 1
            if line.strip():
                under_way.append(_begin(service, caller, number, line, named))
            while under_way and (len(under_way) >= _AHEAD or under_way[0].done()):
                yield await under_way.popleft()
    except LineTooLong:
        too_long = Malformed("The line is too long; nothing after it was read.", code="line_too_long")
        under_way.append(asyncio.create_task(_told(_refused(number + 1, too_long))))
    while under_way:
        yield await under_way.popleft()


def _begin(
    service: AccountService,
    caller: Caller,
    number: int,
    line: bytes,
    named: dict[tuple[str, str], asyncio.Task[bytes]],
) -> asyncio.Task[bytes]:
    """Begins a line. If one with the same account and reference is under way (`named`), it waits for that."""
    try:
        body = CreditLine.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        refusal = Malformed(f"{field}: {first['msg']}" if field else first["msg"])
        return asyncio.create_task(_told(_refused(number, refusal)))
    name = (body.user_id, body.reference)
    task = asyncio.create_task(_credit(service, caller, number, body, named.get(name)))
    named[name] = task

    def forget(done: asyncio.Task[bytes]) -> None:
        if named.get(name) is done:
            del named[name]

    task.add_done_callback(forget)
    return task


async def _credit(
    service: AccountService, caller: Caller, number: int, body: CreditLine, before: asyncio.Task[bytes] | None
) -> bytes:
    if before is not None:
        await asyncio.wait([before])
    try:
        answer = await service.post(
            caller,
            user_id=body.user_id,
            points=body.points,
            reference=body.reference,
            reason=body.reason,
            shape=_shape,
            key=None,
        )
    except Refusal as refusal:
        return _refused(number, refusal)
    return orjson.dumps({"line": number, "status": answer.status, **orjson.loads(answer.body)}) + b"\n"


async def _told(outcome: bytes) -> bytes:
    return outcome


def _shape(settled: Settled) -> Answer:
    outcome = settled.outcome
    if isinstance(outcome, Refusal):
        return Answer.of(status_of(outcome), _problem(outcome))
    if not isinstance(outcome, Entry):
        raise TypeError(f"a credit ends in an entry, not in {type(outcome).__name__}")
    return Answer.of(200 if settled.repeated else 201, entry_body(outcome))


def _refused(number: int, refusal: Refusal) -> bytes:
    return orjson.dumps({"line": number, "status": status_of(refusal), **_problem(refusal)}) + b"\n"


def _problem(refusal: Refusal) -> dict[str, Any]:
    return {"code": refusal.stable_code, "detail": refusal.message}
