"""Lists as people have them: recognised before the first row, cut by one rule, named where they cannot be read."""

import csv
import gzip
import io
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.errors import UnsupportedMediaType
from shared.lists.csv_lists import CsvList, MalformedHeader
from shared.lists.encodings import UnreadableList
from shared.lists.records import Broken, Record, RecordReader, RecordTooLong

KNOWN = {"customer_id", "duration"}
HEADER = "customer_id,name\n"


async def _chunks(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def _open(content: bytes, charset: str | None = None, size: int = 65_536) -> CsvList:
    return await CsvList.open(_chunks(content, size), charset=charset, is_known=KNOWN.__contains__)


async def _read(content: bytes, charset: str | None = None, size: int = 65_536) -> tuple[CsvList, list[list[str]]]:
    found = await _open(content, charset, size)
    return found, [found.fields_of(record) async for block in found.blocks() for record in block.records]


TEXT = 'customer_id,name\nc1,Jürgen\nc2,"a ""b"", c"\n'
ROWS = [["c1", "Jürgen"], ["c2", 'a "b", c']]


@pytest.mark.parametrize(
    ("content", "charset", "answered"),
    [
        (TEXT.encode(), None, "utf-8"),
        (TEXT.encode(), "UTF-8", "utf-8"),
        (TEXT.encode("utf-8-sig"), None, "utf-8"),
        (TEXT.encode("utf-16"), None, "utf-16"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), None, "utf-16"),
        (TEXT.encode("utf-16"), "utf-16", "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16le", "utf-16"),
        (TEXT.encode("cp1252"), "windows-1252", "windows-1252"),
        (TEXT.encode("cp1252"), "ISO-8859-1", "windows-1252"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 65_536])
async def test_a_list_is_read_and_answered_in_its_own_encoding(
    content: bytes, charset: str | None, answered: str, size: int
) -> None:
    found, rows = await _read(content, charset, size)
    assert rows == ROWS
    assert found.header.encoding.charset == answered
    answer = found.begin_answer(found.header.names) + found.encode(found.rows(rows))
    assert answer == content


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("separator", [False, True])
@pytest.mark.parametrize("size", [1, 2, 7, 65_536])
async def test_line_ends_and_delimiters_are_found_and_kept(
    line_end: str, delimiter: str, separator: bool, size: int
) -> None:
    lines = [f"customer_id{delimiter}name", f"c1{delimiter}Ann", f'"c;,2"{delimiter}"two{line_end}lines"', ""]
    content = line_end.join([f"sep={delimiter}", *lines] if separator else lines).encode()
    found, rows = await _read(content, size=size)
    assert rows == [["c1", "Ann"], ["c;,2", f"two{line_end}lines"]]
    assert (found.header.delimiter, found.header.line_end) == (delimiter, line_end)
    answer = found.begin_answer(found.header.names)
    assert answer.decode().split(line_end)[-2] == lines[0]
    assert answer.startswith(b"sep=") == separator


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (gzip.compress(b"customer_id\nx\n", mtime=0), "gzip"),
        (b"PK\x03\x04rest of it", "xlsx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xls"),
        (b"%PDF-1.7", "PDF"),
        (TEXT.encode("utf-32"), "UTF-32"),
        (TEXT.encode("utf-16-le"), "without a byte order mark"),
        (TEXT.encode("utf-16-be"), "without a byte order mark"),
        (b'[{"customer_id": 1}]', "JSON"),
        (b"<html><body>", "HTML"),
        ("Kundennummer für Jürgen\n".encode("cp1252"), "not UTF-8"),
        (b"sep=|\ncustomer_id|name\n", "sep=|"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(content: bytes, found: str) -> None:
    with pytest.raises(UnreadableList) as refused:
        await _open(content)
    assert found in refused.value.message


async def test_a_charset_that_is_not_taken_or_contradicts_the_file_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType, match="shift_jis"):
        await _open(TEXT.encode(), "shift_jis")
    with pytest.raises(UnreadableList, match="windows-1252"):
        await _open(TEXT.encode("utf-8-sig"), "windows-1252")
    with pytest.raises(UnreadableList, match="byte order mark"):
        await _open(TEXT.encode("utf-16-le"), "utf-16")


@pytest.mark.parametrize("name", ["Customer_ID", "customer id", "CUSTOMER-ID", ' "Customer  Id" '])
async def test_names_of_columns_are_understood_as_people_write_them(name: str) -> None:
    found = await _open(f"{name.strip()};Extra Info\nx;y\n".encode())
    assert found.header.columns == ["customer_id", "Extra Info"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \n", b'"customer_id\nx\n', b"x" * 70_000])
async def test_a_list_without_a_header_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedHeader):
        await _open(content)


async def test_a_column_that_is_named_twice_is_refused() -> None:
    with pytest.raises(MalformedHeader, match="twice"):
        await _open(b"customer_id,Customer ID\nx,y\n")


def _records(text: str, size: int, delimiter: str = ",") -> list[tuple[int, Record]]:
    reader = RecordReader(delimiter)
    blocks = [reader.read(text[start : start + size]) for start in range(0, len(text), size)]
    return [pair for block in [*blocks, reader.end()] for pair in zip(block.lines, block.records, strict=True)]


def test_a_quotation_mark_in_a_field_without_quotes_is_data() -> None:
    text = 'c1,12" pizza\n' + "".join(f"c{number},x\n" for number in range(2, 30_000))
    found = _records(text, 65_536)
    assert len(found) == 29_999
    assert found[0] == (1, ["c1", '12" pizza'])
    assert found[-1] == (29_999, "c29999,x")


@pytest.mark.parametrize("size", [1, 1000, 65_536])
def test_a_quotation_mark_that_stays_open_spoils_its_line_alone(size: int) -> None:
    rows = 300 if size == 1 else 6000
    lines = [f"c{number},some name" for number in range(1, rows + 1)]
    lines[rows // 2] = f'c{rows // 2 + 1},"some name'
    found = _records("\n".join(lines), size)
    assert len(found) == rows
    assert found[rows // 2] == (
        rows // 2 + 1,
        Broken(lines[rows // 2], "has a quotation mark that is never closed"),
    )
    assert found[-1] == (rows, lines[-1])


async def test_a_field_with_a_line_break_of_another_kind_is_written_in_quotation_marks() -> None:
    found = await _open(b"customer_id,name\n")
    assert found.rows([["a\rb", "c"], ["d", "e"]]) == '"a\rb",c\nd,e\n'


def test_text_behind_a_closing_quotation_mark_is_named() -> None:
    assert _records('a,"b"c\nd,e\n', 3)[0][1] == Broken('a,"b"c', "has text behind a closing quotation mark")


def test_a_line_that_never_ends_is_noticed() -> None:
    reader = RecordReader(",")
    reader.read("a\nb" * 30_000)
    reader.check_length()
    reader.read("x" * 70_000)
    with pytest.raises(RecordTooLong):
        reader.check_length()


#: What makes trouble where texts are cut.
PIECES = st.sampled_from(['"', '""', ",", ";", "\n", "\r", "\r\n", "a", "12", "\0", "ü", " "])


@given(st.lists(PIECES, max_size=40).map("".join), st.integers(1, 40))
def test_records_are_the_same_however_a_text_is_cut(text: str, size: int) -> None:
    assert _records(text, size) == _records(text, len(text) or 1)


fields = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


@given(st.lists(st.lists(fields, min_size=2, max_size=3), min_size=1, max_size=12), st.integers(1, 40))
def test_what_was_written_as_csv_is_read_as_it_was(rows: list[list[str]], size: int) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    found = [record.split(",") if isinstance(record, str) else record for _, record in _records(text.getvalue(), size)]
    assert found == rows


def test_no_text_takes_long() -> None:
    """Every quotation mark opens a field that could go on for ever."""
    for text in ('"' * 60_001, 'a,"\n' * 20_000, '"a""' * 15_000, '",' * 30_000):
        began = time.process_time()
        _records(text, 4096)
        assert time.process_time() - began < 5
