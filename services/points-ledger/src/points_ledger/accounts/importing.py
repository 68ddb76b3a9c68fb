"""`POST /v1/credits/import`: a stream of credits, answered line by line, in constant memory.

A line is a credit like any other: the same reference again changes nothing, so a caller simply repeats an import that
broke off.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final, Literal, NamedTuple

import orjson
from pydantic import ValidationError
from shared.callers import Caller
from shared.errors import Malformed, Refusal
from shared.idempotency import Answer
from shared.identifiers import Identifier
from shared.line_exchange import LineTooLong, answered_in_order, line_blocks_of
from shared.problems import status_of

from points_ledger.accounts.schemas import PostBody, entry_body
from points_ledger.accounts.service import AccountService
from points_ledger.domain.accounts import Entry
from points_ledger.ledger import Settled

#: How many credits may wait at the same time; enough to fill the batches of the line.
_AHEAD: Final = 512
_KIND_OF_STATUS: Final[dict[int, Literal["credited", "repeated"]]] = {201: "credited", 200: "repeated"}


class CreditLine(PostBody):
    """One line: a credit and its account."""

    user_id: Identifier


class Outcome(NamedTuple):
    """What became of a line: how it counts in the summary, and its answer."""

    kind: Literal["credited", "repeated", "refused"]
    answer: bytes


async def import_credits(
    service: AccountService, caller: Caller, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    """The outcome of each line that is not empty, in the order of the lines, and a summary at the end.

    If two lines have the same account and reference, the first is booked; the second repeats it or is refused.

    Raises:
        CallerGone: after the lines that came whole were carried out.
    """
    named: dict[tuple[str, str], asyncio.Task[Outcome]] = {}
    counts: Counter[str] = Counter()

    def begin(line: tuple[int, bytes | None]) -> asyncio.Task[Outcome]:
        return _begin(service, caller, *line, named)

    async with aclosing(answered_in_order(_numbered(chunks), begin, at_most=_AHEAD)) as outcomes:
        async for kind, answer in outcomes:
            counts[kind] += 1
            yield answer
    summary = {"lines": counts.total(), **{kind: counts[kind] for kind in ("credited", "repeated", "refused")}}
    yield orjson.dumps({"summary": summary}) + b"\n"


async def _numbered(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[tuple[int, bytes | None]]]:
    """The lines that are not empty with their numbers; None for one that is too long, after which nothing is read."""
    number = 0
    try:
        async for lines in line_blocks_of(chunks):
            yield [(place, line) for place, line in enumerate(lines, number + 1) if line.strip()]
            number += len(lines)
    except LineTooLong:
        yield [(number + 1, None)]


def _begin(
    service: AccountService,
    caller: Caller,
    number: int,
    line: bytes | None,
    named: dict[tuple[str, str], asyncio.Task[Outcome]],
) -> asyncio.Task[Outcome]:
    """Begins a line. If one with the same account and reference is under way (`named`), it waits for that."""
    if line is None:
        too_long = Malformed("The line is too long; nothing after it was read.", code="line_too_long")
        return asyncio.create_task(_told(_refused(number, too_long)))
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

    def forget(done: asyncio.Task[Outcome]) -> None:
        if named.get(name) is done:
            del named[name]

    task.add_done_callback(forget)
    return task


async def _credit(
    service: AccountService, caller: Caller, number: int, body: CreditLine, before: asyncio.Task[Outcome] | None
) -> Outcome:
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
    told = orjson.dumps({"line": number, "status": answer.status, **orjson.loads(answer.body)}) + b"\n"
    return Outcome(_KIND_OF_STATUS.get(answer.status, "refused"), told)


async def _told(outcome: Outcome) -> Outcome:
    return outcome


def _shape(settled: Settled) -> Answer:
    outcome = settled.outcome
    if isinstance(outcome, Refusal):
        return Answer.of(status_of(outcome), _problem(outcome))
    if not isinstance(outcome, Entry):
        raise TypeError(f"a credit ends in an entry, not in {type(outcome).__name__}")
    return Answer.of(200 if settled.repeated else 201, entry_body(outcome))


def _refused(number: int, refusal: Refusal) -> Outcome:
    told = orjson.dumps({"line": number, "status": status_of(refusal), **_problem(refusal)}) + b"\n"
    return Outcome("refused", told)


def _problem(refusal: Refusal) -> dict[str, Any]:
    return {"code": refusal.stable_code, "detail": refusal.message}
