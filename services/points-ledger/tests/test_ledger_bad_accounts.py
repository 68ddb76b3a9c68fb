"""Whatever is wrong with a call of the platform, it is refused as a problem and leaves no trace."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from platform_testing.callers import FakeRegister
from platform_testing.serving import running
from points_ledger.app import create_app
from points_ledger.settings import Settings

from .parties import EAI, Platform, Vendor
from .refusals import JSON, NO_ID, NO_JSON, NO_OBJECT, NO_POINTS, is_failed, is_problem, no_trace, raw_body

MakeSettings = Callable[..., Settings]

POST = {"points": b"40", "reference": b'"r"', "reason": b'"because"'}
#: What no id is, in a path. Percent-encoded, as it goes over the wire.
NO_ID_IN_PATH = {
    "blank": "%20",
    "trailing blank": "a%20",
    "NUL": "a%00b",
    "newline": "a%0Ab",
    "not UTF-8": "%FF",
    "half a character": "a%C3",
    "a surrogate": "%ED%A0%80",
    "replacement": "%EF%BF%BD",
    "invisible": "a%E2%80%8Bb",
    "129 characters": "a" * 129,
    "10 kB": "a" * 10_240,
}


@pytest.fixture(scope="module")
def register() -> FakeRegister:
    return FakeRegister()


@pytest.fixture(scope="module")
async def client(make_settings: MakeSettings, register: FakeRegister) -> AsyncIterator[httpx.AsyncClient]:
    async with running(create_app(make_settings(sweep_seconds=86_400), register=register)) as client:
        yield client


def bad_bodies() -> dict[str, bytes]:
    cases: dict[str, bytes] = {}
    texts = {"null": b"null", "number": b"1", "NUL": b'"\\u0000"', "501 characters": b'"' + b"a" * 501 + b'"'}
    for name, bad in (("points", NO_POINTS), ("reference", NO_ID), ("reason", texts)):
        cases |= {f"{name} {key}": raw_body(POST | {name: value}) for key, value in bad.items()}
        cases[f"{name} missing"] = raw_body({key: value for key, value in POST.items() if key != name})
    cases["one more field"] = raw_body(POST | {"more": b"1"})
    cases["one more, unprintable"] = raw_body(POST | {"\\ud800\\u0000": b"1"})
    return cases | NO_JSON | {f"not an object: {key}": value for key, value in NO_OBJECT.items()}


@pytest.mark.parametrize("kind", ["credits", "debits"])
async def test_the_platform_is_told_what_is_wrong_with_each_body(
    kind: str, platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(100)
    async with no_trace(rows):
        for case, body in bad_bodies().items():
            answer = await platform.client.post(
                f"/v1/accounts/{user}/{kind}", content=body, headers={**platform.headers, **JSON}
            )
            assert is_problem(answer, 400, "malformed_request", "malformed_json"), case


@pytest.mark.parametrize("case", NO_ID_IN_PATH)
async def test_what_is_no_id_is_refused_in_a_path_too(
    case: str, shop: Vendor, platform: Platform, rows: asyncpg.Connection
) -> None:
    path, client, headers = NO_ID_IN_PATH[case], platform.client, dict(platform.headers)
    good = {"points": 1, "reference": "r", "reason": ""}
    async with no_trace(rows):
        for answer in (
            await client.put(f"/v1/accounts/{path}", headers=headers),
            await client.get(f"/v1/accounts/{path}", headers=headers),
            await client.get(f"/v1/accounts/{path}/entries", headers=headers),
            await client.post(f"/v1/accounts/{path}/credits", json=good, headers=headers),
            await client.post(f"/v1/accounts/{path}/debits", json=good, headers=headers),
            await client.put(f"/v1/vendors/{path}", json={"hold_seconds": 1}, headers=headers),
        ):
            assert is_problem(answer, 400, "malformed_request")
        looked_up = await shop.client.get(f"{EAI}/{path}", headers=shop.headers)
        assert is_failed(looked_up, 400, "malformed_request")


async def test_an_account_that_was_not_opened_takes_no_points(platform: Platform, rows: asyncpg.Connection) -> None:
    async with no_trace(rows):
        for answer in (await platform.credit("nobody", 1), await platform.debit("nobody", 1)):
            assert is_problem(answer, 404, "account_not_found")
        for path in ("", "/entries", "?at=2026-01-01T00:00:00Z"):
            answer = await platform.client.get(f"/v1/accounts/nobody{path}", headers=platform.headers)
            assert is_problem(answer, 404, "account_not_found")


async def test_what_is_held_cannot_be_taken_and_no_balance_grows_past_what_json_carries(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection
) -> None:
    most = 9_007_199_254_740_991
    user = await platform.user_with(most)
    assert (await shop.commit(user, "t", most - 10)).status_code == 200
    async with no_trace(rows):
        assert is_problem(await platform.debit(user, 11), 400, "insufficient_points")
        assert is_problem(await platform.credit(user, 1), 409, "balance_limit_exceeded")
    assert (await shop.confirm(user, "t")).status_code == 200
    assert (await platform.credit(user, most - 10)).status_code == 201
    async with no_trace(rows):
        assert is_problem(await platform.credit(user, 1), 409, "balance_limit_exceeded")
    refund = await shop.refund(user, "t", "r", 1)
    assert is_failed(refund, 409, "balance_limit_exceeded")
    assert await platform.balance(user) == (most, 0)


@pytest.mark.parametrize("value", [0, -1, 604_801, 2**63, True, 1.5, "60", None, [1]])
async def test_a_hold_lasts_a_second_to_seven_days(value: Any, platform: Platform, rows: asyncpg.Connection) -> None:
    async with no_trace(rows):
        answer = await platform.client.put(
            "/v1/vendors/shop", json={"hold_seconds": value}, headers=dict(platform.headers)
        )
        assert is_problem(answer, 400, "malformed_request")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=1e2",
        "limit=99999999999999999999",
        "cursor=",
        "cursor=%00",
        "cursor=" + "a" * 5000,
        "other=1",
    ],
)
async def test_a_page_of_a_statement_is_asked_for_in_its_words_only(
    query: str, platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(1)
    async with no_trace(rows):
        answer = await platform.client.get(f"/v1/accounts/{user}/entries?{query}", headers=platform.headers)
        assert is_problem(answer, 400, "malformed_request", "invalid_cursor", "unknown_parameter")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "state=open",
        "state=",
        "since=yesterday",
        "since=2026-01-01",
        "since=2026-01-01T00:00:00",
        "cursor=",
        "cursor=%00",
        "cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwidCJd",
        "cursor=WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwidCJd",
        "other=1",
    ],
)
async def test_a_page_of_transactions_is_asked_for_in_its_words_only(
    query: str, shop: Vendor, rows: asyncpg.Connection
) -> None:
    async with no_trace(rows):
        answer = await shop.client.get(f"{EAI}?{query}", headers=shop.headers)
        assert is_failed(answer, 400, "malformed_request", "invalid_cursor", "unknown_parameter")


@pytest.mark.parametrize(
    "at",
    [
        "",
        "now",
        "2026-01-01T00:00:00",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999Z",
        "99999-01-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "%00",
    ],
)
async def test_a_balance_is_asked_for_as_of_a_past_instant_only(
    at: str, platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(1)
    async with no_trace(rows):
        answer = await platform.client.get(f"/v1/accounts/{user}?at={at}", headers=platform.headers)
        assert is_problem(answer, 400, "malformed_request", "instant_in_the_future")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00-23:59"])
async def test_long_before_the_first_entry_there_was_nothing(at: str, platform: Platform, shop: Vendor) -> None:
    """Also at an instant that no calendar has in UTC."""
    user = await platform.user_with(1)
    get = platform.client.get

    answer = await get(f"/v1/accounts/{user}", params={"at": at}, headers=platform.headers)
    listed = await get(EAI, params={"since": at}, headers=shop.headers)

    if at == "0001-01-01T00:00:00+14:00":
        assert is_problem(answer, 400, "malformed_request")
        assert is_failed(listed, 400, "malformed_request")
    else:
        assert (answer.status_code, answer.json()["total"]) == (200, 0)
        assert listed.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/v1/accounts/a"),
        ("POST", "/v1/accounts/a"),
        ("GET", "/v1/accounts/a/credits"),
        ("PUT", "/v1/accounts/a/debits"),
        ("PATCH", "/v1/vendors/a"),
        ("GET", "/v1/credits/import"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_refused(
    method: str, path: str, platform: Platform, rows: asyncpg.Connection
) -> None:
    async with no_trace(rows):
        answer = await platform.client.request(method, path, headers=platform.headers)
        assert is_problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_method_that_eai_does_not_take_is_refused_in_its_shape(method: str, shop: Vendor) -> None:
    for path in (EAI, f"{EAI}/t"):
        assert is_failed(await shop.client.request(method, path, headers=shop.headers), 405, "method_not_allowed")


async def test_good_lines_of_an_import_land_and_bad_ones_are_named(
    platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(0)
    lines = [
        b'{"user_id": "%s", "points": 5, "reference": "good", "reason": ""}' % user.encode(),
        b"not json",
        b'{"user_id": "%s", "points": 0, "reference": "zero", "reason": ""}' % user.encode(),
        b'{"user_id": "\xff", "points": 5, "reference": "bytes", "reason": ""}',
        b'{"user_id": "nobody", "points": 5, "reference": "nobody", "reason": ""}',
        b'{"user_id": "%s", "points": 6, "reference": "good", "reason": ""}' % user.encode(),
        b"[" * 10_000,
        b"",
        b'{"user_id": "%s", "points": 7, "reference": "last", "reason": ""}' % user.encode(),
    ]

    answer = await platform.client.post(
        "/v1/credits/import",
        content=b"\n".join(lines),
        headers={**platform.headers, "Content-Type": "application/x-ndjson"},
    )

    assert answer.status_code == 200
    *outcomes, last = [httpx.Response(200, content=line).json() for line in answer.content.splitlines()]
    assert last == {"summary": {"lines": 8, "credited": 2, "repeated": 0, "refused": 6}}
    assert [(o["line"], o["status"], o.get("code")) for o in outcomes] == [
        (1, 201, None),
        (2, 400, "malformed_request"),
        (3, 400, "malformed_request"),
        (4, 400, "malformed_request"),
        (5, 404, "account_not_found"),
        (6, 409, "reference_mismatch"),
        (7, 400, "malformed_request"),
        (9, 201, None),
    ]
    assert await platform.balance(user) == (12, 0)
    async with no_trace(rows):
        again = await platform.client.post(
            "/v1/credits/import", content=lines[1], headers={**platform.headers, "Content-Type": "application/x-ndjson"}
        )
        assert again.status_code == 200
