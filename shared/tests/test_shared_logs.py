"""No secret leaves through the log, whichever code writes it and however deep it lies."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from shared.logs import redact, without_secrets

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl-_x"
SECRET = "hush-hush-9f3a"
BASIC = "aWQ6aHVzaC1odXNo"


def logged(**event: Any) -> str:
    """What is left of an event."""
    return json.dumps(redact(None, "info", event), default=repr)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"refused {JWT} at once", "refused [token] at once"),
        (f"{JWT},{JWT}", "[token],[token]"),
        (f"https://shop.example/?token={JWT}&x=1", "https://shop.example/?token=[token]&x=1"),
        ("eyJhbGciOiJub25lIn0.eyJhIjoxfQ.", "[token]"),
        (f"Authorization: Basic {BASIC}", "Authorization: Basic [secret]"),
        (f"authorization: basic {BASIC}", "authorization: basic [secret]"),
        (f"AUTHORIZATION: BASIC {BASIC}", "AUTHORIZATION: BASIC [secret]"),
        ("Bearer abcdefgh.ijkl", "Bearer [secret]"),
        ("bearer  abcdefgh", "bearer [secret]"),
        (f"postgresql://role:{SECRET}@db:5432/x", "postgresql://role:[secret]@db:5432/x"),
        (f"postgresql://role:{SECRET}/with:slashes@db/x", "postgresql://role:[secret]@db/x"),
        (f"redis://:{SECRET}@cache/0", "redis://:[secret]@cache/0"),
        (f"two: a://b:{SECRET}@c d://e:{SECRET}@f", "two: a://b:[secret]@c d://e:[secret]@f"),
        ("https://points.example/path?x=1", "https://points.example/path?x=1"),
        ("a basic thing, a bearer of news", "a basic thing, a bearer of news"),
        ("", ""),
    ],
)
def test_secrets_are_known_by_their_look(text: str, left: str) -> None:
    assert without_secrets(text) == left


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Password", "new_password", "passwd", "secret", "client_secret", "secret_pepper", "session"),
        *("X-Session", "cookie", "Set-Cookie", "Authorization", "proxy-authorization", "token", "access_token"),
        *("id-token", "service_key", "private_key", "key_encryption_keys", "authorization_code"),
    ],
)
def test_secrets_are_known_by_the_name_of_their_field(name: str) -> None:
    assert SECRET not in logged(**{name: SECRET})
    assert SECRET not in logged(**{name: [SECRET]})
    assert SECRET not in logged(outer={name: {"inner": SECRET}})


@pytest.mark.parametrize("name", ["tokens_issued", "token_id", "secretary", "session_count", "event", "user_id"])
def test_names_that_merely_look_alike_are_left(name: str) -> None:
    assert SECRET in logged(**{name: SECRET})


@pytest.mark.parametrize(
    "value",
    [
        {"headers": {"Authorization": f"Basic {BASIC}"}},
        {"headers": [("authorization", f"Basic {BASIC}")]},
        [f"Bearer {JWT}"],
        (f"x {JWT}",),
        {f"x {JWT}"},
        [[[[f"Bearer {JWT}"]]]],
        f"Bearer {JWT}".encode(),
        {"url": f"postgresql://role:{SECRET}@db/x"},
        ValueError(f"cannot read {JWT}"),
        {"error": RuntimeError(f"postgresql://role:{SECRET}@db/x", JWT)},
        SecretStr(SECRET),
        Path(f"/x/{JWT}"),
        type("Odd", (), {"__repr__": lambda _: f"<Odd Bearer {JWT}>"})(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_secrets_are_found_however_deep_they_lie(value: object) -> None:
    left = logged(value=value)
    for secret in (JWT, SECRET, BASIC):
        assert secret not in left


def test_what_is_no_secret_stays_as_it_is() -> None:
    class Kind(StrEnum):
        LOUD = "loud"

    event = {
        "event": "request",
        "status": 200,
        "ms": 1.5,
        "ok": True,
        "nothing": None,
        "names": ["a", "b"],
        "nested": {"a": {"b": 1}},
        "kind": Kind.LOUD,
        "at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    assert redact(None, "info", dict(event)) == event


def test_what_is_endlessly_deep_is_cut_off() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    assert len(logged(value=endless)) < 1000


# ——— as a service writes ———

SERVICE = f"""
import logging
import structlog
from shared.logs import configure_logging, request_lines

configure_logging("things", "INFO")
ours, theirs = structlog.get_logger("ours"), logging.getLogger("theirs")

ours.info("hello", user_id="ada", n=1)
theirs.warning("careful: %s", "x")

ours.debug("quiet")
theirs.debug("quiet")
logging.getLogger("httpx").info("HTTP Request: GET https://x/?code=1")

ours.info("odd", half="\\ud800", long=2**70, raw=b"\\xff", keys={{1: 2}}, thing=object())

request_lines.write({{"request_id": "{JWT}"}}, {{"why": "\x1e{JWT}", "cause": ["{JWT}"]}})

def fail(password):
    raise RuntimeError("with Bearer {JWT} at postgresql://role:{SECRET}@db/x")

try:
    fail("{SECRET}")
except RuntimeError as error:
    ours.exception("failed", cause=error)
    theirs.exception("failed %s", error)
    theirs.error("failed", exc_info=error)
"""


Lines = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def lines() -> Lines:
    """What a process that logs as `serve` sets it up has written, by event."""
    done = subprocess.run([sys.executable, "-c", SERVICE], capture_output=True, check=True, timeout=30)
    assert done.stderr == b""
    found: Lines = {}
    for line in map(json.loads, done.stdout.splitlines()):
        found.setdefault(line["event"].split()[0].rstrip(":"), []).append(line)
    return found


def test_each_line_is_json_and_names_service_level_and_time(lines: Lines) -> None:
    ours, theirs = *lines["hello"], *lines["careful"]
    assert ours.items() >= {"event": "hello", "service": "things", "level": "info", "user_id": "ada", "n": 1}.items()
    assert theirs.items() >= {"event": "careful: x", "service": "things", "level": "warning"}.items()
    assert theirs["logger"] == "theirs"
    for line in (ours, theirs):
        assert datetime.fromisoformat(line["timestamp"]).tzinfo is UTC


def test_nothing_below_the_level_is_written(lines: Lines) -> None:
    assert set(lines) == {"hello", "careful", "odd", "request", "failed"}


def test_exceptions_are_told_without_their_secrets_or_variables(lines: Lines) -> None:
    assert len(lines["failed"]) == 3
    for line in lines["failed"]:
        assert "in fail" in line["exception"]
        assert JWT not in json.dumps(line)
        assert SECRET not in json.dumps(line)


def test_a_line_that_is_hard_to_write_is_written_all_the_same(lines: Lines) -> None:
    """It must not fail the request that it tells of."""
    (line,) = lines["odd"]
    assert (line["half"], line["long"]) == ("\ud800", 2**70)


def test_the_line_of_a_request_is_without_secrets_and_stays_json(lines: Lines) -> None:
    """Even where an escaped character and the beginning of a token look like one."""
    (line,) = lines["request"]
    assert (line["request_id"], line["why"], line["cause"]) == ("[token]", "\x1e[token]", ["[token]"])


SAMPLED = """
import sys
from shared.logs import Sampling, configure_logging, request_lines
configure_logging("things", "INFO", Sampling(one_of=10, slow_seconds=0.5))
for number in range(100):
    request_lines.write({"status": 200, "ms": 1.0, "number": number}, {})
request_lines.write({"status": 404, "ms": 1.0}, {})
request_lines.write({"status": 503, "ms": 1.0}, {})
request_lines.write({"status": 200, "ms": 500.0}, {})
request_lines.write({"status": 200, "ms": 1.0, "trace_id": "4bf9"}, {})
"""


def test_of_requests_that_end_well_some_are_written_and_of_all_others_each() -> None:
    done = subprocess.run([sys.executable, "-c", SAMPLED], capture_output=True, check=True, timeout=30)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    ordinary = [line for line in lines if "one_of" in line]
    assert [line["number"] for line in ordinary] == list(range(9, 100, 10))
    assert {line["one_of"] for line in ordinary} == {10}
    others = [(line["status"], line["ms"], line.get("trace_id")) for line in lines if "one_of" not in line]
    assert others == [(404, 1.0, None), (503, 1.0, None), (200, 500.0, None), (200, 1.0, "4bf9")]
