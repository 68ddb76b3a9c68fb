"""`POST /v1/credits/import`: a stream of credits, answered line by line, in constant memory.

A line is a credit like any other: the same reference again changes nothing, so a caller simply repeats an import that
broke off. Imports have a line of commands of their own with a single lane, so that the lines of an account are booked
in the order in which they stand.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final, Literal, NamedTuple

import orjson
from shared.callers import Caller
from shared.errors import Malformed, Refusal
from shared.idempotency import Answer
from shared.identifiers import Identifier
from shared.line_exchange import answered_in_order
from shared.problems import status_of

from points_ledger.accounts.schemas import PostBody, entry_body
from points_ledger.accounts.service import AccountService, Credit, Rehearsal
from points_ledger.domain.accounts import Entry
from points_ledger.ledger import Settled
from points_ledger.lists import Line, ListOf

#: How many credits may wait at the same time; enough to fill the batches of the line.
_AHEAD: Final = 512
_KIND_OF_STATUS: Final[dict[int, Literal["credited", "repeated"]]] = {201: "credited", 200: "repeated"}


class CreditLine(PostBody):
    """One line: a credit and its account."""

    user_id: Identifier


#: What comes in.
CREDITS: Final = ListOf(CreditLine, frozenset({"user_id", "points", "reference", "reason"}), frozenset({"points"}))


class Outcome(NamedTuple):
    """What became of a line: how it counts in the summary, and its answer."""

    kind: Literal["credited", "repeated", "refused"]
    answer: bytes


async def import_credits(
    service: AccountService,
    caller: Caller,
    blocks: AsyncIterator[list[Line[CreditLine]]],
    *,
    open_accounts: bool,
    rehearsal: Rehearsal | None,
) -> AsyncGenerator[bytes, None]:
    """The outcome of each line that is not empty, in the order of the lines, and a summary at the end.

    If two lines have the same account and reference, the first is booked; the second repeats it or is refused.

    Args:
        open_accounts: whether accounts that are missing are opened.
        rehearsal: nothing is changed, and each line gets the answer that it would get.

    Raises:
        CallerGone: after the lines that came whole were carried out.
    """
    counts: Counter[str] = Counter()

    def begin(line: Line[CreditLine]) -> asyncio.Task[Outcome]:
        return asyncio.create_task(_outcome(service, caller, line, rehearsal))

    async def prepared() -> AsyncIterator[list[Line[CreditLine]]]:
        async for block in blocks:
            named = {line.said.user_id for line in block if isinstance(line.said, CreditLine)}
            if rehearsal is not None:
                await rehearsal.look_at([_credit_of(line) for line in block if isinstance(line.said, CreditLine)])
            elif open_accounts and named:
                await service.open_accounts(caller.tenant, named)
            yield block

    async with aclosing(answered_in_order(prepared(), begin, at_most=_AHEAD)) as outcomes:
        async for kind, answer in outcomes:
            counts[kind] += 1
            yield answer
    summary = {"lines": counts.total(), **{kind: counts[kind] for kind in ("credited", "repeated", "refused")}}
    yield orjson.dumps({"summary": summary}) + b"\n"


def _credit_of(line: Line[CreditLine]) -> Credit:
    assert isinstance(line.said, CreditLine)  # noqa: S101 — asked before
    said = line.said
    return Credit(said.user_id, said.points, said.reference, said.reason)


async def _outcome(
    service: AccountService, caller: Caller, line: Line[CreditLine], rehearsal: Rehearsal | None
) -> Outcome:
    if isinstance(line.said, Malformed):
        return _refused(line.number, line.said)
    try:
        credit = _credit_of(line)
        if rehearsal is not None:
            answer = _shape(rehearsal.outcome_of(credit))
        else:
            answer = await service.import_credit(caller, credit, _shape)
    except Refusal as refusal:
        return _refused(line.number, refusal)
    told = orjson.dumps({"line": line.number, "status": answer.status, **orjson.loads(answer.body)}) + b"\n"
    return Outcome(_KIND_OF_STATUS.get(answer.status, "refused"), told)


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
