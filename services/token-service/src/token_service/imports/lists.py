"""The two forms of a target list: reading and answering their rows."""

from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

import orjson
from shared.line_exchange import LineTooLong, lines_of
from shared.times import iso

from token_service.imports import csv_lists
from token_service.imports.csv_lists import Header, MalformedHeader, Record, RecordTooLong
from token_service.imports.importing import Row
from token_service.imports.rows import RowProblem, RowReader
from token_service.imports.writing import Outcome
from token_service.tokens.orders import url_link
from token_service.tokens.terms import Order

_TOO_LONG: Final = RowProblem("is too long; this and what follows was not read", code="row_too_long")
_LINES_AT_ONCE: Final = 500

#: Few distinct values: the rows of a transaction expire at a few moments.
_iso = lru_cache(maxsize=1024)(iso)

R = TypeVar("R")


class TargetList(Protocol[R]):
    """A list while it is read."""

    #: The beginning of the answer, before the first row.
    head: bytes

    def blocks(self) -> AsyncIterator[list[Row[R]]]:
        """The rows, as they come in."""

    def shape(self, answered: Sequence[tuple[Row[R], Outcome]]) -> bytes:
        """The answer to rows and their outcomes."""


class CsvList:
    """CSV with a header; comma, semicolon or tab."""

    def __init__(self, header: Header, rest: str, texts: AsyncIterator[str], reader: RowReader) -> None:
        self._header = header
        self._rest = rest
        self._texts = texts
        self._reader = reader
        self.head = csv_lists.as_bytes(csv_lists.encode([header.answered_names()], header.delimiter))

    @classmethod
    async def open(cls, chunks: AsyncIterator[bytes], reader: RowReader) -> "CsvList":
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
        return cls(Header(line, reader), rest, texts, reader)

    async def blocks(self) -> AsyncIterator[list[Row[Record]]]:
        yield self._rows(self._rest)
        try:
            async for text in self._texts:
                yield self._rows(text)
        except RecordTooLong:
            yield [("", _TOO_LONG)]

    def shape(self, answered: Sequence[tuple[Row[Record], Outcome]]) -> bytes:
        return csv_lists.as_bytes("".join([self._answered(*row, outcome) for row, outcome in answered]))

    def _answered(self, record: Record, read: Order | RowProblem, outcome: Outcome) -> str:
        if isinstance(outcome, RowProblem):
            return self._header.refused(record, outcome.as_text())
        token, expires_at = outcome
        base_url = read.terms.base_url if isinstance(read, Order) else ""
        expiry = "" if expires_at is None else _iso(expires_at)
        return self._header.answered(record, token, url_link(base_url, token), expiry)

    def _rows(self, text: str) -> list[Row[Record]]:
        records = csv_lists.records_of(text, self._header.delimiter)
        return list(zip(records, map(self._read, records), strict=True))

    def _read(self, record: Record) -> Order | RowProblem:
        try:
            return self._reader.order(self._header.given(record))
        except RowProblem as problem:
            return problem
        except ValueError as error:
            return RowProblem(str(error))


class NdjsonList:
    """One JSON object for each line."""

    head = b""

    def __init__(self, chunks: AsyncIterator[bytes], reader: RowReader) -> None:
        self._chunks = chunks
        self._reader = reader

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
            rows.append(({"line": number + 1}, _TOO_LONG))
        yield rows

    def shape(self, answered: Sequence[tuple[Row[dict[str, Any]], Outcome]]) -> bytes:
        return b"".join(
            orjson.dumps(values | _answer(read, outcome), option=orjson.OPT_APPEND_NEWLINE)
            for (values, read), outcome in answered
        )

    def _row(self, number: int, line: bytes) -> Row[dict[str, Any]]:
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError:
            return {"line": number}, RowProblem("is not JSON", code="malformed_json")
        if not isinstance(values, dict):
            return {"line": number}, RowProblem("must be a JSON object")
        try:
            return values, self._reader.order(values.items())
        except RowProblem as problem:
            return values | {"line": number}, problem


def _answer(read: Order | RowProblem, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, RowProblem):
        return {"error": outcome.as_json()}
    base_url = read.terms.base_url if isinstance(read, Order) else ""
    token, expires_at = outcome
    expiry = None if expires_at is None else _iso(expires_at)
    return {"token": token, "url_link": url_link(base_url, token), "expires_at": expiry}
