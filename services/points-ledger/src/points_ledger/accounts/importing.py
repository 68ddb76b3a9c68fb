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
from pydantic import ValidationError
from shared.callers import Caller
from shared.errors import Malformed, Refusal
from shared.idempotency import Answer
from shared.identifiers import Identifier
from shared.line_exchange import LineTooLong, answered_in_order, line_blocks_of
from shared.lists.csv_lists import CsvList
from shared.lists.encodings import recognise
from shared.lists.records import RecordTooLong
from shared.problems import status_of

from points_ledger.accounts.schemas import PostBody, entry_body
from points_ledger.accounts.service import AccountService, Credit, Rehearsal
from points_ledger.domain.accounts import Entry
from points_ledger.ledger import Settled

#: How many credits may wait at the same time; enough to fill the batches of the line.
_AHEAD: Final = 512
_KIND_OF_STATUS: Final[dict[int, Literal["credited", "repeated"]]] = {201: "credited", 200: "repeated"}
_COLUMNS: Final = frozenset({"user_id", "points", "reference", "reason"})


class CreditLine(PostBody):
    """One line: a credit and its account."""

    user_id: Identifier


class Line(NamedTuple):
    """A line that is not empty: its number, and what it says or why it says nothing."""

    number: int
    said: CreditLine | Malformed


class Outcome(NamedTuple):
    """What became of a line: how it counts in the summary, and its answer."""

    kind: Literal["credited", "repeated", "refused"]
    answer: bytes


async def ndjson_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Line]]:
    """Lines of JSON; a byte order mark is no part of the first one.

    Raises:
        UnreadableList: it is something else.
    """
    encoding, behind = await recognise(chunks, None)
    encoding.check_is_utf_8()
    return _json_blocks(behind)


async def csv_lines(chunks: AsyncIterator[bytes], charset: str | None) -> AsyncIterator[list[Line]]:
    """Records of CSV below a header, as target lists have them.

    Raises:
        UnreadableList, UnsupportedMediaType, MalformedHeader: as they say.
    """
    csv = await CsvList.open(chunks, charset=charset, is_known=_COLUMNS.__contains__)
    missing = sorted(_COLUMNS - set(csv.header.columns))
    if missing:
        raise csv.header.missing(missing)
    return _csv_blocks(csv)


async def import_credits(
    service: AccountService,
    caller: Caller,
    blocks: AsyncIterator[list[Line]],
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

    def begin(line: Line) -> asyncio.Task[Outcome]:
        return asyncio.create_task(_outcome(service, caller, line, rehearsal))

    async def prepared() -> AsyncIterator[list[Line]]:
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


async def _json_blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Line]]:
    number = 0
    try:
        async for lines in line_blocks_of(chunks):
            yield [Line(place, _read(line)) for place, line in enumerate(lines, number + 1) if line.strip()]
            number += len(lines)
    except LineTooLong:
        yield [Line(number + 1, _too_long())]


async def _csv_blocks(csv: CsvList) -> AsyncIterator[list[Line]]:
    places = {name: place for place, name in enumerate(csv.header.columns) if name in _COLUMNS}
    try:
        async for records, lines in csv.blocks():
            block = []
            for record, number in zip(records, lines, strict=True):
                try:
                    fields = csv.fields_of(record)
                except ValueError as error:
                    block.append(Line(number, Malformed(f"The row {error}.")))
                    continue
                said: dict[str, Any] = {name: fields[place] for name, place in places.items()}
                points = said["points"].strip()
                said["points"] = int(points) if points.isascii() and points.isdecimal() and len(points) < 20 else points
                block.append(Line(number, _read(orjson.dumps(said)) if _is_text(said) else _no_text()))
            yield block
    except RecordTooLong as error:
        yield [Line(error.line, _too_long())]


def _is_text(said: dict[str, Any]) -> bool:
    """Whether all of it is Unicode: bytes that the encoding does not have come as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for value in said.values() for letter in str(value))


def _read(line: bytes) -> CreditLine | Malformed:
    try:
        return CreditLine.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        return Malformed(f"{field}: {first['msg']}" if field else first["msg"])


def _no_text() -> Malformed:
    return Malformed("The row has bytes that are not UTF-8; if the list is in windows-1252, send it with this charset.")


def _too_long() -> Malformed:
    return Malformed("The line is too long; nothing after it was read.", code="line_too_long")


def _credit_of(line: Line) -> Credit:
    assert isinstance(line.said, CreditLine)  # noqa: S101 — asked before
    said = line.said
    return Credit(said.user_id, said.points, said.reference, said.reason)


async def _outcome(service: AccountService, caller: Caller, line: Line, rehearsal: Rehearsal | None) -> Outcome:
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
