"""What is wrong with a request, by the table; how a refusal must look; and how to see that it left no trace."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
from points_ledger.tables import metadata

JSON = {"Content-Type": "application/json"}
DEEP = 200_000

#: What no whole number of points is, as JSON.
NO_POINTS = {
    "null": b"null",
    "negative": b"-1",
    "zero": b"0",
    "minus zero": b"-0",
    "fraction": b"1.5",
    "whole fraction": b"1.0",
    "exponent": b"1e2",
    "true": b"true",
    "2^53": b"9007199254740992",
    "2^63": b"9223372036854775808",
    "2^64 + 1": b"18446744073709551617",
    "beyond all floats": b"1e400",
    "5000 digits": b"1" * 5000,
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "text": b'"40"',
    "list": b"[40]",
    "object": b"{}",
}
#: What no id is, as JSON.
NO_ID = {
    "null": b"null",
    "number": b"7",
    "true": b"true",
    "list": b'["a"]',
    "empty": b'""',
    "blank": b'" "',
    "leading blank": b'" a"',
    "trailing newline": b'"a\\n"',
    "NUL": b'"a\\u0000b"',
    "escape": b'"a\\u001bb"',
    "bare NUL": b'"a\x00b"',
    "lone surrogate": b'"\\ud800"',
    "surrogates the wrong way round": b'"\\udc00\\ud800"',
    "not UTF-8": b'"\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "invisible": b'"a\\u200bb"',
    "right to left": b'"a\\u202eb"',
    "private use": b'"\\ue000"',
    "replacement": b'"\\ufffd"',
    "129 characters": b'"' + b"a" * 129 + b'"',
    "10 kB": b'"' + b"a" * 10_240 + b'"',
}
NO_JSON = {
    "nothing": b"",
    "half": b'{"userid": "a", ',
    "two": b"{} {}",
    "trailing comma": b'{"userid": "a",}',
    "single quotes": b"{'userid': 'a'}",
    "a form": b"userid=a&transactionid=t",
    "deep lists": b"[" * DEEP,
    "deep lists, closed": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP,
    "UTF-16": '{"userid": "a"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "bytes": bytes(range(256)),
}
#: Columns that a chore moves on when it likes to: when it tries to tell an act, and how often it has.
_OF_CHORES = "'{attempts, next_attempt_at}'::text[]"
NO_OBJECT = {"null": b"null", "list": b"[]", "text": b'"a"', "number": b"1", "true": b"true"}


def raw_body(fields: dict[str, bytes]) -> bytes:
    return b"{" + b", ".join(b'"%s": %s' % (name.encode(), value) for name, value in fields.items()) + b"}"


@asynccontextmanager
async def no_trace(rows: asyncpg.Connection) -> AsyncIterator[None]:
    """Every row of every table is after the block what it was before.

    (But for those of events, which a chore moves on when it likes to. An event comes with a change of another table.)
    """

    async def all_rows() -> dict[str, tuple[int, int]]:
        return {
            table.fullname: tuple(
                await rows.fetchrow(
                    # Tables and columns of our own, nothing that a caller sends.
                    f"SELECT count(*), sum(hashtextextended((to_jsonb(t) - {_OF_CHORES})::text, 0))"  # noqa: S608
                    f" FROM {table.fullname} t"
                )
            )
            for table in metadata.sorted_tables
            if not table.name.startswith(("event", "seal"))
        }

    before = await all_rows()
    yield
    assert await all_rows() == before


def is_failed(answer: httpx.Response, status: int, *codes: str) -> bool:
    """Refused in the shape of the source document."""
    assert answer.headers["content-type"] == "application/json", answer.text
    body = answer.json()
    assert answer.status_code == status, body
    assert body["status"] == "failed"
    assert body["message"]
    assert body["code"] in codes
    # RFC 6750: a missing scope is named in a challenge as well.
    assert ("www-authenticate" in answer.headers) is (status == 401 or body["code"] == "insufficient_scope")
    return True


def is_problem(answer: httpx.Response, status: int, *codes: str) -> bool:
    """Refused as RFC 9457 has it."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert answer.status_code == body["status"] == status, body
    assert {"type", "title", "detail"} <= body.keys()
    assert body["code"] in codes
    # RFC 6750: a missing scope is named in a challenge as well.
    assert ("www-authenticate" in answer.headers) is (status == 401 or body["code"] == "insufficient_scope")
    return True
