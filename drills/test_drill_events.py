"""Webhooks by others' programs and in numbers: JavaScript checks the signature, Prometheus reads the alarms."""

import json
import os
import secrets
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.draining import Drained, drain
from platform_testing.receivers import receiving
from shared.events.destinations import Destinations
from shared.events.domain import Event, Topic
from shared.events.sending import Sender

from drills.debian import program
from tests.running_platform import REPOSITORY

STANDARD_WEBHOOKS = "standardwebhooks@1.1.1"
VERIFY = """
const { Webhook } = require("standardwebhooks");
const { secret, headers, body } = JSON.parse(require("fs").readFileSync(0, "utf8"));
try {
  console.log(JSON.stringify({ event: new Webhook(secret).verify(body, headers) }));
} catch (error) {
  console.log(JSON.stringify({ refused: error.message }));
}
"""
#: The short form; `DRILL_EVENTS=100000 make drills D="-k events -s"` is the long one.
EVENTS = int(os.environ.get("DRILL_EVENTS", "10000"))
TOPIC = Topic("points", ("points.expired",), ())


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the library of Standard Webhooks for JavaScript."""
    directory = tmp_path_factory.mktemp("javascript")
    npm = program("npm")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", STANDARD_WEBHOOKS]
    subprocess.run(install, cwd=directory, check=True)
    (directory / "verify.js").write_text(VERIFY)
    return directory


def verified(javascript: Path, secret: str, headers: dict[str, str], body: str) -> dict[str, Any]:
    given = json.dumps({"secret": secret, "headers": headers, "body": body})
    ran = subprocess.run(
        [program("node", "nodejs"), "verify.js"],
        cwd=javascript,
        input=given,
        capture_output=True,
        text=True,
        check=True,
    )
    said: dict[str, Any] = json.loads(ran.stdout)
    return said


async def test_the_javascript_library_takes_what_either_secret_signed_and_nothing_else(javascript: Path) -> None:
    new, former = ("whsec_" + secrets.token_hex(16) for _ in range(2))
    event = Event(1, "evt_1", "points.expired", None, datetime(2026, 11, 21, tzinfo=UTC), {"description": "Käse ☕"})
    sender = Sender(Destinations(development=True), TOPIC)
    async with receiving() as receiver:
        outcome = await sender.send(receiver.url, [new, former], event)
    assert outcome.is_delivered
    (delivery,) = receiver.deliveries
    body = delivery.body.decode()
    for secret in (new, former):
        taken = verified(javascript, secret, delivery.headers, body)
        assert taken["event"]["data"] == {"description": "Käse ☕"}
    assert "refused" in verified(javascript, "whsec_" + secrets.token_hex(16), delivery.headers, body)
    assert "refused" in verified(javascript, new, delivery.headers, body.replace("Käse", "Brot"))
    assert "refused" in verified(javascript, new, delivery.headers | {"webhook-id": "evt_2"}, body)


def test_each_alarm_comes_when_it_must_and_not_before(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    rules = tmp_path / "rules"
    shutil.copytree(REPOSITORY / "deploy" / "monitoring" / "rules", rules)
    files = [file for file in sorted(rules.glob("*.yml")) if not file.name.endswith(".test.yml")]
    subprocess.run([promtool, "check", "rules", *files], check=True)
    subprocess.run([promtool, "test", "rules", *sorted(rules.glob("*.test.yml"))], cwd=rules, check=True)


@pytest.fixture
def url(postgres: EmbeddedPostgres) -> str:
    name, password = f"drained_{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    postgres.create_role_and_database(name, password)
    return postgres.url(name, name, password)


async def test_two_processes_deliver_every_event_once(url: str) -> None:
    drained = await drain(url, EVENTS)
    show(drained)
    assert (drained.events, drained.doubles) == (EVENTS, 0)


async def test_kills_lose_no_event(url: str) -> None:
    kills = max(2, EVENTS // 5_000)
    drained = await drain(url, EVENTS // 5, kills=kills)
    show(drained)
    assert (drained.events, drained.kills) == (EVENTS // 5, kills)


def show(drained: Drained) -> None:
    print(
        f"{drained.events:,} events in {drained.seconds:.0f} s ({drained.events / drained.seconds:.0f} a second),"
        f" {drained.doubles} doubles, {drained.kills} kills"
    )
