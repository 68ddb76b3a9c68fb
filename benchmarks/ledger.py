"""EAI commit and confirm over HTTP on one process, beside what could be expected of it."""

import base64
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
from local_platform.embedded_postgres import EmbeddedPostgres, binaries, free_port, in_own_loop
from platform_testing.callers import ServiceKeys, basic
from shared.migrating import upgrade
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks import servers
from benchmarks.competitors import tutorial_orm
from benchmarks.load import CONNECTIONS, Load, put_load
from benchmarks.report import Aim, Table
from benchmarks.rounds import Measure, Measured, Say, by_turns

ACCOUNTS = 100_000
POINTS = 1_000_000_000
CLIENT_ID = "bench-vendor"
PLATFORM_ID = "bench-platform"
SPREAD = "ledger, 100,000 accounts"
HOT = "ledger, one hot account"
NOTHING = "(a) FastAPI route, validates the body, does nothing"
TUTORIAL = "(b) the same API by tutorial, SQLAlchemy ORM"
TUTORIAL_HOT = "(b) by tutorial, one hot account"
PGBENCH = "(c) pgbench, the same statements, row by row, no HTTP"
PGBENCH_HOT = "(c) pgbench, one hot account"
TRANSFERS = "(d) pgbench, two transfers as pgledger's, no HTTP"
TRANSFERS_HOT = "(d) pgbench, one hot account"
_COMPETITORS = Path(__file__).parent / "competitors"


def run(*, seconds: float, rounds: int, say: Say) -> Table:
    with tempfile.TemporaryDirectory(prefix="points-bench-") as directory:
        say("starting PostgreSQL, filling 100,000 accounts, starting the contenders")
        with _contenders(Path(directory)) as contenders:
            return _table(by_turns(contenders, seconds=seconds, rounds=rounds, say=say))


def _table(measured: Measured) -> Table:
    rows = [
        (
            name,
            *measured.figures(name),
            f"{measured.ratio(name, NOTHING):.2f}",
            f"{measured.ratio(name, TUTORIAL):.1f}",
        )
        for name in measured.loads
    ]
    return Table(
        f"EAI commit and confirm by turns, Basic authentication, one process, {CONNECTIONS} connections",
        ("", "requests/s", "p50 ms", "p99 ms", "failures", "of (a)", "of (b)"),
        rows,
        (
            Aim("spread, of (b) by tutorial", measured.ratio(SPREAD, TUTORIAL), 8),
            Aim("spread, of (a) doing nothing", measured.ratio(SPREAD, NOTHING), 0.7),
            Aim("hot account, of spread", measured.ratio(HOT, SPREAD), 0.8),
        ),
    )


@contextmanager
def _contenders(directory: Path) -> Iterator[Mapping[str, Measure]]:
    postgres = EmbeddedPostgres(directory / "postgres")
    postgres.start()
    with ExitStack() as stack:
        stack.callback(postgres.stop)
        password, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        for name in ("points_ledger", "tutorial", "transfers"):
            postgres.create_role_and_database(name, password)
        ledger_database = postgres.url("points_ledger", "points_ledger", password)
        tutorial_database = postgres.url("tutorial", "tutorial", password)
        upgrade(ledger_database, "points_ledger")
        in_own_loop(fill_ledger(ledger_database))
        in_own_loop(_fill_tutorial(tutorial_database))
        transfers_database = postgres.url("transfers", "transfers", password)
        in_own_loop(_fill_transfers(transfers_database))

        ledger = stack.enter_context(ledger_process(ledger_database, directory))
        tutorial = stack.enter_context(
            servers.uvicorn_process(
                "benchmarks.competitors.tutorial_orm:app",
                environment={"TUTORIAL_DATABASE_URL": _async(tutorial_database), "TUTORIAL_CLIENT_SECRET": secret},
                log=directory / "tutorial.log",
            )
        )
        nothing = stack.enter_context(
            servers.uvicorn_process("benchmarks.competitors.nothing:app", environment={}, log=directory / "nothing.log")
        )

        def over_http(url: str, client_secret: str, accounts: int) -> Measure:
            def measure(seconds: float) -> Load:
                word = secrets.token_hex(4)
                headers = basic(CLIENT_ID, client_secret)
                return put_load(
                    url, "commit_confirm.lua", seconds=seconds, headers=headers, arguments=(str(accounts), word)
                )

            return measure

        yield {
            HOT: over_http(ledger, secret, 1),
            SPREAD: over_http(ledger, secret, ACCOUNTS),
            NOTHING: over_http(nothing, secret, ACCOUNTS),
            TUTORIAL: over_http(tutorial, secret, ACCOUNTS),
            TUTORIAL_HOT: over_http(tutorial, secret, 1),
            PGBENCH: _pgbench(ledger_database, "commit_confirm.sql", ACCOUNTS),
            PGBENCH_HOT: _pgbench(ledger_database, "commit_confirm.sql", 1),
            TRANSFERS: _pgbench(transfers_database, "two_transfers.sql", ACCOUNTS),
            TRANSFERS_HOT: _pgbench(transfers_database, "two_transfers.sql", 1),
        }


@contextmanager
def ledger_process(database: str, directory: Path) -> Iterator[str]:
    """A ledger whose clients are a vendor and a platform; yields its URL."""
    keys = ServiceKeys()
    client: dict[str, object] = {"tenant": "bench", "kind": "first_party", "ip_allow_list": []}
    vendor = client | {"client_id": CLIENT_ID, "scopes": ["points:redeem"], "vendor_id": "bench-shop"}
    platform = client | {"client_id": PLATFORM_ID, "scopes": ["points:admin", "points:read"], "vendor_id": None}
    port = free_port()
    with servers.register_of_clients({CLIENT_ID: vendor, PLATFORM_ID: platform}) as register:
        environment = {
            "LEDGER_MODE": "development",
            "LEDGER_PORT": str(port),
            "LEDGER_DATABASE_URL": database,
            "LEDGER_PUBLIC_URL": "http://localhost",
            "LEDGER_ONBOARDING_URL": register,
            "LEDGER_ISSUER_URL": register,
            "LEDGER_SERVICE_KEY": keys.private("points-ledger"),
            "LEDGER_SERVICE_PEERS": keys.peers,
            "LEDGER_KEY_ENCRYPTION_KEYS": "1:" + base64.b64encode(bytes(range(32))).decode(),
        }
        command = [sys.executable, "-m", "points_ledger", "serve"]
        log = directory / "ledger.log"
        with servers.process(command, port=port, environment=environment, log=log) as url:
            yield url


async def fill_ledger(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO points_ledger.accounts (tenant, user_id, available, held, entries, opened_at)"
            " SELECT 'bench', 'user-' || n, $1::bigint, 0, 1, now() FROM generate_series(1, $2::int) n",
            POINTS,
            ACCOUNTS,
        )
        await connection.execute(
            "INSERT INTO points_ledger.entries"
            " (tenant, user_id, number, kind, points, balance, source, reference, reason, created_at)"
            " SELECT 'bench', 'user-' || n, 1, 'credit', $1::bigint, $1::bigint, '', 'opening', '',"
            # As they come in life: sealing sorts what is of the same time.
            " now() - ($2::int - n) * interval '1 millisecond'"
            " FROM generate_series(1, $2::int) n",
            POINTS,
            ACCOUNTS,
        )
        await connection.execute("VACUUM ANALYZE points_ledger.accounts")
        await connection.execute("VACUUM ANALYZE points_ledger.entries")
    finally:
        await connection.close()


async def _fill_tutorial(url: str) -> None:
    engine = create_async_engine(_async(url))
    async with engine.begin() as connection:
        await connection.run_sync(tutorial_orm.Base.metadata.create_all)
    await engine.dispose()
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO accounts (user_id, available, held)"
            " SELECT 'user-' || n, $1::bigint, 0 FROM generate_series(1, $2::int) n",
            POINTS,
            ACCOUNTS,
        )
        await connection.execute("VACUUM ANALYZE accounts")
    finally:
        await connection.close()


async def _fill_transfers(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute((_COMPETITORS / "transfers.sql").read_text())
        await connection.execute("INSERT INTO transfers.accounts (id, allow_negative) VALUES ('vendor', true)")
        await connection.execute(
            "INSERT INTO transfers.accounts (id, balance)"
            " SELECT kind || n, CASE kind WHEN 'available-' THEN $1::bigint ELSE 0 END"
            " FROM unnest(ARRAY['available-', 'held-']) AS kind, generate_series(1, $2::int) AS n",
            POINTS,
            ACCOUNTS,
        )
        await connection.execute("VACUUM ANALYZE transfers.accounts")
    finally:
        await connection.close()


def _pgbench(database: str, script: str, accounts: int) -> Measure:
    """Transactions of a script over as many connections as the others have."""

    def measure(seconds: float) -> Load:
        command = [str(binaries() / "pgbench"), "-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", "2"]
        command += ["-T", str(round(seconds)), "-D", f"accounts={accounts}", "-f", str(_COMPETITORS / script), database]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs = re.search(r"tps = ([\d.]+)", done.stdout)
        latency = re.search(r"latency average = ([\d.]+) ms", done.stdout)
        if runs is None or latency is None:
            raise RuntimeError(f"pgbench said nothing of use:\n{done.stdout}")
        # A run is a commit and a confirm: two of what is counted elsewhere.
        return Load(float(runs[1]) * 2, float(latency[1]) / 2, float("nan"), 0)

    return measure


def _async(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)
