"""Target lists as CSV: bytes in, records out, with only a part of the list in memory."""

import codecs
import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final, NamedTuple

from shared.errors import Malformed

from token_service.imports.rows import DEFAULTS, FIELDS, RowReader

#: A longer record lacks its closing quotation mark.
MAX_RECORD_CHARACTERS: Final = 65_536
_DELIMITERS: Final = (",", ";", "\t")
_ATTRIBUTE_PREFIX: Final = "attributes."
#: The columns that are added to each row, and replace those of an earlier answer.
ADDED: Final = ("token", "url_link", "expires_at", "error")


class MalformedHeader(Malformed):
    code = "malformed_header"


class RecordTooLong(Exception):
    """A record is longer than the limit, so the records after it cannot be told apart."""


class Broken(NamedTuple):
    """A record that is not CSV."""

    problem: str


#: A row of the list: a plain line, which is its own record and comes back as it is; the fields of one with
#: quotation marks; or neither.
Record = str | list[str] | Broken


async def texts_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Text in pieces that end with a record. Bytes that are not UTF-8 pass through and are refused row by row.

    Raises:
        RecordTooLong: see there.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    rest = ""
    async for chunk in chunks:
        rest += decoder.decode(chunk)
        cut = _end_of_last_record(rest)
        if cut:
            yield rest[:cut]
            rest = rest[cut:]
        if len(rest) > MAX_RECORD_CHARACTERS:
            raise RecordTooLong
    rest += decoder.decode(b"", final=True)
    if rest:
        yield rest


def _end_of_last_record(text: str) -> int:
    """The place after the last line break outside of quotation marks; 0 if there is none."""
    if '"' not in text:
        return text.rfind("\n") + 1
    end = place = 0
    is_open = False
    for line in text.split("\n")[:-1]:
        place += len(line) + 1
        if line.count('"') % 2:
            is_open = not is_open
        if not is_open:
            end = place
    return end


def records_of(text: str, delimiter: str) -> list[Record]:
    """The records of a text, without blank lines."""
    if '"' not in text:
        return [line for line in text.replace("\r\n", "\n").split("\n") if line]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[Record] = []
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return records
        except csv.Error as error:
            records.append(Broken(f"is not CSV: {error}"))
        else:
            if fields:
                records.append(fields)


class Header:
    """The first line of a list, which names the columns.

    Raises:
        MalformedHeader: there is no header, a column comes twice, or a column without default is missing.
    """

    def __init__(self, line: str, reader: RowReader) -> None:
        self.delimiter = max(_DELIMITERS, key=line.count)
        records = records_of(line, self.delimiter)
        if len(records) != 1 or isinstance(records[0], Broken):
            raise MalformedHeader("The list must begin with a header that names its columns.")
        self.names = [name.strip() for name in self._fields_of(records[0])]
        known = [name for name in self.names if name in FIELDS or name.startswith(_ATTRIBUTE_PREFIX)]
        twice = sorted({name for name in known if known.count(name) > 1})
        if twice:
            raise MalformedHeader(f"Columns are named twice: {', '.join(twice)}.")
        if "attributes" in known:
            raise MalformedHeader("Attributes are columns of their own: attributes.<name>.")
        missing = [name for name in reader.required if name not in self.names]
        if reader.requires_lifetime and not {"duration", "expires_at"} & set(self.names):
            missing.append("duration or expires_at")
        if missing:
            raise MalformedHeader(
                f"Columns are missing: {', '.join(missing)}. One value for the whole list may stand in the query: "
                f"{', '.join(DEFAULTS)}."
            )
        self._echoed = [place for place, name in enumerate(self.names) if name not in ADDED]
        self._echoes_all = len(self._echoed) == len(self.names)
        self._fields = [(name, place) for place, name in enumerate(self.names) if name in FIELDS]
        self._is_all_of_tokens = len(self._fields) == len(self.names)
        self._attributes = [
            (name.removeprefix(_ATTRIBUTE_PREFIX), place)
            for place, name in enumerate(self.names)
            if name.startswith(_ATTRIBUTE_PREFIX)
        ]

    def answered(self, record: Record, token: str, link: str, expires_at: str) -> str:
        """A row with its token. The link may contain any character of a URL, also the delimiter."""
        delimiter = self.delimiter
        if isinstance(record, str) and self._echoes_all and delimiter not in link and '"' not in link:
            return f"{record}{delimiter}{token}{delimiter}{link}{delimiter}{expires_at}{delimiter}\n"
        return encode([(*self._echo(record), token, link, expires_at, "")], delimiter)

    def refused(self, record: Record, problem: str) -> str:
        """A row with the reason of its refusal."""
        return encode([(*self._echo(record), *[""] * (len(ADDED) - 1), problem)], self.delimiter)

    def answered_names(self) -> list[str]:
        return [*self._echo(self.names), *ADDED]

    def given(self, record: Record) -> Iterable[tuple[str, Any]]:
        """The values of a record, by field.

        Raises:
            ValueError: it is not CSV, or has more or fewer columns than the header.
        """
        if isinstance(record, Broken):
            raise ValueError(record.problem)
        fields = record.split(self.delimiter) if isinstance(record, str) else record
        if len(fields) != len(self.names):
            raise ValueError(f"has {len(fields)} columns where the header has {len(self.names)}")
        if self._is_all_of_tokens:
            return zip(self.names, fields, strict=True)
        given: list[tuple[str, Any]] = [(name, fields[place]) for name, place in self._fields]
        if self._attributes:
            attributes = {name: fields[place] for name, place in self._attributes if fields[place]}
            given.append(("attributes", attributes or None))
        return given

    def _fields_of(self, record: str | list[str]) -> list[str]:
        return record.split(self.delimiter) if isinstance(record, str) else record

    def _echo(self, record: Record) -> list[str]:
        """The columns of a row that are echoed."""
        fields = [] if isinstance(record, Broken) else self._fields_of(record)
        return [fields[place] if place < len(fields) else "" for place in self._echoed]


def encode(rows: Sequence[Sequence[Any]], delimiter: str) -> str:
    """Records as text."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue()


def as_bytes(text: str) -> bytes:
    """Encodes text. Broken UTF-8 goes back unchanged."""
    return text.encode("utf-8", "surrogateescape")
