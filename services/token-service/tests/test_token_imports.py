"""Imports: rows in, rows with links out; bad ones named; in constant memory; safely repeated."""

import asyncio
import csv
import gzip
import io
import json
from typing import Any

import httpx
import pytest
from platform_testing.callers import FakeRegister

from .campaign_house import House, refusal, until_async

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
        '{"customer_id": "c3", "customer_id": "c4"}',
        '{"customer_id": "c3", "attributes": {"discount": 5, "discount": 50}}',
    )
    assert answers[0]["row"] == 1
    assert (await house.verify(answers[0]["token"])).json()["attributes"] == {"discount": 50}
    assert answers[1] == {"line": 2, "error": {"code": "malformed_json", "detail": "is not JSON", "field": None}}
    assert answers[2]["error"]["code"] == "malformed_row"
    assert (answers[3]["line"], answers[3]["error"]["field"]) == (4, "customer_id")
    assert answers[4]["url_link"].endswith(answers[4]["token"])
    for answer, field in ((answers[5], "customer_id"), (answers[6], "discount")):
        assert answer["error"] == {"code": "repeated_member", "detail": "is named twice", "field": field}


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
    headers = house.headers | {"Content-Type": "text/csv; charset=shift_jis"}
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


async def send(house: House, content: bytes, content_type: str = "text/csv", **params: str) -> httpx.Response:
    headers = house.headers | {"Content-Type": content_type}
    return await house.client.post(PATH, params=DEFAULTS | params, content=content, headers=headers)


@pytest.mark.parametrize(
    ("encoding", "content_type", "answered"),
    [
        ("utf-16", "text/csv", "text/csv; charset=utf-16"),
        ("cp1252", "text/csv; charset=windows-1252", "text/csv; charset=windows-1252"),
        ("utf-8-sig", "text/csv", "text/csv; charset=utf-8"),
    ],
)
async def test_a_list_comes_back_in_its_own_encoding(
    house: House, encoding: str, content_type: str, answered: str
) -> None:
    content = "sep=;\r\nCustomer_ID;Größe\r\nJürgen;groß\r\n".encode(encoding)
    answer = await send(house, content, content_type)
    assert (answer.status_code, answer.headers["content-type"]) == (200, answered)
    lines = answer.content.decode(encoding).split("\r\n")
    assert lines[:2] == ["sep=;", "Customer_ID;Größe;token;url_link;expires_at;error;line"]
    name, size, token, *_ = lines[2].split(";")
    assert (name, size) == ("Jürgen", "groß")
    assert (await house.verify(token)).json()["customer_id"] == "Jürgen"


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        (gzip.compress(b"customer_id\nx\n", mtime=0), "text/csv", "unreadable_list"),
        (b"PK\x03\x04workbook", "text/csv", "unreadable_list"),
        (gzip.compress(b"{}", mtime=0), "application/x-ndjson", "unreadable_list"),
        ('{"customer_id": "x"}'.encode("utf-16"), "application/x-ndjson", "unreadable_list"),
        (b"Kunde,Name\nx,y\n", "text/csv", "malformed_header"),
    ],
)
async def test_another_file_is_refused_by_name_before_its_first_row(
    house: House, content: bytes, content_type: str, code: str
) -> None:
    answer = await send(house, content, content_type)
    assert refusal(answer) == (400, code)
    assert answer.json()["found"]


async def test_bad_rows_say_their_line(house: House) -> None:
    (bad,) = [row for row in await import_csv(house, 'customer_id,name\nc1,"a\nb"\n\n,x\nc2,y\n') if row["error"]]
    assert bad["line"] == "5"
    answers = await import_ndjson(house, {"customer_id": "c"}, "", {"customer_id": "c", "duration": "x"}, "[]")
    assert [answer.get("line") for answer in answers] == [None, 3, 4]


async def test_a_column_called_line_stays_what_it_was_and_an_answer_can_be_sent_again(house: House) -> None:
    rows = await import_csv(house, "customer_id,line\nc1,sofas\n,beds\n")
    assert [row["line"] for row in rows] == ["sofas", "beds"]
    assert rows[1]["error"].endswith("(line 3)")
    headers = house.headers | {"Content-Type": "text/csv"}
    first = await house.client.post(PATH, params=DEFAULTS, content=b"customer_id\nc1\n,\n", headers=headers)
    again = await house.client.post(PATH, params=DEFAULTS, content=first.content, headers=headers)
    assert again.text.splitlines()[0] == first.text.splitlines()[0]
    assert again.text.splitlines()[1].startswith("c1,")


async def test_an_open_quotation_mark_loses_no_other_row(house: House) -> None:
    """More than 64 KB behind it, so that its end is looked for in vain."""
    lines = [f"c{number},{'x' * 40}" for number in range(3000)]
    lines[10] = 'c10,12" pizza'
    lines[1500] = 'c1500,"oh'
    rows = await import_csv(house, "customer_id,note\n" + "\n".join(lines) + "\n")
    assert [(row["line"], row["error"]) for row in rows if row["error"]] == [
        ("1502", "malformed_row: has a quotation mark that is never closed")
    ]
    assert sum(bool(row["token"]) for row in rows) == 2999
    assert rows[10]["note"] == '12" pizza'


async def test_a_dry_run_says_what_would_happen_and_does_nothing(house: House) -> None:
    known = await import_csv(house, "customer_id,reference\nc1,r1\n")
    rows = await import_csv(
        house,
        "customer_id,reference,not_before\nc1,r1,\nc2,r1,\nc3,r3,\n,r4,\nc5,r5,2099-01-01T00:00:00Z\n",
        dry_run="true",
    )
    assert [row["error"].partition(":")[0] for row in rows] == [
        *("", "reference_reused", "", "malformed_row", "never_valid")
    ]
    assert not any(row["token"] or row["url_link"] for row in rows)
    assert rows[0]["expires_at"] == known[0]["expires_at"]
    assert rows[2]["expires_at"]
    answers = await import_ndjson(house, {"customer_id": "c9"}, dry_run="true", campaign_id="never-seen")
    assert answers[0]["token"] is None
    assert answers[0]["expires_at"]
    count = await house.fetch("SELECT count(*) FROM token_service.tokens WHERE tenant = :t", t=house.tenant)
    assert count[0][0] == 1
    assert refusal(await house.client.get("/v1/campaigns/never-seen/stats", headers=house.headers)) == (
        404,
        "campaign_not_found",
    )


@pytest.mark.parametrize(("death", "code"), [("revoked", "reference_revoked"), ("expired", "reference_expired")])
async def test_a_reference_whose_token_is_dead_says_so_or_is_issued_anew(house: House, death: str, code: str) -> None:
    text = "customer_id,reference\nc1,r1\nc2,r2\n"
    first = await import_csv(house, text, duration="PT1S" if death == "expired" else "PT1H")
    if death == "revoked":
        for row in first:
            await house.client.delete(f"/v1/tokens/{row['token']}", headers=house.headers)
    else:
        await until_async(lambda: _is_expired(house, first[1]["token"]))
    params = {"duration": "PT1S"} if death == "expired" else {}
    again = await import_csv(house, text, **params)
    assert [row["error"].partition(":")[0] for row in again] == [code, code]
    assert not any(row["token"] for row in again)
    text += "c1,r1\n"
    would = await import_csv(house, text, renew="true", dry_run="true")
    assert [row["error"] for row in would] == ["", "", ""]
    renewed = await import_csv(house, text, renew="true")
    assert [row["error"] for row in renewed] == ["", "", ""]
    assert renewed[0]["token"] == renewed[2]["token"]
    assert {row["token"] for row in renewed}.isdisjoint(row["token"] for row in first)
    for row in renewed:
        assert (await house.verify(row["token"])).status_code == 200
    kept = await import_csv(house, text)
    assert [row["token"] for row in kept] == [row["token"] for row in renewed]


async def _is_expired(house: House, token: str) -> bool:
    return (await house.look(token)).status_code == 403


async def test_unknown_parameters_of_an_import_are_refused(house: House) -> None:
    answer = await send(house, b"customer_id\nx\n", dryrun="true")
    assert refusal(answer)[0] == 400
