"""Target lists as CSV: bytes in, records out, without ever holding more than a part of the list."""

import codecs
import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import Malformed

from token_service.imports.rows import FIELDS, NO_DEFAULT, REQUIRED

#: A record beyond this has lost its closing quotation mark.
MAX_RECORD_CHARACTERS: Final = 65_536
_DELIMITERS: Final = (",", ";", "\t")
_ATTRIBUTE_PREFIX: Final = "attributes."
#: What is added to each row; such columns of an earlier answer are replaced.
ADDED: Final = ("token", "url_link", "expires_at", "error")


class MalformedHeader(Malformed):
    code = "malformed_header"


class RecordTooLong(Exception):
    """A record goes beyond the limit; what follows cannot be told apart any more."""


@dataclass(frozen=True, slots=True)
class Record:
    """A row of the list: its fields, or what is wrong with it as CSV."""

    fields: Sequence[str]
    problem: str | None = None


async def texts_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Text that ends where a record ends. Bytes that are no UTF-8 come through, to be refused row by row.

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
    """Behind the last line break that is not within quotation marks; 0 without one."""
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
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[Record] = []
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return records
        except csv.Error as error:
            records.append(Record((), f"is not CSV: {error}"))
        else:
            if fields:
                records.append(Record(fields))


class Header:
    """The first line of a list: which column says what.

    Raises:
        MalformedHeader: no header, a column twice, or one missing that has no default.
    """

    def __init__(self, line: str, defaults: Mapping[str, str]) -> None:
        self.delimiter = max(_DELIMITERS, key=line.count)
        records = records_of(line, self.delimiter)
        if len(records) != 1 or records[0].problem is not None:
            raise MalformedHeader("The list must begin with a header that names its columns.")
        self.names = [name.strip() for name in records[0].fields]
        known = [name for name in self.names if name in FIELDS or name.startswith(_ATTRIBUTE_PREFIX)]
        twice = sorted({name for name in known if known.count(name) > 1})
        if twice:
            raise MalformedHeader(f"Columns are named twice: {', '.join(twice)}.")
        if "attributes" in known:
            raise MalformedHeader("Attributes are columns of their own: attributes.<name>.")
        missing = [name for name in REQUIRED if name not in self.names and name not in defaults]
        if missing:
            raise MalformedHeader(
                f"Columns are missing: {', '.join(missing)}. All but {', '.join(sorted(NO_DEFAULT & set(REQUIRED)))} "
                "may also be given for the whole list, in the query."
            )
        self._echoed = [place for place, name in enumerate(self.names) if name not in ADDED]
        self._fields = [(name, place) for place, name in enumerate(self.names) if name in FIELDS]
        self._attributes = [
            (name.removeprefix(_ATTRIBUTE_PREFIX), place)
            for place, name in enumerate(self.names)
            if name.startswith(_ATTRIBUTE_PREFIX)
        ]

    def echoed(self, fields: Sequence[str]) -> list[str]:
        """The columns of a row that come back as they were."""
        if len(self._echoed) == len(fields):
            return list(fields)
        return [fields[place] if place < len(fields) else "" for place in self._echoed]

    def answered_names(self) -> list[str]:
        return [*self.echoed(self.names), *ADDED]

    def values(self, record: Record) -> dict[str, Any]:
        """What a record says by name.

        Raises:
            ValueError: it is not CSV, or has more or fewer columns than the header.
        """
        if record.problem is not None:
            raise ValueError(record.problem)
        fields = record.fields
        if len(fields) != len(self.names):
            raise ValueError(f"has {len(fields)} columns where the header has {len(self.names)}")
        values: dict[str, Any] = {name: fields[place] for name, place in self._fields}
        if self._attributes:
            values["attributes"] = {name: fields[place] for name, place in self._attributes if fields[place]}
        return values


def encode(rows: Sequence[Sequence[Any]], delimiter: str) -> bytes:
    """Records as bytes; what came as broken UTF-8 goes back as it came."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
