"""token-service beside what could be expected of it: a route that does nothing, COPY, a larger table, other signers."""

import csv
import io
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import itsdangerous
import jwt
import psutil
from local_platform.embedded_postgres import EmbeddedPostgres, free_port, in_own_loop
from platform_testing.callers import ServiceKeys, basic
from shared.migrating import upgrade
from token_service.command_line.workplace import parts_of
from token_service.imports.rows import RowProblem
from token_service.keys.material import TokenKey, new_secret
from token_service.settings import Settings
from token_service.tokens import store
from token_service.tokens.domain import TokenId
from token_service.tokens.format import Plain
from token_service.tokens.terms import Content, Order, Terms

from benchmarks import servers
from benchmarks.load import CONNECTIONS, Load, put_load
from benchmarks.report import Aim, Table
from benchmarks.rounds import Measure, Say, by_turns

TENANT = "bench"
CLIENT_ID = "bench-campaign"
KEY_ENCRYPTION_KEYS = "1:" + "A" * 43 + "="
#: Lines of a file of tokens, however many tokens there are: more than are verified in a run, and the load, which counts
#: the time of its second thread's reading as that of its first one's work, reads equally long.
LINES = 200_000
VERIFY = "verify a live token, counted"
LIMITED = "verify and use up one of max_uses, durable"
FORGED = "verify a forged token"
ISSUE = "issue, durable"
NOTHING_VERIFY = "(a) FastAPI route, validates the visit, does nothing"
NOTHING_ISSUE = "(b) FastAPI route, validates the order, does nothing"


@dataclass(frozen=True, slots=True)
class Running:
    """A service under measurement."""

    url: str
    secret: str
    database: str
    process_id: int

    @property
    def headers(self) -> dict[str, str]:
        return basic(CLIENT_ID, self.secret)


def run(*, seconds: float, rounds: int, say: Say, tokens: int = 10_000) -> Table:
    """Requests over HTTP, one process."""
    with tempfile.TemporaryDirectory(prefix="points-bench-") as directory:
        say(f"starting PostgreSQL and the contenders, issuing {tokens:,} tokens")
        with _service(Path(directory)) as running:
            nothing = servers.uvicorn_process(
                "benchmarks.competitors.tokens_nothing:app", environment={}, log=Path(directory) / "nothing.log"
            )
            with nothing as url:
                contenders = _contenders(running, url, Path(directory), tokens)
                measured = by_turns(contenders, seconds=seconds, rounds=rounds, say=say)
    rows = [(name, *measured.figures(name), f"{measured.ratio(name, _beside(name)):.2f}") for name in measured.loads]
    return Table(
        f"Tokens over HTTP, Basic authentication, one process, {CONNECTIONS} connections, {tokens:,} tokens",
        ("", "requests/s", "p50 ms", "p99 ms", "failures", "of (a) or (b)"),
        rows,
        (
            Aim("verify a live token, of doing nothing", measured.ratio(VERIFY, NOTHING_VERIFY), 0.6),
            Aim("verify a forged token, of doing nothing", measured.ratio(FORGED, NOTHING_VERIFY), 0.9),
            Aim("issue, of doing nothing", measured.ratio(ISSUE, NOTHING_ISSUE), 0.5),
        ),
    )


def _beside(name: str) -> str:
    return NOTHING_ISSUE if name in {ISSUE, NOTHING_ISSUE} else NOTHING_VERIFY


def run_sizes(*, seconds: float, rounds: int, say: Say, large: int, small: int = 10_000) -> Table:
    """Verifying among few and among many tokens, by turns in the same run."""
    with tempfile.TemporaryDirectory(prefix="points-bench-") as directory:
        contenders: dict[str, Measure] = {}
        with _service(Path(directory)) as running:
            for size, tenant in ((small, TENANT), (large, f"{TENANT}-large")):
                file = Path(directory) / f"tokens-{size}"
                in_own_loop(_fill(running.database, tenant, size, file, say))
                headers = basic(f"{tenant}-campaign", running.secret)
                contenders[f"among {size:,} tokens"] = _load(running.url, headers, "verify", file)
            measured = by_turns(contenders, seconds=seconds, rounds=rounds, say=say)
            per_token = in_own_loop(_bytes_per_token(running.database))
    few, many = measured.loads
    rows = [(name, *measured.figures(name)) for name in measured.loads]
    return Table(
        f"Verifying by size; {per_token:.0f} bytes a token in all, indexes included",
        ("", "requests/s", "p50 ms", "p99 ms", "failures"),
        rows,
        (Aim(f"{large:,} tokens, of {small:,}", measured.ratio(many, few), 0.9),),
    )


def run_imports(*, rounds: int, say: Say, rows: int = 200_000) -> Table:
    """A target list over HTTP beside a COPY of the same rows into the same table."""
    with tempfile.TemporaryDirectory(prefix="points-bench-") as directory, _service(Path(directory)) as running:
        copied, imported, per_token = [], [], 0.0
        say("first requests")
        in_own_loop(_import(running, 1000))
        before = _resident_bytes(running.process_id)
        for number in range(1, rounds + 1):
            say(f"round {number} of {rounds}: COPY of {rows:,} rows")
            copied.append(rows / in_own_loop(_copy(running.database, f"copied-{number}", rows)))
            say(f"round {number} of {rounds}: import of {rows:,} rows")
            imported.append(rows / in_own_loop(_import(running, rows)))
        grown = _resident_bytes(running.process_id) - before
        per_token = in_own_loop(_bytes_per_token(running.database))
    ratio = statistics.median(one / two for one, two in zip(imported, copied, strict=True))
    return Table(
        f"Import of {rows:,} rows (CSV in, CSV with links out) beside COPY",
        ("", "rows/s", "memory grown by MB", "bytes a token"),
        [
            ("COPY of ready rows, nothing else", f"{statistics.median(copied):,.0f}", "", f"{per_token:.0f}"),
            ("POST /v1/tokens/import", f"{statistics.median(imported):,.0f}", f"{grown / 1e6:.0f}", f"{per_token:.0f}"),
        ],
        (Aim("import, of COPY", ratio, 0.3),),
    )


def run_signing(*, say: Say, times: int = 20_000) -> Table:
    """Making and checking a token, without any service around it."""
    say("signing")
    payload = {"customer_id": "customer-1", "campaign_id": "spring-sale"}
    key, secret = TokenKey(1, new_secret()), secrets.token_bytes(32)
    timed = itsdangerous.URLSafeTimedSerializer(secret)
    expires = datetime.now(UTC) + timedelta(days=1)
    makers: dict[str, tuple[Callable[[], str], Callable[[str], Any]]] = {
        "token-service: one AES block": (
            lambda: key.mint(Plain(4711, 500_000)),
            lambda token: key.read(bytes.fromhex(token)),
        ),
        "itsdangerous, URLSafeTimedSerializer": (
            lambda: str(timed.dumps(payload)),
            lambda token: timed.loads(token, max_age=86_400),
        ),
        "PyJWT, HS256": (
            lambda: jwt.encode(payload | {"exp": expires}, secret, "HS256"),
            lambda token: jwt.decode(token, secret, ["HS256"]),
        ),
    }
    rows = []
    for name, (make, check) in makers.items():
        token = make()
        rows.append((name, str(len(token)), _microseconds(make, times), _microseconds(partial(check, token), times)))
    return Table("Signing alone, one thread", ("", "characters", "µs to make", "µs to check"), rows)


def _microseconds(work: Callable[[], object], times: int) -> str:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return f"{(time.perf_counter() - began) / times * 1e6:.1f}"


def _contenders(running: Running, nothing: str, directory: Path, tokens: int) -> dict[str, Measure]:
    """Those that are compared are neighbours."""
    plain, limited = directory / "tokens", directory / "limited"
    in_own_loop(_fill(running.database, TENANT, tokens, plain))
    in_own_loop(_fill(running.database, TENANT, tokens, limited, max_uses=2**31 - 1))
    return {
        LIMITED: _load(running.url, running.headers, "verify", limited),
        VERIFY: _load(running.url, running.headers, "verify", plain),
        NOTHING_VERIFY: _load(nothing, running.headers, "verify", plain),
        FORGED: _load(running.url, running.headers, "forge", plain),
        ISSUE: _load(running.url, running.headers, "issue", plain),
        NOTHING_ISSUE: _load(nothing, running.headers, "issue", plain),
    }


def _load(url: str, headers: Mapping[str, str], action: str, file: Path) -> Measure:
    def measure(seconds: float) -> Load:
        load = put_load(url, "tokens.lua", seconds=seconds, headers=headers, arguments=(action, str(file)))
        # That a forged token is refused is no failure.
        return replace(load, failures=0) if action == "forge" else load

    return measure


@contextmanager
def _service(directory: Path) -> Iterator[Running]:
    """A PostgreSQL that waits for the disk, and the service as it is served."""
    postgres = EmbeddedPostgres(directory / "postgres")
    postgres.start()
    try:
        password, secret, port = secrets.token_urlsafe(16), secrets.token_urlsafe(32), free_port()
        postgres.create_role_and_database("token_service", password)
        database = postgres.url("token_service", "token_service", password)
        upgrade(database, "token_service")
        scopes = ["tokens:issue", "tokens:verify", "tokens:stats"]
        clients = {
            f"{tenant}-campaign": {
                "client_id": f"{tenant}-campaign",
                "tenant": tenant,
                "kind": "first_party",
                "scopes": scopes,
                "vendor_id": None,
                "ip_allow_list": [],
            }
            for tenant in (TENANT, f"{TENANT}-large")
        }
        with servers.register_of_clients(clients) as register:
            environment = {
                f"TOKENS_{name.upper()}": str(value) for name, value in _given(database, register, port).items()
            }
            log = directory / "token-service.log"
            command = [sys.executable, "-m", "token_service", "serve"]
            with servers.process(command, port=port, environment=environment, log=log) as url:
                yield Running(url, secret, database, _process_id_at(port))
    finally:
        postgres.stop()


def _given(database: str, register: str, port: int) -> dict[str, object]:
    keys = ServiceKeys()
    return {
        "mode": "development",
        "port": port,
        "database_url": database,
        "public_url": "http://localhost",
        "onboarding_url": register,
        "issuer_url": register,
        "service_key": keys.private("token-service"),
        "service_peers": keys.peers,
        "key_encryption_keys": KEY_ENCRYPTION_KEYS,
        # Forging is measured here, not defended against.
        "bad_signatures_per_credential": 10**9,
        "bad_signatures_per_address": 10**9,
    }


def _process_id_at(port: int) -> int:
    process_id: int = next(
        process.pid
        for process in psutil.Process(os.getpid()).children()
        if any(each.laddr.port == port for each in process.net_connections(kind="tcp"))
    )
    return process_id


def _resident_bytes(process_id: int) -> int:
    resident: int = psutil.Process(process_id).memory_info().rss
    return resident


async def _fill(
    database: str, tenant: str, tokens: int, file: Path, say: Say | None = None, *, max_uses: int | None = None
) -> None:
    """Issues tokens as an import does, and writes them down: few of them again and again, of many an even choice."""
    settings = Settings.model_validate(_given(database, "http://localhost", 8004))
    terms = Terms("", "spring-sale", "https://mystore.example/promotions", max_uses=max_uses)
    step, times = -(-tokens // LINES), max(1, LINES // tokens)
    async with parts_of(settings) as parts:
        writer = parts.row_writers.of(tenant)
        with file.open("w") as lines:
            for start in range(0, tokens, 1000):
                if say is not None and start % 100_000 == 0:
                    say(f"issuing {tokens:,} tokens: {start:,}")
                orders = [
                    Order(terms._replace(customer_id=f"customer-{number}"), timedelta(days=30))
                    for number in range(start, min(start + 1000, tokens))
                ]
                for outcome in (await writer.write(orders))[::step]:
                    if not isinstance(outcome, RowProblem):
                        lines.write(f"{outcome[0]}\n" * times)
    connection = await asyncpg.connect(database)
    await connection.execute("VACUUM ANALYZE token_service.tokens")
    await connection.close()


async def _copy(database: str, tenant: str, rows: int) -> float:
    now = datetime.now(UTC)
    expires = now + timedelta(days=30)
    mac = b"\x020123456789abcdef"
    common = store.common_of(TokenId(tenant, 1, 0), Content(Terms("", "", ""), now, expires), 1)
    records = [(number, f"customer-{number}", mac, *common) for number in range(1, rows + 1)]
    connection = await asyncpg.connect(database)
    try:
        began = time.perf_counter()
        await connection.copy_records_to_table(
            "tokens", schema_name="token_service", columns=list(store.TOKEN_COLUMNS), records=records
        )
        return time.perf_counter() - began
    finally:
        await connection.close()


async def _import(running: Running, rows: int) -> float:
    """Seconds from the first byte sent to the last byte answered."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"customer_id\n"
        for start in range(0, rows, 2000):
            yield b"".join(b"customer-%d\n" % number for number in range(start, min(start + 2000, rows)))

    params = {"base_url": "https://mystore.example/p", "campaign_id": "imported", "duration": "P30D"}
    headers = running.headers | {"Content-Type": "text/csv"}
    last, answered = b"", 0
    async with httpx.AsyncClient(timeout=600, trust_env=False) as client:
        began = time.perf_counter()
        url = f"{running.url}/v1/tokens/import"
        async with client.stream("POST", url, params=params, content=parts(), headers=headers) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                answered += chunk.count(b"\n")
                last = (last + chunk)[-400:]
        took = time.perf_counter() - began
    (row,) = csv.reader(io.StringIO(last.decode().splitlines()[-1]))
    if answered != rows + 1 or row[-1]:
        raise RuntimeError(f"{answered} lines came back, the last of them {row}")
    return took


async def _bytes_per_token(database: str) -> float:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("VACUUM ANALYZE token_service.tokens")
        size = await connection.fetchval("SELECT pg_total_relation_size('token_service.tokens')")
        return float(size / await connection.fetchval("SELECT count(*) FROM token_service.tokens"))
    finally:
        await connection.close()
