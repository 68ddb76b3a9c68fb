"""The two forms of a target list: how its rows are read, and how they are answered."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import orjson
from shared.line_exchange import LineTooLong, lines_of
from shared.times import iso

from token_service.imports import csv_lists
from token_service.imports.csv_lists import Header, MalformedHeader, Record, RecordTooLong
from token_service.imports.importing import Row
from token_service.imports.rows import RowProblem, order_of
from token_service.imports.writing import Outcome
from token_service.tokens.orders import Order, url_link

_TOO_LONG: Final = RowProblem("is too long; this and what follows was not read", code="row_too_long")
_LINES_AT_ONCE: Final = 500

R = TypeVar("R")


class TargetList(Protocol[R]):
    """A list that is being read."""

    #: What is answered before the first row.
    head: bytes

    def blocks(self) -> AsyncIterator[list[Row[R]]]:
        """The rows, as they come in."""

    def shape(self, answered: Sequence[tuple[Row[R], Outcome]]) -> bytes:
        """Rows and what became of them, as they are answered."""


class CsvList:
    """CSV with a header; comma, semicolon or tab."""

    def __init__(
        self, header: Header, rest: str, texts: AsyncIterator[str], defaults: Mapping[str, str], *, plain_http: bool
    ) -> None:
        self._header = header
        self._rest = rest
        self._texts = texts
        self._defaults = defaults
        self._plain_http = plain_http
        self.head = csv_lists.encode([header.answered_names()], header.delimiter)

    @classmethod
    async def open(cls, chunks: AsyncIterator[bytes], defaults: Mapping[str, str], *, plain_http: bool) -> "CsvList":
        """Reads the header.

        Raises:
            MalformedHeader: see there.
        """
        texts = csv_lists.texts_of(chunks)
        try:
            first = await anext(texts, "")
        except RecordTooLong:
            raise MalformedHeader("The list must begin with a header that names its columns.") from None
        line, _, rest = first.partition("\n")
        return cls(Header(line, defaults), rest, texts, defaults, plain_http=plain_http)

    async def blocks(self) -> AsyncIterator[list[Row[Record]]]:
        yield self._rows(self._rest)
        try:
            async for text in self._texts:
                yield self._rows(text)
        except RecordTooLong:
            yield [Row(Record(()), _TOO_LONG)]

    def shape(self, answered: Sequence[tuple[Row[Record], Outcome]]) -> bytes:
        echoed = self._header.echoed
        return csv_lists.encode(
            [(*echoed(row.raw.fields), *_added(row, outcome)) for row, outcome in answered], self._header.delimiter
        )

    def _rows(self, text: str) -> list[Row[Record]]:
        return [Row(record, self._read(record)) for record in csv_lists.records_of(text, self._header.delimiter)]

    def _read(self, record: Record) -> Order | RowProblem:
        try:
            return order_of(self._header.values(record), self._defaults, plain_http=self._plain_http)
        except RowProblem as problem:
            return problem
        except ValueError as error:
            return RowProblem(str(error))


def _added(row: Row[Record], outcome: Outcome) -> tuple[str, str, str, str]:
    if isinstance(outcome, RowProblem):
        return "", "", "", outcome.as_text()
    base_url = row.read.base_url if isinstance(row.read, Order) else ""
    expires_at = "" if outcome.expires_at is None else iso(outcome.expires_at)
    return outcome.token, url_link(base_url, outcome.token), expires_at, ""


class NdjsonList:
    """One JSON object a line."""

    head = b""

    def __init__(self, chunks: AsyncIterator[bytes], defaults: Mapping[str, str], *, plain_http: bool) -> None:
        self._chunks = chunks
        self._defaults = defaults
        self._plain_http = plain_http

    async def blocks(self) -> AsyncIterator[list[Row[dict[str, Any]]]]:
        number = 0
        rows: list[Row[dict[str, Any]]] = []
        try:
            async for line in lines_of(self._chunks):
                number += 1
                if line.strip():
                    rows.append(self._row(number, line))
                if len(rows) >= _LINES_AT_ONCE:
                    yield rows
                    rows = []
        except LineTooLong:
            rows.append(Row({"line": number + 1}, _TOO_LONG))
        yield rows

    def shape(self, answered: Sequence[tuple[Row[dict[str, Any]], Outcome]]) -> bytes:
        return b"".join(
            orjson.dumps(row.raw | _answer(row, outcome), option=orjson.OPT_APPEND_NEWLINE) for row, outcome in answered
        )

    def _row(self, number: int, line: bytes) -> Row[dict[str, Any]]:
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError:
            return Row({"line": number}, RowProblem("is not JSON", code="malformed_json"))
        if not isinstance(values, dict):
            return Row({"line": number}, RowProblem("must be a JSON object"))
        try:
            return Row(values, order_of(values, self._defaults, plain_http=self._plain_http))
        except RowProblem as problem:
            return Row(values | {"line": number}, problem)


def _answer(row: Row[dict[str, Any]], outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, RowProblem):
        return {"error": outcome.as_json()}
    base_url = row.read.base_url if isinstance(row.read, Order) else ""
    expires_at = None if outcome.expires_at is None else iso(outcome.expires_at)
    return {"token": outcome.token, "url_link": url_link(base_url, outcome.token), "expires_at": expires_at}
