"""The two forms of a target list: reading and answering their rows."""

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Protocol, TypeVar

import orjson
from shared.bodies import RepeatedMember, repeated_member
from shared.line_exchange import LineTooLong, line_blocks_of
from shared.lists.csv_lists import CsvList, MalformedHeader
from shared.lists.encodings import recognise
from shared.lists.records import Broken, Record, RecordTooLong
from shared.times import iso

from token_service.imports.importing import Row
from token_service.imports.rows import ATTRIBUTE_PREFIX, FIELDS, RowProblem, RowReader, is_column
from token_service.imports.writing import Outcome
from token_service.tokens.orders import url_link
from token_service.tokens.terms import Order

CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"
#: What is added to each row; such columns of an earlier answer are replaced.
ADDED: Final = ("token", "url_link", "expires_at", "error")
#: Added behind `error`, unless the list has a column of this name for itself.
LINE: Final = "line"
_TOO_LONG: Final = RowProblem("is too long; this and what follows was not read", code="row_too_long")
#: No more are read before others have their turn.
_LINES_AT_ONCE: Final = 500
_NOT_UTF_8: Final = "has bytes that are not UTF-8; if the list is in windows-1252, send it with this charset"

#: Few distinct values: the rows of a transaction expire at a few moments.
_iso = lru_cache(maxsize=1024)(iso)

R = TypeVar("R")


class TargetList(Protocol[R]):
    """A list while it is read."""

    #: Of the list and its answer.
    media_type: str
    #: What is answered before the first row.
    head: bytes

    def blocks(self) -> AsyncIterator[list[Row[R]]]:
        """The rows, as they come in."""

    def shape(self, answered: Sequence[tuple[Row[R], Outcome]]) -> bytes:
        """The answer to rows and their outcomes."""


class CsvTargets:
    """CSV with a header."""

    def __init__(self, csv: CsvList, reader: RowReader) -> None:
        header = csv.header
        self._csv = csv
        self._reader = reader
        self._delimiter, self._line_end = header.delimiter, header.line_end
        columns = header.columns
        if "attributes" in columns:
            raise MalformedHeader("Attributes are columns of their own: attributes.<name>.", found=header.names)
        missing = [name for name in reader.required if name not in columns]
        if reader.requires_lifetime and not {"duration", "expires_at"} & set(columns):
            missing.append("duration or expires_at")
        if missing:
            raise header.missing(missing)
        behind = dict(pairwise(columns))
        # Behind a link, `expires_at` is that of an earlier answer; elsewhere it is what is ordered.
        ordered = set(FIELDS) - ({"expires_at"} if behind.get("url_link") == "expires_at" else set())
        dropped = {*ADDED, *({LINE} if behind.get("error") == LINE else ())}
        self._has_line = LINE in columns and LINE not in dropped
        self._echoed = [place for place, name in enumerate(columns) if name not in dropped]
        self._echoes_all = len(self._echoed) == len(columns)
        self._fields = [(name, place) for place, name in enumerate(columns) if name in ordered]
        self._is_all_of_tokens = len(self._fields) == len(columns)
        self._attributes = [
            (name.removeprefix(ATTRIBUTE_PREFIX), place)
            for place, name in enumerate(columns)
            if name.startswith(ATTRIBUTE_PREFIX)
        ]
        self._names = columns
        self.media_type = f"{CSV}; charset={header.encoding.charset}"
        self.head = csv.begin_answer([*self._echo(header.names), *ADDED, *(() if self._has_line else (LINE,))])

    @classmethod
    async def open(cls, chunks: AsyncIterator[bytes], charset: str | None, reader: RowReader) -> "CsvTargets":
        """Reads the header.

        Raises:
            UnreadableList, UnsupportedMediaType, MalformedHeader: as they say.
        """
        return cls(await CsvList.open(chunks, charset=charset, is_known=is_column), reader)

    async def blocks(self) -> AsyncIterator[list[Row[Record]]]:
        try:
            async for records, lines in self._csv.blocks():
                yield list(zip(records, map(self._read, records), lines, strict=True))
        except RecordTooLong as error:
            yield [("", _TOO_LONG, error.line)]

    def shape(self, answered: Sequence[tuple[Row[Record], Outcome]]) -> bytes:
        return self._csv.encode("".join([self._answered(*row, outcome) for row, outcome in answered]))

    def _answered(self, record: Record, read: Order | RowProblem, line: int, outcome: Outcome) -> str:
        """A row with its token. A link may have whatever a URL may have in it, the delimiter too."""
        if isinstance(outcome, RowProblem):
            return self._refused(record, outcome, line)
        token, expires_at = outcome
        link = url_link(read.terms.base_url, token) if token and isinstance(read, Order) else ""
        expiry = "" if expires_at is None else _iso(expires_at)
        delimiter = self._delimiter
        ends = delimiter if self._has_line else 2 * delimiter
        if isinstance(record, str) and self._echoes_all and delimiter not in link and '"' not in link:
            return f"{record}{delimiter}{token}{delimiter}{link}{delimiter}{expiry}{ends}{self._line_end}"
        return self._csv.rows([(*self._echo_of(record), token, link, expiry, "", *([] if self._has_line else [""]))])

    def _refused(self, record: Record, problem: RowProblem, line: int) -> str:
        text = f"{problem.as_text()} (line {line})" if self._has_line else problem.as_text()
        return self._csv.rows([(*self._echo_of(record), "", "", "", text, *([] if self._has_line else [line]))])

    def _echo_of(self, record: Record) -> list[str]:
        """The columns of a row that come back as they were."""
        if isinstance(record, Broken):
            return ["" for _ in self._echoed]
        return self._echo(record.split(self._delimiter) if isinstance(record, str) else record)

    def _echo(self, fields: Sequence[str]) -> list[str]:
        return [fields[place] if place < len(fields) else "" for place in self._echoed]

    def _read(self, record: Record) -> Order | RowProblem:
        try:
            return self._reader.order(self._given(record))
        except RowProblem as problem:
            return RowProblem(_NOT_UTF_8, field=problem.field) if _has_foreign_bytes(record) else problem
        except ValueError as error:
            return RowProblem(str(error))

    def _given(self, record: Record) -> Iterable[tuple[str, Any]]:
        """What a record says, by field.

        Raises:
            ValueError: it is not CSV, or has more or fewer columns than the header.
        """
        fields = self._csv.fields_of(record)
        if self._is_all_of_tokens:
            return zip(self._names, fields, strict=True)
        given: list[tuple[str, Any]] = [(name, fields[place]) for name, place in self._fields]
        if self._attributes:
            attributes = {name: fields[place] for name, place in self._attributes if fields[place]}
            given.append(("attributes", attributes or None))
        return given


def _has_foreign_bytes(record: Record) -> bool:
    """Whether something in it was no text."""
    text = record if isinstance(record, str) else "".join(record)
    return not text.isascii() and any(0xDC80 <= ord(character) <= 0xDCFF for character in text)


class NdjsonTargets:
    """One JSON object a line."""

    head = b""
    media_type = NDJSON

    def __init__(self, chunks: AsyncIterator[bytes], reader: RowReader) -> None:
        self._chunks = chunks
        self._reader = reader

    @classmethod
    async def open(cls, chunks: AsyncIterator[bytes], charset: str | None, reader: RowReader) -> "NdjsonTargets":
        """Looks at what the file is.

        Raises:
            UnreadableList, UnsupportedMediaType: as they say; JSON is UTF-8.
        """
        encoding, behind = await recognise(chunks, charset or "utf-8")
        encoding.check_is_utf_8()
        return cls(behind, reader)

    async def blocks(self) -> AsyncIterator[list[Row[dict[str, Any]]]]:
        number = 0
        try:
            async for lines in line_blocks_of(self._chunks):
                for start in range(0, len(lines), _LINES_AT_ONCE):
                    part = lines[start : start + _LINES_AT_ONCE]
                    yield [self._row(place, line) for place, line in enumerate(part, number + 1) if line.strip()]
                    number += len(part)
        except LineTooLong:
            yield [({}, _TOO_LONG, number + 1)]

    def shape(self, answered: Sequence[tuple[Row[dict[str, Any]], Outcome]]) -> bytes:
        return b"".join(
            orjson.dumps(values | _answer(read, line, outcome), option=orjson.OPT_APPEND_NEWLINE)
            for (values, read, line), outcome in answered
        )

    def _row(self, number: int, line: bytes) -> Row[dict[str, Any]]:
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError:
            return {}, RowProblem("is not JSON", code="malformed_json"), number
        if not isinstance(values, dict):
            return {}, RowProblem("must be a JSON object"), number
        found = len(values) + sum(len(value) for value in values.values() if isinstance(value, dict))
        repeated = repeated_member(line, found)
        if repeated is not None:
            return values, RowProblem("is named twice", code=RepeatedMember.code, field=repeated), number
        try:
            return values, self._reader.order(values.items()), number
        except RowProblem as problem:
            return values, problem, number


def _answer(read: Order | RowProblem, line: int, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, RowProblem):
        return {"line": line, "error": outcome.as_json()}
    token, expires_at = outcome
    link = url_link(read.terms.base_url, token) if token and isinstance(read, Order) else None
    expiry = None if expires_at is None else _iso(expires_at)
    return {"token": token or None, "url_link": link, "expires_at": expiry}
