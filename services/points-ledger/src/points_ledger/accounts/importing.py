"""`POST /v1/credits/import`: a stream of credits, answered line by line, in constant memory.

A line is a credit like any other: the same reference again changes nothing, so a caller simply repeats an import that
broke off. While the database books one block, the process decides the next one (`turns`).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, NamedTuple

import orjson
from shared.callers import Caller
from shared.errors import Malformed, Refusal
from shared.identifiers import Identifier
from shared.line_exchange import answered_in_order
from shared.problems import status_of

from points_ledger.accounts.schemas import PostBody, entry_body
from points_ledger.accounts.service import AccountService, Rehearsal
from points_ledger.accounts.turns import Turns
from points_ledger.domain.accounts import Entry, Post
from points_ledger.lists import Line, ListOf
from points_ledger.orders import Settled

#: Lines that are booked in one transaction.
_BLOCK: Final = 512
#: Blocks of an import that are booked at the same time.
_BOOKED_AT_ONCE: Final = 2
#: Blocks under way: two are booked, one waits for its turn, one is answered.
_AHEAD: Final = 4
_KIND_OF_STATUS: Final = {201: "credited", 200: "repeated"}


class CreditLine(PostBody):
    """One line: a credit and its account."""

    user_id: Identifier


#: What comes in.
CREDITS: Final = ListOf(CreditLine, frozenset({"user_id", "points", "reference", "reason"}), frozenset({"points"}))


Block = list[Line[CreditLine]]


class Told(NamedTuple):
    """What became of the lines of a block: how they count in the summary, and their answers."""

    counts: Counter[str]
    answers: bytes


async def import_credits(
    service: AccountService,
    caller: Caller,
    blocks: AsyncIterator[Block],
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
    # What a rehearsal remembers of one block, the next one needs.
    turns = Turns(_BOOKED_AT_ONCE if rehearsal is None else 1)
    credit_list = service.begin_import(caller)

    async def outcomes_of(asked: Sequence[Post]) -> Sequence[Settled | Refusal]:
        try:
            if rehearsal is not None:
                await rehearsal.look_at(asked)
                return [rehearsal.outcome_of(credit) for credit in asked]
            if open_accounts:
                await service.open_accounts(caller.tenant, {credit.user_id for credit in asked})
            return await credit_list.book(asked)
        except Refusal as refusal:
            return [refusal] * len(asked)

    async def told(block: Block, booking: "asyncio.Task[Sequence[Settled | Refusal]] | None") -> Told:
        return _told(block, await booking if booking is not None else ())

    def begin(block: Block) -> "asyncio.Task[Told]":
        asked = [_credit_of(line.said, caller.tenant) for line in block if not isinstance(line.said, Malformed)]
        booking = turns.begin({credit.user_id for credit in asked}, partial(outcomes_of, asked)) if asked else None
        return asyncio.create_task(told(block, booking))

    async with (
        aclosing(turns.in_blocks(blocks, _BLOCK)) as in_blocks,
        aclosing(answered_in_order(in_blocks, begin, at_most=_AHEAD)) as all_told,
    ):
        async for block_counts, answers in all_told:
            counts.update(block_counts)
            yield answers
    summary = {"lines": counts.total(), **{kind: counts[kind] for kind in ("credited", "repeated", "refused")}}
    yield orjson.dumps({"summary": summary}) + b"\n"


def _credit_of(said: CreditLine, tenant: str) -> Post:
    return Post(tenant, said.user_id, said.points, said.reference, said.reason)


def _told(block: Block, booked: Sequence[Settled | Refusal]) -> Told:
    outcomes = iter(booked)
    counts: Counter[str] = Counter()
    answers: list[bytes] = []
    for number, said in block:
        status, body = _shape(said if isinstance(said, Malformed) else next(outcomes))
        counts[_KIND_OF_STATUS.get(status, "refused")] += 1
        # The members of the answer, behind the number of the line and its status.
        answers.append(b'{"line":%d,"status":%d,%b\n' % (number, status, orjson.dumps(body)[1:]))
    return Told(counts, b"".join(answers))


def _shape(settled: Settled | Refusal) -> tuple[int, dict[str, Any]]:
    outcome = settled.outcome if isinstance(settled, Settled) else settled
    if isinstance(outcome, Entry):
        return 200 if isinstance(settled, Settled) and settled.repeated else 201, entry_body(outcome)
    if isinstance(outcome, Refusal):
        return status_of(outcome), {"code": outcome.stable_code, "detail": outcome.message}
    raise TypeError(f"a credit ends in an entry, not in {type(outcome).__name__}")
