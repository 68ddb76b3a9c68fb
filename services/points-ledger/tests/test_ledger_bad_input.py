"""Whatever is wrong with a body or a header, it is refused with a stable code and leaves no trace: for vendors."""

from collections.abc import AsyncIterator, Callable

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


@pytest.fixture(scope="module")
def register() -> FakeRegister:
    return FakeRegister()


@pytest.fixture(scope="module")
async def client(make_settings: MakeSettings, register: FakeRegister) -> AsyncIterator[httpx.AsyncClient]:
    async with running(create_app(make_settings(sweep_seconds=86_400), register=register)) as client:
        yield client


COMMIT = {"userid": b'"USER"', "transactionid": b'"t"', "pointstodeduct": b"40", "description": b'"a mug"'}
CONFIRM = {"userid": b'"USER"', "transactionid": b'"t"', "pointstodeduct": b"40"}
ROLLBACK = {"userid": b'"USER"', "transactionid": b'"t"'}
REFUND = {"userid": b'"USER"', "transactionid": b'"t"', "refundid": b'"r"', "points": b"10"}
OPERATIONS = {"commit": COMMIT, "confirm": CONFIRM, "rollback": ROLLBACK, "refund": REFUND}


def bad_eai_bodies() -> dict[str, tuple[str, bytes]]:
    """Name of the case → (operation, body)."""
    cases: dict[str, tuple[str, bytes]] = {}
    for operation, good in OPERATIONS.items():
        for name in good:
            bad = NO_POINTS if name.startswith("points") else NO_ID
            if name == "description":
                bad = {"null": b"null", "number": b"1", "NUL": b'"\\u0000"', "501 characters": b'"' + b"a" * 501 + b'"'}
            elif operation != "commit" and name in {"userid", "transactionid"}:
                bad = {key: bad[key] for key in ("null", "empty", "lone surrogate", "10 kB")}
            cases |= {f"{operation}: {name} {key}": (operation, raw_body(good | {name: v})) for key, v in bad.items()}
            if (operation, name) != ("confirm", "pointstodeduct"):
                left = {key: value for key, value in good.items() if key != name}
                cases[f"{operation}: {name} missing"] = (operation, raw_body(left))
        cases |= {
            f"{operation}: one more field": (operation, raw_body(good | {"more": b"1"})),
            f"{operation}: one more, unprintable": (operation, raw_body(good | {"\\ud800\\u0000": b"1"})),
            f"{operation}: both spellings": (operation, raw_body(good | {"userId": b'"USER"'})),
            f"{operation}: another case": (operation, raw_body({k.upper(): v for k, v in good.items()})),
        }
        cases |= {f"{operation}: not JSON: {key}": (operation, value) for key, value in NO_JSON.items()}
        cases |= {f"{operation}: not an object: {key}": (operation, value) for key, value in NO_OBJECT.items()}
    return cases


async def test_a_vendor_is_told_what_is_wrong_with_each_body(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(100)
    async with no_trace(rows):
        for case, (operation, body) in bad_eai_bodies().items():
            content = body.replace(b"USER", user.encode())
            answer = await shop.client.post(f"{EAI}?{operation}", content=content, headers={**shop.headers, **JSON})
            assert is_failed(answer, 400, "malformed_request", "malformed_json"), case


async def test_what_is_just_good_enough_is_taken(shop: Vendor, platform: Platform) -> None:
    """So that the cases above are refused for what they name, and for nothing else."""
    user = await platform.user_with(9_007_199_254_740_991)
    longest = "a" * 127 + "€"
    answer = await shop.commit(user, longest, 9_007_199_254_740_991)
    assert answer.status_code == 200, answer.text
    answer = await shop.confirm(user, longest, 1)
    assert answer.status_code == 200
    for name in ("ümläut 🦉", "a/b?c=d&e#f%", "'; DROP TABLE accounts; --", "\\u0000", "null"):
        assert (await shop.commit(user, name, 1)).status_code == 200, name


@pytest.mark.parametrize(
    "query", ["", "x=1", "commit&confirm", "commit&commit", "commit=0", "commit=true", "COMMIT", "commit=1&commit=1",
              "commit%00", "commit;confirm", "=commit", "%ff", "&" * 5000],
)  # fmt: skip
async def test_no_operation_or_two_are_refused(
    query: str, shop: Vendor, platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(100)
    async with no_trace(rows):
        body = raw_body(COMMIT).replace(b"USER", user.encode())
        answer = await shop.client.post(f"{EAI}?{query}", content=body, headers={**shop.headers, **JSON})
        assert is_failed(answer, 400, "unknown_operation")


async def test_beside_the_operation_the_query_says_nothing(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(100)
    async with no_trace(rows):
        body = raw_body(COMMIT).replace(b"USER", user.encode())
        answer = await shop.client.post(f"{EAI}?commit&x=y", content=body, headers={**shop.headers, **JSON})
        assert is_failed(answer, 400, "unknown_parameter")


@pytest.mark.parametrize(
    "media_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json",
                   "application/jsonp", "application/xml", "application/octet-stream", "json"],
)  # fmt: skip
async def test_a_body_of_another_type_is_refused(
    media_type: str | None, shop: Vendor, platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(100)
    body = raw_body(COMMIT).replace(b"USER", user.encode())
    headers = {"Content-Type": media_type} if media_type is not None else {}
    async with no_trace(rows):
        eai = await shop.client.post(f"{EAI}?commit", content=body, headers={**shop.headers, **headers})
        assert is_failed(eai, 415, "unsupported_media_type")
        credit = b'{"points": 1, "reference": "r", "reason": ""}'
        url = f"/v1/accounts/{user}/credits"
        answer = await shop.client.post(url, content=credit, headers={**platform.headers, **headers})
        assert is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"]
)
async def test_a_json_type_may_have_parameters(media_type: str, shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(100)
    body = raw_body(COMMIT).replace(b"USER", user.encode())
    headers = {**shop.headers, "Content-Type": media_type}
    assert (await shop.client.post(f"{EAI}?commit", content=body, headers=headers)).status_code == 200


async def in_chunks(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_that_is_too_long_is_not_read_to_its_end(
    chunked: bool, shop: Vendor, platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(100)
    body = raw_body(COMMIT).replace(b"USER", user.encode()) + b" " * 2_000_000
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        async for chunk in in_chunks(body, 10_000):
            taken += len(chunk)
            yield chunk

    async with no_trace(rows):
        for url, headers, check in (
            (f"{EAI}?commit", shop.headers, is_failed),
            (f"/v1/accounts/{user}/credits", platform.headers, is_problem),
        ):
            taken = 0
            content = counted() if chunked else body
            answer = await shop.client.post(url, content=content, headers={**headers, **JSON})
            assert check(answer, 413, "payload_too_large")
            assert taken < 1_100_000


async def test_a_body_may_come_in_crumbs(shop: Vendor, platform: Platform) -> None:
    user = await platform.user_with(100)
    body = raw_body(COMMIT).replace(b"USER", user.encode())
    answer = await shop.client.post(f"{EAI}?commit", content=in_chunks(body, 1), headers={**shop.headers, **JSON})
    assert answer.status_code == 200


@pytest.mark.parametrize("key", ["", '""', " ", "a b", "ü", "a" * 256, "a\tb", '"a" ; p=1', "\x7f"])
async def test_a_malformed_idempotency_key_is_refused(
    key: str, shop: Vendor, platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(100)
    header = {"Idempotency-Key": key.encode("latin-1")}
    body = {"userid": user, "transactionid": "t", "pointstodeduct": 40, "description": ""}
    credit = {"points": 1, "reference": "r", "reason": ""}
    async with no_trace(rows):
        eai = await shop.client.post(f"{EAI}?commit", json=body, headers={**shop.headers, **header})  # type: ignore[dict-item]
        assert is_failed(eai, 400, "malformed_idempotency_key")
        url = f"/v1/accounts/{user}/credits"
        answer = await shop.client.post(url, json=credit, headers={**platform.headers, **header})  # type: ignore[dict-item]
        assert is_problem(answer, 400, "malformed_idempotency_key")
