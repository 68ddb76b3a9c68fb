"""CSV that a service writes (RFC 4180), for programs and for spreadsheets."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

#: A spreadsheet takes a cell that begins so for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """The rows as lines that end with CRLF; None is an empty cell."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def as_words(text: str) -> str:
    """A text that somebody else wrote, for a cell of a person's spreadsheet: it is never taken for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
