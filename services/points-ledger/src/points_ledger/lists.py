"""Lists that vendors and the platform send, line by line, as NDJSON or as CSV with a header."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final, Generic, NamedTuple, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError
from shared.bodies import RepeatedMember, repeated_member
from shared.errors import Malformed, UnsupportedMediaType
from shared.line_exchange import LineTooLong, body_of, line_blocks_of
from shared.lists.csv_lists import CsvList
from shared.lists.encodings import recognise
from shared.lists.records import RecordTooLong

CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"
_NDJSON_TYPES: Final = (NDJSON, "application/ndjson", "application/jsonl", "text/plain")
#: The code of a line after which nothing was read.
TOO_LONG: Final = "line_too_long"
#: Behind so many digits no number of points is left.
_MOST_DIGITS: Final = 19

#: `openapi_extra` of a route that takes a list.
DOCUMENTED_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {NDJSON: {"schema": {"type": "string"}}, CSV: {"schema": {"type": "string"}}},
    }
}

M = TypeVar("M", bound=BaseModel)


class Line(NamedTuple, Generic[M]):
    """A line that is not empty: its number, and what it says or why it says nothing."""

    number: int
    said: M | Malformed


@dataclass(frozen=True)
class ListOf(Generic[M]):
    """A kind of list: what a line says, and the columns of a CSV that say it.

    Args:
        numbers: the columns that hold whole numbers.
    """

    line: type[M]
    columns: frozenset[str]
    numbers: frozenset[str]

    async def sent_with(self, request: Request) -> AsyncIterator[list[Line[M]]]:
        """The lines of a request's body, as many together as come together.

        Raises:
            UnreadableList, UnsupportedMediaType, MalformedHeader: as they say.
        """
        said = Message()
        said["content-type"] = request.headers.get("content-type", "")
        media_type = said.get_content_type() if "/" in said["content-type"] else ""
        if media_type == CSV:
            return await self.csv(body_of(request), said.get_content_charset())
        if media_type in _NDJSON_TYPES:
            return await self.ndjson(body_of(request))
        raise UnsupportedMediaType(f"The body must be {NDJSON} or {CSV}.")

    async def ndjson(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Line[M]]]:
        """Lines of JSON; a byte order mark is no part of the first one.

        Raises:
            UnreadableList: it is something else.
        """
        encoding, behind = await recognise(chunks, None)
        encoding.check_is_utf_8()
        return self._json_blocks(behind)

    async def csv(self, chunks: AsyncIterator[bytes], charset: str | None) -> AsyncIterator[list[Line[M]]]:
        """Records of CSV below a header, as target lists have them.

        Raises:
            UnreadableList, UnsupportedMediaType, MalformedHeader: as they say.
        """
        csv = await CsvList.open(chunks, charset=charset, is_known=self.columns.__contains__)
        missing = sorted(self.columns - set(csv.header.columns))
        if missing:
            raise csv.header.missing(missing)
        return self._csv_blocks(csv)

    async def _json_blocks(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Line[M]]]:
        number = 0
        try:
            async for lines in line_blocks_of(chunks):
                yield [Line(place, self._read(line)) for place, line in enumerate(lines, number + 1) if line.strip()]
                number += len(lines)
        except LineTooLong:
            yield [Line(number + 1, _too_long())]

    async def _csv_blocks(self, csv: CsvList) -> AsyncIterator[list[Line[M]]]:
        places = {name: place for place, name in enumerate(csv.header.columns) if name in self.columns}
        try:
            async for records, lines in csv.blocks():
                block: list[Line[M]] = []
                for record, number in zip(records, lines, strict=True):
                    try:
                        fields = csv.fields_of(record)
                    except ValueError as error:
                        block.append(Line(number, Malformed(f"The row {error}.")))
                        continue
                    said: dict[str, Any] = {name: fields[place] for name, place in places.items()}
                    if not _is_text(said):
                        block.append(Line(number, _no_text()))
                        continue
                    for name in self.numbers:
                        said[name] = _number(said[name])
                    block.append(Line(number, self._read(orjson.dumps(said))))
                yield block
        except RecordTooLong as error:
            yield [Line(error.line, _too_long())]

    def _read(self, line: bytes) -> M | Malformed:
        try:
            said = self.line.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field, message = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
            return Malformed(f"{field}: {message}" if field else message)
        repeated = repeated_member(line, len(said.model_fields_set))
        return said if repeated is None else RepeatedMember(f"{repeated}: is named twice")


def _number(field: str) -> int | str:
    digits = field.strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS else digits


def _is_text(said: dict[str, str]) -> bool:
    """Whether all of it is Unicode: bytes that the encoding does not have come as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for value in said.values() for letter in value)


def _no_text() -> Malformed:
    return Malformed("The row has bytes that are not UTF-8; if the list is in windows-1252, send it with this charset.")


def _too_long() -> Malformed:
    return Malformed("The line is too long; nothing after it was read.", code=TOO_LONG)
