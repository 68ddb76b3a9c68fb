"""In which forms a vendor's list may come, and whose books it is compared with."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from platform_testing.callers import FakeRegister

from .parties import Platform, Vendor
from .refusals import no_trace
from .test_ledger_eai import run_out
from .vendor_lists import NDJSON, NOTHING, all_states, ndjson, post, reconcile


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
        (b'{"transactionid":"..","state":"confirmed","points":1}', "transactionid: must not"),
        (b'{"transactionid":"a","state":"confirmed","points":1,"user":"x"}', "user: "),
        (b'{"transactionid":"a","state":"confirmed","points":1,"points":1}', "points: is named twice"),
        (b'{"transactionid":"a:b","state":"held","state":"confirmed","points":1}', "state: is named twice"),
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
