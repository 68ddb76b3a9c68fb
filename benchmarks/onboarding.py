"""Handshake codes over HTTP on one process, beside a route that does nothing; and what a storm of sign-ins holds up."""

import asyncio
import base64
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from local_platform.embedded_postgres import EmbeddedPostgres, free_port
from platform_testing.callers import ServiceKeys, basic
from shared.migrating import upgrade

from benchmarks import servers
from benchmarks.load import CONNECTIONS, Load, put_load
from benchmarks.report import Aim, Table
from benchmarks.rounds import Measure, Measured, Say, by_turns

CLIENT_ID = "bench-partner"
PATH = "/user/partner/init-register-handshake"
CODES = "handshake codes"
NOTHING = "(a) FastAPI route that does nothing"
QUIET = "healthz, nobody signs in"
STORM = "healthz, in a storm of sign-ins"
SIGNING_IN = 24
#: Another request may wait for less than one hash takes.
LONGEST_WAIT_MS = 50.0


def run(*, seconds: float, rounds: int, say: Say) -> Table:
    with tempfile.TemporaryDirectory(prefix="points-bench-") as directory:
        say("starting PostgreSQL and partner-onboarding")
        with _contenders(Path(directory)) as (onboarding, nothing, headers):
            contenders = {CODES: _load(onboarding, headers), NOTHING: _load(nothing, headers)}
            measured = by_turns(contenders, seconds=seconds, rounds=rounds, say=say)
            say("healthz, first quiet, then in a storm of sign-ins")
            waits = asyncio.run(_waits(onboarding, seconds))
    return _table(measured, waits)


def _load(url: str, headers: Mapping[str, str]) -> Measure:
    def measure(seconds: float) -> Load:
        return put_load(url, "get.lua", seconds=seconds, headers=headers, arguments=(PATH,))

    return measure


def _table(measured: Measured, waits: Mapping[str, list[float]]) -> Table:
    rows = [(name, *measured.figures(name), f"{measured.ratio(name, NOTHING):.2f}") for name in measured.loads]
    rows += [
        (name, "", f"{statistics.median(one):.1f}", f"{_percentile(one, 0.99):.1f}", "0", "")
        for name, one in waits.items()
    ]
    return Table(
        f"init-register-handshake, Basic authentication, one process, {CONNECTIONS} connections",
        ("", "requests/s", "p50 ms", "p99 ms", "failures", "of (a)"),
        rows,
        (
            Aim("handshake codes, of (a) doing nothing", measured.ratio(CODES, NOTHING), 0.5),
            Aim(
                f"a healthz in the storm within {LONGEST_WAIT_MS:.0f} ms (p99)",
                LONGEST_WAIT_MS / _percentile(waits[STORM], 0.99),
                1,
            ),
        ),
    )


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@contextmanager
def _contenders(directory: Path) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """The service, the route that does nothing, and the headers with which the partner calls."""
    postgres = EmbeddedPostgres(directory / "postgres")
    postgres.start()
    with ExitStack() as stack:
        stack.callback(postgres.stop)
        password, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        postgres.create_role_and_database("partner_onboarding", password)
        database = postgres.url("partner_onboarding", "partner_onboarding", password)
        upgrade(database, "partner_onboarding")
        port = free_port()
        environment = _environment(database, port)
        _command(environment, "create-tenant", "bench", "--name", "Bench")
        _command(
            environment,
            *("create-client", "--tenant", "bench", "--name", "Partner", "--client-id", CLIENT_ID),
            *("--scope", "partner:handshake", "--landing-url", "https://partner.example/", "--client-secret-stdin"),
            given=secret,
        )
        command = [sys.executable, "-m", "partner_onboarding", "serve"]
        log = directory / "onboarding.log"
        onboarding = stack.enter_context(servers.process(command, port=port, environment=environment, log=log))
        nothing = stack.enter_context(
            servers.uvicorn_process(
                "benchmarks.competitors.nothing_for_partners:app", environment={}, log=directory / "nothing.log"
            )
        )
        yield onboarding, nothing, basic(CLIENT_ID, secret)


def _environment(database: str, port: int) -> dict[str, str]:
    keys = ServiceKeys()

    def key() -> str:
        return base64.b64encode(secrets.token_bytes(32)).decode()

    return {
        "ONBOARDING_MODE": "development",
        "ONBOARDING_PORT": str(port),
        "ONBOARDING_DATABASE_URL": database,
        "ONBOARDING_PUBLIC_URL": "http://localhost",
        "ONBOARDING_SERVICE_KEY": keys.private("partner-onboarding"),
        "ONBOARDING_SERVICE_PEERS": keys.peers,
        "ONBOARDING_KEY_ENCRYPTION_KEYS": f"1:{key()}",
        "ONBOARDING_SECRET_PEPPER": key(),
        "ONBOARDING_ACCOUNT_NAME_KEY": key(),
        "ONBOARDING_PARTNER_REQUESTS_PER_MINUTE": "100000000",
        "ONBOARDING_WRONG_PASSWORDS_PER_ADDRESS": "100000000",
    }


def _command(environment: Mapping[str, str], *arguments: str, given: str = "") -> None:
    command = [sys.executable, "-m", "partner_onboarding", *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, input=given, capture_output=True, text=True, check=True
    )
    json.loads(done.stdout)


async def _waits(url: str, seconds: float) -> dict[str, list[float]]:
    """How long each of many single requests took, in milliseconds: first alone, then while people sign in."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        quiet = await _probe(http, seconds)
        begun = [asyncio.Event() for _ in range(SIGNING_IN)]
        storm = [asyncio.create_task(_sign_in_for_ever(url, one)) for one in begun]
        await asyncio.gather(*(one.wait() for one in begun))
        stormy = await _probe(http, seconds)
        for one in storm:
            one.cancel()
        await asyncio.gather(*storm, return_exceptions=True)
    return {QUIET: quiet, STORM: stormy}


async def _probe(http: httpx.AsyncClient, seconds: float) -> list[float]:
    waits: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        (await http.get("/healthz")).raise_for_status()
        waits.append((time.perf_counter() - begun) * 1e3)
        await asyncio.sleep(0.01)
    return waits


async def _sign_in_for_ever(url: str, begun: asyncio.Event) -> None:
    """Wrong passwords for ever new people: two comparisons each. Says when the first was answered."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
        page = await http.get("/login")
        found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert found is not None
        while True:
            answer = await http.post(
                "/login",
                data={"csrf_token": found[1], "email": f"{secrets.token_hex(6)}@example.com", "password": "x" * 20},
            )
            assert answer.status_code == 401, answer.status_code
            begun.set()
