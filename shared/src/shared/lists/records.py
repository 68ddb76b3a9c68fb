"""Text in parts of any length, records out: one rule for quotation marks, lines counted.

A field is quoted if its first character is a quotation mark; in any other field a quotation mark is data (`12" pizza`).
In a quoted field line breaks and delimiters are data, and two quotation marks are one. LF, CRLF and CR end a line.
"""

import csv
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

#: A record beyond this has lost its end.
MAX_RECORD_CHARACTERS: Final = 65_536


class RecordTooLong(Exception):
    """A line goes beyond the limit; what follows cannot be told apart any more."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} is too long")
        self.line = line


class Broken(NamedTuple):
    """A record that is not CSV: the line where it begins, and what is wrong."""

    text: str
    problem: str


#: A plain line, which is its own record; the fields of one with quoted fields; or neither.
Record: TypeAlias = str | list[str] | Broken


class Block(NamedTuple):
    """Some records, and the line where each begins."""

    records: list[Record]
    lines: Sequence[int]


class RecordReader:
    """Cuts the text of a list into records, without blank lines.

    Args:
        line: number of the first line.
    """

    def __init__(self, delimiter: str, line: int = 1) -> None:
        self._delimiter = delimiter
        self._record = _record_of(delimiter)
        self._rest = ""
        self._line = line

    def read(self, text: str) -> Block:
        """The records that are complete with this text."""
        text = self._rest + text
        if '"' not in text:
            # A CR at the end may be half of a CRLF.
            end = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
            block = self._plain(text[:end])
            self._rest = text[end:]
        else:
            block, self._rest = self._quoted(text, is_last=False)
        return block

    def check_length(self) -> None:
        """Raises RecordTooLong when the line that is not complete yet goes beyond the limit."""
        if len(self._rest) > MAX_RECORD_CHARACTERS:
            raise RecordTooLong(self._line)

    def end(self) -> Block:
        """What is left, of which nothing more will come."""
        text, self._rest = self._rest, ""
        if text and not text.endswith("\n"):
            text += "\n"
        return self._quoted(text, is_last=True)[0] if '"' in text else self._plain(text)

    def _plain(self, text: str) -> Block:
        if not text:
            return Block([], ())
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        lines.pop()
        first = self._line
        self._line += len(lines)
        if "" not in lines:
            # The lines are the records.
            return Block(list(lines), range(first, self._line))
        places = [place for place, line in enumerate(lines) if line]
        return Block([lines[place] for place in places], [first + place for place in places])

    def _quoted(self, text: str, *, is_last: bool) -> tuple[Block, str]:
        records: list[Record] = []
        lines: list[int] = []
        place = 0
        while place < len(text):
            found = self._record.match(text, place)
            if found is None:
                # Its end is yet to come, unless it has been too long in coming: then its first line alone is spoiled.
                line_end = _LINE_END.search(text, place)
                if line_end is None or not (is_last or len(text) - place > MAX_RECORD_CHARACTERS):
                    break
                records.append(Broken(text[place : line_end.start()], "has a quotation mark that is never closed"))
                lines.append(self._line)
                self._line += 1
                place = line_end.end()
                continue
            record = found[1]
            if record:
                records.append(self._fields(record) if '"' in record else record)
                lines.append(self._line)
            self._line += 1 + len(_LINE_END.findall(record))
            place = found.end()
        return Block(records, lines), text[place:]

    def _fields(self, record: str) -> Record:
        try:
            return next(csv.reader([record], delimiter=self._delimiter, strict=True))
        except csv.Error:
            return Broken(record, "has text behind a closing quotation mark")


#: A CR at the end of a text may be half of a CRLF, and is no end yet.
_LINE_END: Final = re.compile(r"\r\n|\n|\r(?=.)", re.DOTALL)


@lru_cache(maxsize=16)
def _record_of(delimiter: str) -> re.Pattern[str]:
    """A record with the end of its line. Nothing is tried twice, so that no text takes long."""
    other = f"[^{re.escape(delimiter)}\\r\\n]"
    field = f'(?:"(?:[^"]++|"")*+"{other}*+|(?!"){other}*+)'
    return re.compile(f"({field}(?:{re.escape(delimiter)}{field})*+)(?:\\r\\n|\\n|\\r(?=.))", re.DOTALL)
