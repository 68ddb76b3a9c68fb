"""Imports of credits: in which forms, in which order, into which accounts, and for a try."""

import csv
import io
import secrets
from typing import Any

import asyncpg
import orjson
import pytest
from platform_testing.plans import as_sent
from points_ledger.accounts import queries
from shared.line_exchange import MOST_WAITING_BYTES, pack

from .parties import Platform
from .refusals import is_problem, no_trace

NDJSON = "application/x-ndjson"


async def send(platform: Platform, content: bytes, media_type: str = NDJSON, **query: str) -> list[dict[str, Any]]:
    headers = {**platform.headers, "Content-Type": media_type}
    answer = await platform.client.post("/v1/credits/import", params=query, content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return [orjson.loads(line) for line in answer.content.splitlines()]


def line(user: str, points: int, reference: str) -> dict[str, Any]:
    return {"user_id": user, "points": points, "reference": reference, "reason": "Grüße"}


def ndjson(*lines: dict[str, Any]) -> bytes:
    return b"\n".join(map(orjson.dumps, lines))


def as_csv(*lines: dict[str, Any], delimiter: str = ",") -> str:
    text = io.StringIO()
    rows = csv.DictWriter(text, ["Reference", "note", "user-id", "POINTS", "reason"], delimiter=delimiter)
    rows.writeheader()
    for each in lines:
        rows.writerow(
            {
                "Reference": each["reference"],
                "note": "x",
                "user-id": each["user_id"],
                "POINTS": each["points"],
                "reason": each["reason"],
            }
        )
    return text.getvalue()


async def test_lines_of_one_account_are_booked_in_their_order(platform: Platform) -> None:
    user = await platform.user_with(0)
    outcomes = await send(platform, ndjson(*(line(user, 1, f"r-{number}") for number in range(1500))))
    assert [outcome["number"] for outcome in outcomes[:-1]] == list(range(1, 1501))
    assert outcomes[-1] == {"summary": {"lines": 1500, "credited": 1500, "repeated": 0, "refused": 0}}


async def test_a_byte_order_mark_is_no_part_of_the_first_line(platform: Platform) -> None:
    user = await platform.user_with(0)
    outcomes = await send(platform, b"\xef\xbb\xbf" + ndjson(line(user, 5, "a"), line(user, 6, "b")))
    assert [outcome["status"] for outcome in outcomes[:-1]] == [201, 201]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
async def test_a_list_may_be_csv_as_people_have_it(encoding: str, delimiter: str, platform: Platform) -> None:
    user = await platform.user_with(0)
    text = as_csv(
        line(user, 5, "a"), line(user, 0, "b"), line("nobody", 1, "c"), line(user, 5, "a"), delimiter=delimiter
    )
    media_type = "text/csv; charset=windows-1252" if encoding == "windows-1252" else "text/csv"
    outcomes = await send(platform, text.encode(encoding), media_type)
    assert [(outcome["line"], outcome["status"], outcome.get("code")) for outcome in outcomes[:-1]] == [
        (2, 201, None),
        (3, 400, "malformed_request"),
        (4, 404, "account_not_found"),
        (5, 200, None),
    ]
    assert outcomes[0]["reason"] == "Grüße"
    assert outcomes[-1] == {"summary": {"lines": 4, "credited": 1, "repeated": 1, "refused": 2}}


async def test_a_line_that_names_a_member_twice_is_refused(platform: Platform) -> None:
    """Which of the two numbers is meant, nobody knows."""
    user = await platform.user_with(0)
    twice = ndjson(line(user, 5, "https://a/b")).replace(b'"points":5', b'"points":5,"points":500')
    outcomes = await send(platform, twice + b"\n" + ndjson(line(user, 6, "a:b")))
    assert [(outcome["status"], outcome.get("code")) for outcome in outcomes[:-1]] == [
        (400, "repeated_member"),
        (201, None),
    ]
    assert outcomes[0]["detail"] == "points: is named twice"
    assert await platform.balance(user) == (6, 0)


async def test_a_list_without_a_column_is_refused_as_a_whole(platform: Platform, rows: asyncpg.Connection) -> None:
    async with no_trace(rows):
        for content, code in (
            (b"user_id,points\na,1\n", "malformed_header"),
            (b"\x1f\x8b\x08\0\0\0\0\0", "unreadable_list"),
        ):
            answer = await platform.client.post(
                "/v1/credits/import", content=content, headers={**platform.headers, "Content-Type": "text/csv"}
            )
            assert is_problem(answer, 400, code)


async def test_accounts_that_are_missing_are_opened_when_that_is_asked_for(platform: Platform, tenant: str) -> None:
    there = await platform.user_with(1)
    lines = ndjson(
        line("new-1", 5, "a"), line(there, 6, "a"), line("new-1", 7, "b"), {"user_id": "bad"}, line("new-2", 8, "a")
    )
    outcomes = await send(platform, lines, open_accounts="true")
    assert [outcome["status"] for outcome in outcomes[:-1]] == [201, 201, 201, 400, 201]
    for user, points in (("new-1", 12), (there, 7), ("new-2", 8)):
        assert await platform.balance(user) == (points, 0)
    assert (await platform.client.get("/v1/accounts/bad", headers=platform.headers)).status_code == 404


async def test_any_number_of_accounts_is_opened_by_the_same_statement(ledger_url: str, tenant: str) -> None:
    """So that neither the service nor the database makes it anew for each block of an import."""
    one, many = [
        await as_sent(ledger_url, lambda connection, names=names: queries.open_accounts(connection, tenant, names))
        for names in (["ann"], [f"user-{number}" for number in range(512)])
    ]
    assert one == many


@pytest.mark.parametrize("open_accounts", ["true", "false"])
async def test_a_dry_run_tells_what_would_be_and_changes_nothing(
    open_accounts: str, platform: Platform, rows: asyncpg.Connection
) -> None:
    user, closed = await platform.user_with(1), await platform.user_with(1)
    assert (await platform.credit(user, 5, "was")).status_code == 201
    assert (
        await platform.client.delete(f"/v1/accounts/{closed}?reason=x", headers=platform.headers)
    ).status_code == 200
    lines = ndjson(
        line(user, 5, "was"),
        line(user, 6, "was"),
        line(user, 7, "new"),
        line(user, 7, "new"),
        line(user, 8, "new"),
        line("nobody", 1, "a"),
        line(closed, 1, "a"),
        line(user, 9_007_199_254_740_991, "much"),
        {"user_id": user},
    )
    async with no_trace(rows):
        tried = await send(platform, lines, dry_run="true", open_accounts=open_accounts)
    done = await send(platform, lines, open_accounts=open_accounts)
    assert [(each["line"], each["status"], each.get("code")) for each in tried[:-1]] == [
        (each["line"], each["status"], each.get("code")) for each in done[:-1]
    ]
    assert tried[-1] == done[-1]


async def test_the_answers_to_a_million_lines_can_wait_for_a_caller_that_reads_when_it_has_sent_all(
    platform: Platform,
) -> None:
    user, lines = await platform.user_with(1), 512
    sent = ndjson(*(line(user, 1, f"campaign-{secrets.token_hex(8)}") for _ in range(lines)))
    headers = {**platform.headers, "Content-Type": NDJSON}
    answer = await platform.client.post("/v1/credits/import", content=sent, headers=headers)
    assert len(answer.content.splitlines()) == lines + 1
    assert len(pack(answer.content)) * 1_000_000 / lines < MOST_WAITING_BYTES
