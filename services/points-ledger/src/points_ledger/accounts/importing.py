"""`POST /v1/credits/import`: a stream of credits, answered line by line, in constant memory.

A line is a credit like any other: the same reference again changes nothing, so a caller simply repeats an import that
broke off. The blocks of an import are booked in turn, so that the lines of an account are booked in the order in which
they stand.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import orjson
from shared.callers import Caller
from shared.errors import Malformed, Refusal
from shared.idempotency import Answer
from shared.identifiers import Identifier
from shared.line_exchange import answered_in_order
from shared.problems import status_of

from points_ledger.accounts.crediting import Credit
from points_ledger.accounts.schemas import PostBody, entry_body
from points_ledger.accounts.service import AccountService, Rehearsal
from points_ledger.domain.accounts import Entry
from points_ledger.ledger import Settled
from points_ledger.lists import Line, ListOf

#: Lines that are booked in one transaction.
_BLOCK: Final = 512
#: Blocks under way: one is read, one is booked, one is answered.
_AHEAD: Final = 3
_KIND_OF_STATUS: Final = {201: "credited", 200: "repeated"}


class CreditLine(PostBody):
    """One line: a credit and its account."""

    user_id: Identifier


#: What comes in.
CREDITS: Final = ListOf(CreditLine, frozenset({"user_id", "points", "reference", "reason"}), frozenset({"points"}))


class Told(NamedTuple):
    """What became of the lines of a block: how they count in the summary, and their answers."""

    counts: Counter[str]
    answers: bytes


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
    turn = asyncio.Lock()
    credit_list = service.begin_import(caller)

    async def outcomes_of(asked: Sequence[Credit]) -> Sequence[Answer | Refusal]:
        if rehearsal is not None:
            await rehearsal.look_at(asked)
            return [_shape(rehearsal.outcome_of(credit)) for credit in asked]
        if open_accounts:
            await service.open_accounts(caller.tenant, {credit.user_id for credit in asked})
        return await credit_list.book(asked, _shape)

    async def told(block: list[Line[CreditLine]]) -> Told:
        asked = [_credit_of(line.said) for line in block if not isinstance(line.said, Malformed)]
        # In turn, so that the lines of an account keep their order.
        async with turn:
            try:
                outcomes = await outcomes_of(asked) if asked else []
            except Refusal as refusal:
                outcomes = [refusal] * len(asked)
        return _told(block, outcomes)

    def begin(block: list[Line[CreditLine]]) -> asyncio.Task[Told]:
        return asyncio.create_task(told(block))

    async with aclosing(answered_in_order(_in_blocks(blocks), begin, at_most=_AHEAD)) as all_told:
        async for block_counts, answers in all_told:
            counts.update(block_counts)
            yield answers
    summary = {"lines": counts.total(), **{kind: counts[kind] for kind in ("credited", "repeated", "refused")}}
    yield orjson.dumps({"summary": summary}) + b"\n"


async def _in_blocks(blocks: AsyncIterator[list[Line[CreditLine]]]) -> AsyncIterator[list[list[Line[CreditLine]]]]:
    async for lines in blocks:
        yield [lines[start : start + _BLOCK] for start in range(0, len(lines), _BLOCK)]


def _credit_of(said: CreditLine) -> Credit:
    return Credit(said.user_id, said.points, said.reference, said.reason)


def _told(block: Sequence[Line[CreditLine]], booked: Sequence[Answer | Refusal]) -> Told:
    outcomes = iter(booked)
    counts: Counter[str] = Counter()
    answers: list[bytes] = []
    for number, said in block:
        answer = said if isinstance(said, Malformed) else next(outcomes)
        if isinstance(answer, Refusal):
            answer = Answer.of(status_of(answer), _problem(answer))
        counts[_KIND_OF_STATUS.get(answer.status, "refused")] += 1
        # The members of the answer, behind the number of the line and its status.
        answers.append(b'{"line":%d,"status":%d,%b\n' % (number, answer.status, answer.body[1:]))
    return Told(counts, b"".join(answers))


def _shape(settled: Settled) -> Answer:
    outcome = settled.outcome
    if isinstance(outcome, Refusal):
        return Answer.of(status_of(outcome), _problem(outcome))
    if not isinstance(outcome, Entry):
        raise TypeError(f"a credit ends in an entry, not in {type(outcome).__name__}")
    return Answer.of(200 if settled.repeated else 201, entry_body(outcome))


def _problem(refusal: Refusal) -> dict[str, Any]:
    return {"code": refusal.stable_code, "detail": refusal.message}
