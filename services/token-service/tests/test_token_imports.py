"""Imports: rows in, rows with links out; bad ones named; in constant memory; safely repeated."""

import asyncio
import csv
import io
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from platform_testing.callers import FakeRegister
from token_service.imports.csv_lists import RecordTooLong, encode, records_of, texts_of

from .campaign_house import House, refusal

PATH = "/v1/tokens/import"
DEFAULTS = {"base_url": "https://mystore.example/p", "campaign_id": "list", "duration": "PT1H"}


async def import_csv(house: House, text: str | bytes, **params: str) -> list[dict[str, str]]:
    headers = house.headers | {"Content-Type": "text/csv"}
    content = text if isinstance(text, bytes) else text.encode()
    answer = await house.client.post(PATH, params=DEFAULTS | params, content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(
        csv.DictReader(io.StringIO(answer.text), delimiter=";" if ";" in answer.text.partition("\n")[0] else ",")
    )


async def import_ndjson(house: House, *lines: Any, **params: str) -> list[Any]:
    content = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    headers = house.headers | {"Content-Type": "application/x-ndjson"}
    answer = await house.client.post(PATH, params=DEFAULTS | params, content=content.encode(), headers=headers)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_the_same_rows_come_back_with_token_and_link(house: House) -> None:
    rows = await import_csv(house, "customer_id,name\nc1,Ann\nc2,Bob\n")
    assert [(row["customer_id"], row["name"], row["error"]) for row in rows] == [("c1", "Ann", ""), ("c2", "Bob", "")]
    for row in rows:
        assert row["url_link"] == f"https://mystore.example/p/{row['token']}"
        assert (await house.verify(row["token"])).json()["customer_id"] == row["customer_id"]
    assert (await house.get("/v1/campaigns/list/stats"))["issued"] == 2


@pytest.mark.parametrize(("base_url", "delimiter"), [("https://x.example/a,b", ","), ("https://x.example/a;b", ";")])
async def test_a_link_with_the_delimiter_in_it_stays_one_column(house: House, base_url: str, delimiter: str) -> None:
    lines = f"customer_id{delimiter}name\nc1{delimiter}Ann\n"
    (row,) = await import_csv(house, lines, base_url=base_url)
    assert (row["name"], row["url_link"], row["error"]) == ("Ann", f"{base_url}/{row['token']}", "")
    assert row["expires_at"].endswith("Z")


async def test_every_column_of_a_token_may_come_from_its_row(house: House) -> None:
    header = "base_url,customer_id,campaign_id,duration,product_id,max_uses,not_before,attributes.discount,note"
    line = "https://other.example,c9,other,P2D,housing,3,2026-01-01T00:00:00Z,50,keep"
    (row,) = await import_csv(house, f"{header}\n{line}\n")
    body = (await house.verify(row["token"])).json()
    assert (body["base_url"], body["campaign_id"], body["product_id"]) == ("https://other.example", "other", "housing")
    assert (body["max_uses"], body["attributes"]) == (3, {"discount": "50"})
    assert body["not_before"] == "2026-01-01T00:00:00.000Z"
    assert row["note"] == "keep"


@pytest.mark.parametrize("text", ["a\\b", "\\N", "\\.", "\\", "a\\tb", "ä\u00a0ö €", "%s {0} '\""])
async def test_whatever_a_value_looks_like_it_is_kept_as_it_is(house: House, text: str) -> None:
    """Many rows go into the database as text, where a backslash and a tab mean something."""
    attributes = {"note": f"{text}\twith a tab,\na line break and {text}"}
    rows = await import_ndjson(
        house, *({"customer_id": text, "product_id": text, "attributes": attributes} for _ in range(70))
    )
    body = (await house.verify(rows[-1]["token"])).json()
    assert (body["customer_id"], body["product_id"], body["attributes"]) == (text, text, attributes)


async def test_quotation_marks_line_breaks_and_other_delimiters(house: House) -> None:
    rows = await import_csv(house, 'customer_id;note\r\n"c;1";"say ""hi""\r\nthere"\r\nc2;5" wide\r\n')
    assert [(row["customer_id"], row["note"], row["error"]) for row in rows] == [
        ("c;1", 'say "hi"\r\nthere', ""),
        ("c2", '5" wide', ""),
    ]


async def test_bad_rows_are_named_and_good_ones_land(house: House) -> None:
    text = (
        "customer_id,duration,max_uses,not_before\n"
        "good,,,\n,,,\nc,x,,\nc,,0,\nc,,,2099-01-01T00:00:00Z\nc,,,yesterday\nshort\n"
        "a\0b,,,\ngood2,60,1,\n"
    )
    rows = await import_csv(house, text)
    assert [row["error"].split(" ")[0] for row in rows] == [
        *("", "malformed_row:", "malformed_row:", "malformed_row:", "never_valid:", "malformed_row:", "malformed_row:"),
        *("malformed_row:", ""),
    ]
    assert "customer_id" in rows[1]["error"]
    assert "duration" in rows[2]["error"]
    assert [bool(row["token"]) for row in rows] == [not row["error"] for row in rows]
    assert (await house.get("/v1/campaigns/list/stats"))["issued"] == 2


async def test_bytes_that_are_no_utf_8_spoil_their_row_only(house: House) -> None:
    headers = house.headers | {"Content-Type": "text/csv"}
    content = b"customer_id,name\nc1,Ann\nJ\xfcrgen,x\nc3,J\xfcrgen\n"
    answer = await house.client.post(PATH, params=DEFAULTS, content=content, headers=headers)
    lines = answer.content.splitlines()
    assert b"malformed_row" in lines[2]
    assert lines[2].startswith(b"J\xfcrgen,x,")
    assert lines[3].startswith(b"c3,J\xfcrgen,")
    assert b"malformed_row" not in lines[3]


async def test_ndjson(house: House) -> None:
    answers = await import_ndjson(
        house,
        {"customer_id": "c1", "attributes": {"discount": 50}, "max_uses": 2, "row": 1},
        "{bad",
        [1],
        {"customer_id": 5},
        "",
        {"customer_id": "c2", "duration": 60},
    )
    assert answers[0]["row"] == 1
    assert (await house.verify(answers[0]["token"])).json()["attributes"] == {"discount": 50}
    assert answers[1] == {"line": 2, "error": {"code": "malformed_json", "detail": "is not JSON", "field": None}}
    assert answers[2]["error"]["code"] == "malformed_row"
    assert (answers[3]["line"], answers[3]["error"]["field"]) == (4, "customer_id")
    assert answers[4]["url_link"].endswith(answers[4]["token"])


async def test_a_row_with_a_reference_gets_the_same_token_again(house: House) -> None:
    text = "customer_id,reference\nc1,r1\nc2,r2\n"
    first = await import_csv(house, text)
    again = await import_csv(house, "customer_id,reference\nc2,r2\nc3,r1\nc1,r1\nc4,r4\nc4,r4\n")
    assert [row["token"] for row in first] == [again[2]["token"], again[0]["token"]]
    assert again[1]["error"].startswith("reference_reused")
    assert again[3]["token"] == again[4]["token"] != ""
    count = await house.fetch("SELECT count(*) FROM token_service.tokens WHERE tenant = :t", t=house.tenant)
    assert count[0][0] == 3


async def test_the_same_list_imported_twice_at_once_gives_the_same_tokens(house: House) -> None:
    text = "customer_id,reference\n" + "".join(f"c{number},r{number}\n" for number in range(300))
    one, other = await asyncio.gather(import_csv(house, text), import_csv(house, text))
    assert [row["token"] for row in one] == [row["token"] for row in other]
    assert all(row["token"] for row in one)


@pytest.mark.parametrize(
    ("text", "params", "code"),
    [
        ("", {}, "malformed_header"),
        ("name\nx\n", {}, "malformed_header"),
        ("customer_id,customer_id\nx,y\n", {}, "malformed_header"),
        ("customer_id,attributes\nx,y\n", {}, "malformed_header"),
        ('"customer_id\nx\n', {}, "malformed_header"),
        ("customer_id\nx\n", {"duration": "P1.5M"}, "malformed_duration"),
        ("customer_id\nx\n", {"base_url": "ftp://x"}, "malformed_base_url"),
        ("customer_id\nx\n", {"max_uses": "0"}, "malformed_request"),
        ("customer_id\nx\n", {"campaign_id": "a\0"}, "malformed_request"),
    ],
)
async def test_a_list_that_makes_no_sense_is_refused_as_a_whole(
    house: House, text: str, params: dict[str, str], code: str
) -> None:
    headers = house.headers | {"Content-Type": "text/csv"}
    answer = await house.client.post(PATH, params=DEFAULTS | params, content=text.encode(), headers=headers)
    assert refusal(answer) == (400, code)


async def test_other_types_keys_and_callers_are_refused(house: House, register: FakeRegister, tenant: str) -> None:
    headers = house.headers | {"Content-Type": "application/json"}
    assert refusal(await house.client.post(PATH, content=b"[]", headers=headers)) == (415, "unsupported_media_type")
    headers = house.headers | {"Content-Type": "text/csv; charset=windows-1252"}
    assert refusal(await house.client.post(PATH, params=DEFAULTS, content=b"customer_id\nx\n", headers=headers)) == (
        415,
        "unsupported_media_type",
    )
    headers = house.headers | {"Content-Type": "text/csv", "Idempotency-Key": "x"}
    assert refusal(await house.client.post(PATH, content=b"", headers=headers)) == (400, "idempotency_key_not_taken")
    headers = register.add(tenant, "tokens:verify")
    assert refusal(await house.client.post(PATH, content=b"", headers=headers)) == (403, "insufficient_scope")


async def test_a_row_without_an_end_ends_the_import_and_what_came_before_has_landed(house: House) -> None:
    rows = await import_csv(house, "customer_id\n" + "c\n" * 10 + '"' + "x" * 200_000)
    assert [bool(row["token"]) for row in rows] == [True] * 10 + [False]
    assert rows[-1]["error"].startswith("row_too_long")
    answers = await import_ndjson(house, {"customer_id": "c"}, "x" * 200_000)
    assert answers[0]["token"]
    assert answers[1]["error"]["code"] == "row_too_long"


class Streaming:
    """Speaks ASGI itself: sends a list in parts and looks at the answer without keeping either."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""
        self.status = 0
        self.rows = -1
        self.out_of_order = 0

    async def receive(self) -> dict[str, Any]:
        part = next(self._parts, None)
        # As over a network, other work gets its turn between two parts.
        await asyncio.sleep(0)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.status = message.get("status", self.status)
        *lines, self._rest = (self._rest + message.get("body", b"")).split(b"\n")
        for line in lines:
            if self.rows >= 0 and not line.startswith(b"c%d," % self.rows):
                self.out_of_order += 1
            self.rows += 1


def _scope(house: House) -> dict[str, Any]:
    authorization = house.headers["Authorization"].encode()
    return {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": urlencode(DEFAULTS).encode(),
        "headers": [(b"content-type", b"text/csv"), (b"authorization", authorization)],
    }


async def test_a_long_list_is_answered_in_order_and_in_constant_memory(house: House) -> None:
    """10,000 wide rows: 8 MB in and 9 MB out, of which only a part may ever be held."""
    rows, held = 10_000, 7_000_000
    padding = b"x" * 800

    def parts() -> Iterator[bytes]:
        yield b"customer_id,padding\n"
        for start in range(0, rows, 80):
            yield b"".join(b"c%d,%b\n" % (number, padding) for number in range(start, start + 80))

    streaming = Streaming(parts())
    tracemalloc.start()
    try:
        await house.app(_scope(house), streaming.receive, streaming.send)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (streaming.status, streaming.rows, streaming.out_of_order) == (200, rows, 0)
    assert peak < held


async def test_rows_are_written_while_more_are_coming(house: House) -> None:
    """A list is not gathered before it is worked on: the first rows have landed while the last is not yet sent."""
    landed = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"customer_id\nfirst\n"
        await landed.wait()
        yield b"last\n"

    async def see_the_first() -> None:
        async with asyncio.timeout(10):
            while not await house.fetch("SELECT 1 FROM token_service.tokens WHERE tenant = :t", t=house.tenant):
                pass
        landed.set()

    headers = house.headers | {"Content-Type": "text/csv"}
    sending = house.client.post(PATH, params=DEFAULTS, content=chunks(), headers=headers)
    answer, _ = await asyncio.gather(sending, see_the_first())
    assert len(answer.text.splitlines()) == 3


async def test_whoever_waits_for_an_answer_before_sending_more_gets_it(house: House) -> None:
    """Row by row: neither side waits for the other for ever."""
    answered = asyncio.Event()
    streaming = Streaming(iter(()))
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 1
        if sent == 1:
            return {"type": "http.request", "body": b"customer_id\nc0\n", "more_body": True}
        if sent <= 5:
            await answered.wait()
            answered.clear()
            return {"type": "http.request", "body": b"c%d\n" % (sent - 1), "more_body": sent < 5}
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        before = streaming.rows
        await streaming.send(message)
        if streaming.rows > max(before, 0):
            answered.set()

    async with asyncio.timeout(20):
        await house.app(_scope(house), receive, send)
    assert (streaming.status, streaming.rows, streaming.out_of_order) == (200, 5, 0)


async def _texts(content: bytes, size: int) -> list[str]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), size):
            yield content[start : start + size]

    return [text async for text in texts_of(chunks())]


fields = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=8)


@given(st.lists(st.lists(fields, min_size=2, max_size=3), min_size=1, max_size=12), st.integers(1, 40))
def test_records_are_the_same_however_they_are_cut_into_chunks(rows: list[list[str]], size: int) -> None:
    text = encode(rows, ",")
    found = []
    for part in asyncio.run(_texts(text.encode(), size)):
        for record in records_of(part, ","):
            found.append(record.split(",") if isinstance(record, str) else record)
    # A row of a single empty field is a blank line; there is none here.
    assert found == rows


def test_a_record_that_never_ends_is_noticed() -> None:
    with pytest.raises(RecordTooLong):
        asyncio.run(_texts(b'a,"' + b"x" * 100_000, 1000))
