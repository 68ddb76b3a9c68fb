"""A vendor's list against the ledger's: each kind of finding, in every form of list, in constant memory."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from platform_testing.callers import FakeRegister
from points_ledger.domain.transactions import State
from points_ledger.lists import Line
from points_ledger.reconciliations.domain import Finding, Kind, Stand, StatedLine, Summary, judge
from points_ledger.reconciliations.service import ReconciliationService
from shared.db import Database
from shared.errors import Unavailable
from shared.reports import Reports
from shared.times import iso

from .parties import Platform, Vendor
from .refusals import no_trace
from .test_ledger_eai import bring_to, run_out

PATH = "/eai/v1/reconciliations"
NDJSON = "application/x-ndjson"
NOTHING = {
    "yours": 0,
    "ours": 0,
    "agreed": 0,
    "only_yours": 0,
    "only_ours": 0,
    "state_differs": 0,
    "points_differ": 0,
    "still_held": 0,
    "malformed": 0,
}


async def post(vendor: Vendor, content: bytes, media_type: str = NDJSON, **query: str) -> httpx.Response:
    headers = {**vendor.headers, "Content-Type": media_type}
    return await vendor.client.post(PATH, params=query, content=content, headers=headers)


async def reconcile(
    vendor: Vendor, content: bytes, media_type: str = NDJSON, **query: str
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The findings and the summary."""
    answer = await post(vendor, content, media_type, **query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == NDJSON
    *findings, last = [json.loads(line) for line in answer.content.splitlines()]
    return findings, last["summary"]


def ndjson(*lines: tuple[str, str, int]) -> bytes:
    return b"".join(
        json.dumps({"transactionid": id_, "state": state, "points": points}).encode() + b"\n"
        for id_, state, points in lines
    )


#: State → the points that the contract tells of it, of a transaction over 40.
STATES = {"held": 40, "confirmed": 40, "rolled_back": 0, "expired": 0, "rejected": 0, "cancelled": 0}


async def all_states(shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str) -> None:
    """A transaction in each state, called after it."""
    for state in STATES:
        await bring_to(state, shop, await platform.user_with(100), rows, tenant, name=state)


async def test_books_that_agree_have_no_findings_but_open_holds(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    await all_states(shop, platform, rows, tenant)
    lines = [(state, state, points) for state, points in STATES.items()]
    findings, summary = await reconcile(shop, ndjson(*reversed(lines)))
    stand = {"state": "held", "points": 40}
    assert findings == [{"finding": "still_held", "transactionid": "held", "yours": stand, "ours": stand}]
    assert summary == NOTHING | {"yours": 6, "ours": 6, "agreed": 5, "still_held": 1}


async def test_each_kind_of_difference_is_found(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    await all_states(shop, platform, rows, tenant)
    findings, summary = await reconcile(
        shop,
        ndjson(
            ("made-up", "confirmed", 7),
            ("confirmed", "confirmed", 39),
            ("rolled_back", "confirmed", 40),
            ("held", "confirmed", 40),
            ("expired", "expired", 1),
            ("rejected", "rejected", 0),
        ),
    )

    def stand(state: str, points: int) -> dict[str, Any]:
        return {"state": state, "points": points}

    assert findings == [
        {"finding": "only_yours", "transactionid": "made-up", "yours": stand("confirmed", 7)},
        {
            "finding": "points_differ",
            "transactionid": "confirmed",
            "yours": stand("confirmed", 39),
            "ours": stand("confirmed", 40),
        },
        {
            "finding": "state_differs",
            "transactionid": "rolled_back",
            "yours": stand("confirmed", 40),
            "ours": stand("rolled_back", 0),
        },
        {
            "finding": "still_held",
            "transactionid": "held",
            "yours": stand("confirmed", 40),
            "ours": stand("held", 40),
        },
        {
            "finding": "points_differ",
            "transactionid": "expired",
            "yours": stand("expired", 1),
            "ours": stand("expired", 0),
        },
        {"finding": "only_ours", "transactionid": "cancelled", "ours": stand("cancelled", 0)},
    ]
    assert summary == {
        "yours": 6,
        "ours": 6,
        "agreed": 1,
        "only_yours": 1,
        "only_ours": 1,
        "state_differs": 1,
        "points_differ": 2,
        "still_held": 1,
        "malformed": 0,
    }


@pytest.mark.parametrize("yours", State)
@pytest.mark.parametrize("ours", [*State, None])
def test_two_sides_agree_only_in_state_and_points(yours: State, ours: State | None) -> None:
    found = judge(Stand(yours, 5), None if ours is None else Stand(ours, 5))
    if ours is None:
        assert found is Kind.ONLY_YOURS
    elif ours is State.HELD:
        assert found is Kind.STILL_HELD
    else:
        assert found is (None if yours is ours else Kind.STATE_DIFFERS)
        assert judge(Stand(yours, 5), Stand(ours, 6)) is (Kind.POINTS_DIFFER if yours is ours else Kind.STATE_DIFFERS)


async def test_points_of_a_confirmed_one_are_those_deducted_whatever_was_held_or_refunded(
    shop: Vendor, platform: Platform
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "order-1", 40)
    await shop.confirm(user, "order-1", 30)
    await shop.refund(user, "order-1", "return-1", 10)
    assert await reconcile(shop, ndjson(("order-1", "confirmed", 30))) == (
        [],
        NOTHING | {"yours": 1, "ours": 1, "agreed": 1},
    )


async def test_only_ours_looks_at_the_range_and_everything_else_does_not(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    noon = datetime(2026, 11, 10, 12, tzinfo=UTC)
    for hours, name in enumerate(("before", "first", "last", "after")):
        await bring_to("confirmed", shop, user, rows, tenant, name) if hours == 0 else await shop.commit(user, name, 5)
        await rows.execute(
            "UPDATE points_ledger.transactions SET created_at = $3 WHERE tenant = $1 AND transaction_id = $2",
            tenant, name, noon + timedelta(hours=hours),
        )  # fmt: skip
        if hours:
            await shop.confirm(user, name)
    day = {"since": iso(noon + timedelta(hours=1)), "until": iso(noon + timedelta(hours=3))}
    findings, summary = await reconcile(shop, ndjson(("before", "confirmed", 1)), **day)
    assert [(one["finding"], one["transactionid"]) for one in findings] == [
        ("points_differ", "before"),
        ("only_ours", "first"),
        ("only_ours", "last"),
    ]
    assert summary == NOTHING | {"yours": 1, "ours": 3, "points_differ": 1, "only_ours": 2}
    # By default the last 31 days.
    await rows.execute(
        "UPDATE points_ledger.transactions SET created_at = clock_timestamp() - interval '30 days 23 hours'"
        " WHERE tenant = $1 AND transaction_id = 'last'",
        tenant,
    )
    await rows.execute(
        "UPDATE points_ledger.transactions SET created_at = clock_timestamp() - interval '31 days 1 hour'"
        " WHERE tenant = $1 AND transaction_id <> 'last'",
        tenant,
    )
    findings, _ = await reconcile(shop, b"")
    assert [one["transactionid"] for one in findings] == ["last"]
    findings, _ = await reconcile(shop, b"", since="2026-01-01T00:00:00Z")
    assert len(findings) == 4
    for backwards in (day["until"], day["since"]):
        answer = await post(shop, b"", since=backwards, until=day["since"])
        assert (answer.status_code, answer.json()["code"]) == (400, "range_backwards")


async def test_what_is_created_after_the_list_began_is_not_missed_in_it(shop: Vendor, platform: Platform) -> None:
    """Also where `until` lies in the future: the vendor wrote its list before."""
    user = await platform.user_with(100)
    await shop.commit(user, "known", 5)

    async def body() -> AsyncIterator[bytes]:
        yield ndjson(("known", "held", 5))
        # The comparison has begun when the next line is asked for.
        await shop.commit(user, "late", 5)
        yield ndjson(("other", "held", 5))

    answer = await shop.client.post(
        PATH,
        params={"until": "2099-01-01T00:00:00Z"},
        content=body(),
        headers={**shop.headers, "Content-Type": NDJSON},
    )
    named = [json.loads(line).get("transactionid") for line in answer.content.splitlines()]
    assert "late" not in named[:-1]


async def test_a_transaction_that_is_named_twice_counts_once(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    await all_states(shop, platform, rows, tenant)
    filling = [(f"x-{number}", "confirmed", 1) for number in range(2500)]
    double = ("confirmed", "confirmed", 40)
    findings, summary = await reconcile(shop, ndjson(double, double, *filling, double))
    assert [one for one in findings if one["finding"] == "malformed"] == [
        {
            "finding": "malformed",
            "transactionid": "confirmed",
            "line": line,
            "detail": "The transaction stood in line 1 already.",
        }
        for line in (2, 2503)
    ]
    assert (summary["yours"], summary["agreed"], summary["only_yours"], summary["malformed"]) == (2503, 1, 2500, 2)


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b"no JSON", "Invalid JSON"),
        (b'{"transactionid":"a","state":"confirmed"}', "points: Field required"),
        (b'{"transactionid":"a","state":"done","points":1}', "state: "),
        (b'{"transactionid":"a","state":"confirmed","points":-1}', "points: "),
        (b'{"transactionid":"a","state":"confirmed","points":1.5}', "points: "),
        (b'{"transactionid":"a","state":"confirmed","points":"1"}', "points: "),
        (b'{"transactionid":"a","state":"confirmed","points":9007199254740992}', "points: "),
        (b'{"transactionid":"","state":"confirmed","points":1}', "transactionid: "),
        (b'{"transactionid":"a\\u0000","state":"confirmed","points":1}', "transactionid: "),
        (b'{"transactionid":"..","state":"confirmed","points":1}', "transactionid: "),
        (b'{"transactionid":"a","state":"confirmed","points":1,"user":"x"}', "user: "),
        (b'["a","confirmed",1]', "Input should be an object"),
        (b"\xff\xfe", ""),
    ],
)
async def test_a_malformed_line_is_named_and_the_others_count(line: bytes, detail: str, shop: Vendor) -> None:
    findings, summary = await reconcile(shop, b"\n" + line + b"\n" + ndjson(("b", "confirmed", 1)))
    bad, good = findings
    assert (bad["finding"], bad["line"]) == ("malformed", 2)
    assert bad["detail"].startswith(detail)
    assert (good["finding"], good["transactionid"]) == ("only_yours", "b")
    assert summary == NOTHING | {"yours": 2, "only_yours": 1, "malformed": 1}


async def test_a_line_without_an_end_ends_the_list_and_nothing_is_said_of_the_rest(
    shop: Vendor, platform: Platform
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "order-1", 5)
    findings, summary = await reconcile(
        shop, ndjson(("a", "held", 1)) + b"x" * 20_000 + b"\n" + ndjson(("b", "held", 1))
    )
    assert [one["finding"] for one in findings] == ["only_yours", "malformed"]
    assert summary == NOTHING | {"yours": 2, "only_yours": 1, "malformed": 1, "only_ours": None}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
async def test_a_list_may_be_csv_as_people_have_it(
    encoding: str, delimiter: str, shop: Vendor, platform: Platform
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "Größe 1", 5)
    await shop.confirm(user, "Größe 1")
    rows = [
        ["State", "customer", "POINTS", "transactionId"],
        ["confirmed", "Ann", "5", "Größe 1"],
        ["confirmed", "Bob", "6", '"a ""b"""'],
        ["confirmed", "Eve", "x", "c"],
        ["confirmed"],
    ]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    media_type = "text/csv; charset=windows-1252" if encoding == "windows-1252" else "text/csv"
    findings, summary = await reconcile(shop, text.encode(encoding), media_type)
    assert [(one["finding"], one.get("transactionid"), one.get("line")) for one in findings] == [
        ("only_yours", 'a "b"', None),
        ("malformed", None, 4),
        ("malformed", None, 5),
    ]
    assert summary == NOTHING | {"yours": 4, "ours": 1, "agreed": 1, "only_yours": 1, "malformed": 2}


@pytest.mark.parametrize(
    ("content", "media_type", "status", "code"),
    [
        (b"transactionid,state\na,held\n", "text/csv", 400, "malformed_header"),
        (b"", "text/csv", 400, "malformed_header"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "text/csv", 400, "unreadable_list"),
        (b"\x1f\x8b\x08\0\0\0\0\0", NDJSON, 400, "unreadable_list"),
        (b"{}", "application/json", 415, "unsupported_media_type"),
        (b"{}", "", 415, "unsupported_media_type"),
    ],
)
async def test_what_is_no_list_is_refused_as_a_whole(
    content: bytes, media_type: str, status: int, code: str, shop: Vendor
) -> None:
    answer = await post(shop, content, media_type)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["status"] == "failed"


@pytest.mark.parametrize("query", [{"since": "yesterday"}, {"until": "2026-11-10"}, {"state": "held"}])
async def test_a_range_that_is_none_is_refused(query: dict[str, str], shop: Vendor) -> None:
    assert (await post(shop, b"", **query)).status_code == 400


async def test_other_vendors_and_tenants_are_not_seen(
    shop: Vendor, platform: Platform, register: FakeRegister, tenant: str
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "order-1", 5)
    for headers in (
        register.add(tenant, "points:redeem", vendor_id="other"),
        register.add(f"{tenant}-2", "points:redeem", vendor_id="shop"),
    ):
        findings, summary = await reconcile(Vendor(shop.client, headers), ndjson(("order-1", "held", 5)))
        assert [one["finding"] for one in findings] == ["only_yours"]
        assert summary == NOTHING | {"yours": 1, "only_yours": 1}


async def test_nothing_is_changed(shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str) -> None:
    await all_states(shop, platform, rows, tenant)
    await run_out(rows, tenant, "held")
    async with no_trace(rows):
        findings, _ = await reconcile(shop, ndjson(("held", "held", 40), ("nobody", "held", 1)))
    assert [one["finding"] for one in findings][:2] == ["state_differs", "only_yours"]


Compare = Callable[..., AsyncIterator[Any]]


@pytest.fixture
async def reports(ledger_url: str) -> AsyncIterator[Reports]:
    reports = Reports(Database(ledger_url, pool_size=2), seconds=10, at_once=1)
    yield reports
    await reports.close()


def a_line(number: int, transaction: str) -> Line[StatedLine]:
    return Line(number, StatedLine(transactionid=transaction, state=State.CONFIRMED, points=1))


async def test_no_transaction_is_open_and_no_connection_taken_while_lines_are_awaited(
    reports: Reports, rows: asyncpg.Connection, tenant: str
) -> None:
    """A vendor that is slow must hold nothing back: no vacuum, and no other report."""
    taken: list[int] = []

    async def lines() -> AsyncIterator[list[Line[StatedLine]]]:
        for number in (1, 2):
            taken.append(
                await rows.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND state <> 'idle' AND pid <> pg_backend_pid() AND query LIKE '%unnest%'"
                )
            )
            yield [a_line(number, f"t-{number}")]

    service = ReconciliationService(reports)
    found = [one async for one in service.compare(tenant, "shop", lines(), client_id="one")]
    assert isinstance(found[-1], Summary)
    assert taken == [0, 0]


async def test_a_client_compares_no_more_lists_at_once_than_it_may_have_reports(
    reports: Reports, tenant: str, shop: Vendor
) -> None:
    service, more = ReconciliationService(reports), asyncio.Event()

    async def slow() -> AsyncIterator[list[Line[StatedLine]]]:
        await more.wait()
        yield [a_line(1, "a")]

    async def none() -> AsyncIterator[list[Line[StatedLine]]]:
        return
        yield

    first = service.compare(tenant, "shop", slow(), client_id="one")
    assert await anext(first) == []
    from shared.reports import TooManyReports

    with pytest.raises(TooManyReports):
        await anext(service.compare(tenant, "shop", none(), client_id="one"))
    other = service.compare(tenant, "shop", none(), client_id="two")
    assert await anext(other) == []
    await other.aclose()
    more.set()
    assert [one async for one in first][-1].yours == 1
    # The place is free again, also after one that was given up half way.
    for _ in range(2):
        given_up = service.compare(tenant, "shop", none(), client_id="one")
        await anext(given_up)
        await given_up.aclose()


async def test_a_list_is_read_up_to_its_bound(reports: Reports, tenant: str) -> None:
    async def lines() -> AsyncIterator[list[Line[StatedLine]]]:
        yield [a_line(number, f"t-{number}") for number in range(1, 4)]
        yield [a_line(number, f"t-{number}") for number in range(4, 9)]
        raise AssertionError("nothing behind the bound is read")

    service = ReconciliationService(reports, most_lines=5)
    found = [one async for one in service.compare(tenant, "shop", lines(), client_id="one")]
    findings: list[Finding] = [each for block in found[:-1] for each in block]
    assert [each.kind for each in findings] == [*[Kind.ONLY_YOURS] * 5, Kind.MALFORMED]
    assert findings[-1].line == 6
    assert found[-1].yours == 6
    assert Kind.ONLY_OURS not in found[-1].found


async def test_a_database_that_is_away_for_a_moment_does_not_end_a_comparison(
    reports: Reports, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from points_ledger.reconciliations import queries

    read, failures = queries.read_named, 2

    async def sometimes(*arguments: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise Unavailable(log="away")
        return await read(*arguments)

    monkeypatch.setattr(queries, "read_named", sometimes)

    async def lines() -> AsyncIterator[list[Line[StatedLine]]]:
        yield [a_line(1, "a")]

    found = [one async for one in ReconciliationService(reports).compare(tenant, "shop", lines(), client_id="one")]
    assert found[-1].yours == 1
    assert failures == 0


async def command(ledger_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As an operator types it."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "points_ledger", "reconcile", *arguments],
        env=os.environ | {"LEDGER_DATABASE_URL": ledger_url},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("media_type", ["csv", "ndjson"])
async def test_the_command_says_the_same_as_a_table_or_as_csv(
    media_type: str,
    shop: Vendor,
    platform: Platform,
    rows: asyncpg.Connection,
    ledger_url: str,
    tenant: str,
    tmp_path: Path,
) -> None:
    await all_states(shop, platform, rows, tenant)
    lines = [("confirmed", "confirmed", 39), ("a b", "held", 1), ("held", "held", 40)]
    file = tmp_path / "list"
    text = "transactionid,state,points\n" + "".join(f"{id_},{state},{points}\n" for id_, state, points in lines)
    file.write_bytes(text.encode() if media_type == "csv" else ndjson(*lines))

    async def run(*options: str) -> subprocess.CompletedProcess[str]:
        return await command(ledger_url, str(file), "--tenant", tenant, "--vendor", "shop", *options)

    as_csv = await run("--format", "csv")
    assert as_csv.returncode == 1, as_csv.stderr
    findings, summary = await reconcile(shop, file.read_bytes() if media_type != "csv" else ndjson(*lines))
    told = list(csv.DictReader(io.StringIO(as_csv.stdout)))
    assert [(row["finding"], row["transactionid"]) for row in told] == [
        (one["finding"], one["transactionid"]) for one in findings
    ]
    assert told[0] == {
        "finding": "points_differ",
        "transactionid": "confirmed",
        "your_state": "confirmed",
        "your_points": "39",
        "our_state": "confirmed",
        "our_points": "40",
        "line": "",
        "detail": "",
    }
    assert as_csv.stderr == ", ".join(f"{name} {count}" for name, count in summary.items()) + "\n"
    as_table = await run()
    first = as_table.stdout.splitlines()[1]
    assert first.split() == ["points_differ", "confirmed", "confirmed", "39", "confirmed", "40"]
    assert as_table.stdout.splitlines()[-1] == as_csv.stderr.strip()
    for options in (
        ("--since", "yesterday"),
        ("--vendor", "a\u200bb"),
        ("--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"),
    ):
        refused = await run(*options)
        assert (refused.returncode, bool(refused.stderr)) == (2, True)
    file.write_bytes(b"a,b\n")
    refused = await run()
    assert (refused.returncode, "transactionid" in refused.stderr) == (2, True)


async def test_books_that_agree_end_the_command_well(ledger_url: str, tenant: str, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("transactionid,state,points\n")
    done = await command(ledger_url, str(file), "--tenant", tenant, "--vendor", "shop")
    assert done.returncode == 0, done.stderr
