"""A list as CSV: what its header says, its records, and the same records with more columns as the answer."""

import csv
import io
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import Malformed
from shared.lists.encodings import Encoding, UnreadableList, recognise
from shared.lists.records import MAX_RECORD_CHARACTERS, Block, Broken, Record, RecordReader

_DELIMITERS: Final = (",", ";", "\t")
_SEPARATOR: Final = re.compile(r"sep=(.)", re.IGNORECASE)
_FIRST_LINE: Final = re.compile(r"([^\r\n]*+)(\r\n|\n|\r(?=.))", re.DOTALL)
_BETWEEN_WORDS: Final = re.compile(r"[\s_-]+")
_MOST_NAMED: Final = 50
#: Whether this is the name of a column that is read; all others are only echoed.
IsKnown = Callable[[str], bool]


class MalformedHeader(Malformed):
    """The first line does not name the columns that are needed; `found` has those that it names."""

    code = "malformed_header"


@dataclass(frozen=True, slots=True)
class Header:
    """The first lines of a list.

    Attributes:
        names: the columns as they are written.
        columns: the same, but in lower case with `_` between words where that is the name of a known column.
        separator: the `sep=` line before the header, with its end, or nothing.
        lines: how many lines there are.
    """

    encoding: Encoding
    names: list[str]
    columns: list[str]
    delimiter: str
    line_end: str
    separator: str
    lines: int

    def missing(self, columns: Sequence[str]) -> MalformedHeader:
        """The refusal of a list that lacks these: says which columns it has."""
        found = self.names[:_MOST_NAMED]
        named = ", ".join(name[:60] for name in found)
        return MalformedHeader(f"Columns are missing: {', '.join(columns)}. The header names: {named}.", found=found)


class CsvList:
    """A list that is being read."""

    def __init__(self, header: Header, rest: str, texts: AsyncIterator[str]) -> None:
        self.header = header
        self._rest = rest
        self._texts = texts
        self._reader = RecordReader(header.delimiter, header.lines + 1)

    @classmethod
    async def open(cls, chunks: AsyncIterator[bytes], *, charset: str | None, is_known: IsKnown) -> "CsvList":
        """Reads the header.

        Args:
            charset: as the sender says it, if they do.

        Raises:
            UnreadableList: it is no text, or no CSV; says what it is.
            UnsupportedMediaType: a charset that is not taken.
            MalformedHeader: there is no header, or it names a column twice.
        """
        encoding, behind = await recognise(chunks, charset)
        first = _FirstLines(_decoded(encoding, behind))
        line, line_end = await first.take()
        separator = _SEPARATOR.fullmatch(line.strip(" "))
        if separator is not None:
            line, line_end = await first.take()
        while not line.strip() and line_end:
            line, line_end = await first.take()
        _check_is_text(line)
        if separator is not None and separator[1] not in _DELIMITERS:
            raise UnreadableList(f"a list with sep={separator[1]}", "Separate columns by comma, semicolon or tab.")
        delimiter = separator[1] if separator is not None else _delimiter_of(line, is_known)
        names = _names_of(line, delimiter)
        columns = [normal if is_known(normal := _normal(name)) else name for name in names]
        twice = sorted({name for name in columns if is_known(name) and columns.count(name) > 1})
        if twice:
            raise MalformedHeader(f"Columns are named twice: {', '.join(twice)}.", found=names[:_MOST_NAMED])
        line_end = line_end or "\n"
        said = "" if separator is None else f"sep={delimiter}{line_end}"
        header = Header(encoding, names, columns, delimiter, line_end, said, first.taken)
        return cls(header, first.rest, first.texts)

    async def blocks(self) -> AsyncIterator[Block]:
        """The records as they come, each with the line where it begins.

        Raises:
            RecordTooLong: what came before it has been given out.
        """
        yield self._reader.read(self._rest)
        self._reader.check_length()
        async for text in self._texts:
            yield self._reader.read(text)
            self._reader.check_length()
        yield self._reader.end()

    def fields_of(self, record: Record) -> list[str]:
        """The fields of a record, as many as the header has.

        Raises:
            ValueError: it is not CSV, or has more or fewer.
        """
        if isinstance(record, Broken):
            raise ValueError(record.problem)
        fields = record.split(self.header.delimiter) if isinstance(record, str) else record
        if len(fields) != len(self.header.names):
            raise ValueError(f"has {len(fields)} columns where the header has {len(self.header.names)}")
        return fields

    def begin_answer(self, names: Sequence[str]) -> bytes:
        """The header of the answer; behind the byte order mark and the `sep=` line where the list has them."""
        return self.header.encoding.mark + self.encode(self.header.separator + self.rows([names]))

    def rows(self, rows: Iterable[Sequence[Any]]) -> str:
        """Records as text of this list."""
        text = io.StringIO(newline="")
        # With this end, the module puts every kind of line break in quotation marks.
        writer = csv.writer(text, delimiter=self.header.delimiter, lineterminator="\r\n")
        parts = []
        for row in rows:
            text.seek(0)
            text.truncate()
            writer.writerow(row)
            parts.append(text.getvalue().removesuffix("\r\n") + self.header.line_end)
        return "".join(parts)

    def encode(self, text: str) -> bytes:
        """Text as this list is written."""
        return self.header.encoding.encode(text)


class _FirstLines:
    """Takes lines off a text before its records are read."""

    def __init__(self, texts: AsyncIterator[str]) -> None:
        self.texts = texts
        self.rest = ""
        self.taken = 0

    async def take(self) -> tuple[str, str]:
        """The next line and its end, which is empty at the end of the text."""
        self.taken += 1
        while True:
            found = _FIRST_LINE.match(self.rest)
            if found is not None:
                self.rest = self.rest[found.end() :]
                return found[1], found[2]
            more = await anext(self.texts, None) if len(self.rest) <= MAX_RECORD_CHARACTERS else None
            if more is None:
                break
            self.rest += more
        if len(self.rest) > MAX_RECORD_CHARACTERS:
            raise MalformedHeader("The list must begin with a header that names its columns.")
        line, self.rest = self.rest.rstrip("\r"), ""
        return line, ""


def _check_is_text(line: str) -> None:
    """Raises UnreadableList or MalformedHeader for a first line that is no header."""
    begin = line.lstrip()[:1]
    if not begin:
        raise MalformedHeader("The list must begin with a header that names its columns.")
    if begin in "{[":
        raise UnreadableList("JSON", "Send it as application/x-ndjson, one object a line.")
    if begin == "<":
        raise UnreadableList("HTML or XML", "Send CSV or NDJSON.")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in line):
        raise UnreadableList(
            "text that is not UTF-8", "If it is in windows-1252, say so: Content-Type: text/csv; charset=windows-1252."
        )


def _delimiter_of(line: str, is_known: IsKnown) -> str:
    """The delimiter that makes the most known columns of a header, or else the most columns."""

    def makes(delimiter: str) -> tuple[int, int]:
        names = [_normal(name.strip('"')) for name in line.split(delimiter)]
        return sum(map(is_known, names)), len(names)

    return max(_DELIMITERS, key=makes)


def _names_of(line: str, delimiter: str) -> list[str]:
    try:
        (names,) = csv.reader([line], delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise MalformedHeader(f"The header is not CSV: {error}.") from None
    return [name.strip() for name in names]


def _normal(name: str) -> str:
    """`Customer ID` and `customer-id` are customer_id; what stands behind a point keeps its letters."""
    prefix, point, rest = name.strip().partition(".")
    return _BETWEEN_WORDS.sub("_", prefix).lower() + point + rest


async def _decoded(encoding: Encoding, chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    decoder = encoding.decoder()
    async for chunk in chunks:
        text = decoder.decode(chunk)
        if text:
            yield text
    text = decoder.decode(b"", final=True)
    if text:
        yield text
