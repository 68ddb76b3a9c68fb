"""What holds that expire cost everybody else: 500,000 in one account, and 50,000 in as many accounts in one second."""

import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

import asyncpg
import httpx
from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from platform_testing.callers import basic
from shared.migrating import upgrade

from benchmarks.ledger import CLIENT_ID, fill_ledger, ledger_process
from benchmarks.load import Load, put_load
from benchmarks.report import Aim, Table
from benchmarks.rounds import Say

#: Those that the load uses; the holds that expire are in others.
_ACCOUNTS = 50_000
_QUIET = "quiet"


class _Ending(NamedTuple):
    """Holds that end within one second."""

    holds: int
    accounts: int
    #: How long before that they are written: with time for a VACUUM, a checkpoint, and the quiet measurement.
    ahead: timedelta


_ENDINGS = {
    "while 500,000 holds of one account expire, and somebody asks for it": _Ending(500_000, 1, timedelta(seconds=150)),
    "while 50,000 holds of 50,000 accounts expire": _Ending(50_000, 50_000, timedelta(seconds=60)),
}
_ROUNDS = 3
_SECONDS = 10.0


def run(*, say: Say) -> Table:
    """Takes some minutes."""
    with tempfile.TemporaryDirectory(prefix="points-bench-") as directory, ExitStack() as stack:
        postgres = EmbeddedPostgres(Path(directory) / "postgres")
        postgres.start()
        stack.callback(postgres.stop)
        password, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        postgres.create_role_and_database("points_ledger", password)
        database = postgres.url("points_ledger", "points_ledger", password)
        upgrade(database, "points_ledger")
        say("filling 100,000 accounts")
        in_own_loop(fill_ledger(database))
        url = stack.enter_context(ledger_process(database, Path(directory)))
        headers = basic(CLIENT_ID, secret)
        measured: dict[str, list[tuple[Load, Load]]] = {}
        left: dict[str, list[int]] = {}
        for number in range(1, _ROUNDS + 1):
            for name, ending in _ENDINGS.items():
                say(f"round {number} of {_ROUNDS}: writing holds")
                end = datetime.now(UTC) + ending.ahead
                in_own_loop(_hold(database, ending, end))
                in_own_loop(_tidy_up(postgres.url("points_ledger")))
                _wait_until(end - timedelta(seconds=_SECONDS + 1))
                say(f"round {number} of {_ROUNDS}: before")
                quiet = _load(url, headers)
                _wait_until(end)
                say(f"round {number} of {_ROUNDS}: {name}")
                with _asking(url, headers, ending.accounts):
                    loaded = _load(url, headers)
                measured.setdefault(name, []).append((quiet, loaded))
                left.setdefault(name, []).append(in_own_loop(_count_held(database)))
                in_own_loop(_until_released(database))
    return _table(measured, left)


def _wait_until(moment: datetime) -> None:
    seconds = (moment - datetime.now(UTC)).total_seconds()
    if seconds < 0:
        raise SystemExit(f"this machine is too slow: {-seconds:.0f} seconds too late")
    time.sleep(seconds)


def _table(measured: dict[str, list[tuple[Load, Load]]], left: dict[str, list[int]]) -> Table:
    def p99_of(name: str) -> float:
        """How many times the quiet p99; the median of the rounds."""
        return median(loaded.p99_ms / quiet.p99_ms for quiet, loaded in measured[name])

    rows = []
    for name, pairs in measured.items():
        quiet, loaded = [one for one, _ in pairs], [two for _, two in pairs]
        rows.append((f"before: {_QUIET}", *_figures(quiet), "", ""))
        rows.append((name, *_figures(loaded), f"{p99_of(name):.2f}", f"{median(left[name]):,.0f}"))
    return Table(
        "Commit and confirm of others, one process",
        ("", "requests/s", "p50 ms", "p99 ms", "failures", "p99 of quiet", "held at the end"),
        rows,
        [Aim(f"p99 {_QUIET}, of that {name}", 1 / p99_of(name), 0.5) for name in measured],
    )


def _figures(loads: list[Load]) -> tuple[str, str, str, str]:
    return (
        f"{median(load.requests_per_second for load in loads):,.0f}",
        f"{median(load.p50_ms for load in loads):.1f}",
        f"{median(load.p99_ms for load in loads):.1f}",
        str(sum(load.failures for load in loads)),
    )


def _load(url: str, headers: dict[str, str]) -> Load:
    arguments = (str(_ACCOUNTS), secrets.token_hex(4))
    return put_load(url, "commit_confirm.lua", seconds=_SECONDS, headers=headers, arguments=arguments)


async def _hold(database: str, ending: _Ending, end: datetime) -> None:
    """Writes holds that end in the second before `end`, in accounts behind those of the load."""
    connection = await asyncpg.connect(database)
    word = secrets.token_hex(4)
    try:
        async with connection.transaction():
            await connection.execute(
                "UPDATE points_ledger.accounts SET available = available - $1, held = held + $1"
                " WHERE tenant = 'bench'"
                " AND user_id IN (SELECT 'user-' || ($2::int + n) FROM generate_series(1, $3::int) n)",
                *(ending.holds // ending.accounts, _ACCOUNTS, ending.accounts),
            )
            await connection.execute(
                "INSERT INTO points_ledger.transactions (tenant, vendor_id, transaction_id, user_id, state, points,"
                " deducted, refunded, description, created_at, expires_at, touched_at)"
                " SELECT 'bench', 'bench-shop', $1 || n, 'user-' || ($2::int + 1 + n % $3::int), 'held', 1, 0, 0, '',"
                " now(), $5::timestamptz - n * interval '1 second' / $4::int, now() FROM generate_series(1, $4::int) n",
                *(word, _ACCOUNTS, ending.accounts, ending.holds, end),
            )
    finally:
        await connection.close()


async def _tidy_up(database: str) -> None:
    """Otherwise what it took to write the holds would be measured as well."""
    connection = await asyncpg.connect(database)
    try:
        for table in ("accounts", "transactions"):
            await connection.execute(f"VACUUM ANALYZE points_ledger.{table}")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


@contextmanager
def _asking(url: str, headers: dict[str, str], accounts: int) -> Iterator[None]:
    """Somebody commits in the one account again and again, and waits as long as it takes."""
    done = threading.Event()

    def ask() -> None:
        body = {"userid": f"user-{_ACCOUNTS + 1}", "pointstodeduct": 1, "description": ""}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            while not done.wait(0.2):
                with suppress(httpx.TransportError):
                    client.post("/eai/v1/points?commit", json=body | {"transactionid": secrets.token_hex(8)})

    asking = threading.Thread(target=ask, daemon=True)
    if accounts == 1:
        asking.start()
    try:
        yield
    finally:
        done.set()


async def _count_held(database: str) -> int:
    connection = await asyncpg.connect(database)
    try:
        held = "SELECT count(*) FROM points_ledger.transactions WHERE state = 'held' AND expires_at <= now()"
        return int(await connection.fetchval(held))
    finally:
        await connection.close()


async def _until_released(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        statement = (
            "SELECT EXISTS (SELECT FROM points_ledger.transactions WHERE state = 'held' AND expires_at <= now())"
        )
        while await connection.fetchval(statement):
            await connection.execute("SELECT pg_sleep(0.5)")
    finally:
        await connection.close()
