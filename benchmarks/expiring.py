"""What holds that expire cost everybody else: 500,000 in one account, and 50,000 in as many accounts in one second."""

import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

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
#: Name → how many holds, and in how many accounts.
_EXPIRING = {
    "while 500,000 holds of one account expire, and somebody asks for it": (500_000, 1),
    "while 50,000 holds of 50,000 accounts expire in one second": (50_000, 50_000),
}
_ROUNDS = 3
_SECONDS = 15.0


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
        loads: dict[str, list[Load]] = {name: [] for name in (_QUIET, *_EXPIRING)}
        left: dict[str, list[int]] = {name: [] for name in _EXPIRING}
        for number in range(1, _ROUNDS + 1):
            say(f"round {number} of {_ROUNDS}: {_QUIET}")
            loads[_QUIET].append(_load(url, headers))
            for name, (holds, accounts) in _EXPIRING.items():
                say(f"round {number} of {_ROUNDS}: {name}")
                in_own_loop(_hold(database, holds, accounts))
                with _asking(url, headers, accounts):
                    loads[name].append(_load(url, headers))
                left[name].append(in_own_loop(_count_held(database)))
                in_own_loop(_until_released(database))
    return _table(loads, left)


def _table(loads: dict[str, list[Load]], left: dict[str, list[int]]) -> Table:
    def p99_of(name: str) -> float:
        """How many times the quiet p99; the median of the rounds."""
        pairs = zip(loads[name], loads[_QUIET], strict=True)
        return median(one.p99_ms / quiet.p99_ms for one, quiet in pairs)

    rows = [
        (
            name,
            f"{median(load.requests_per_second for load in measured):,.0f}",
            f"{median(load.p50_ms for load in measured):.1f}",
            f"{median(load.p99_ms for load in measured):.1f}",
            f"{p99_of(name):.2f}",
            str(sum(load.failures for load in measured)),
            f"{median(left[name]):,.0f}" if name in left else "",
        )
        for name, measured in loads.items()
    ]
    return Table(
        "Commit and confirm of others, by turns, one process",
        ("", "requests/s", "p50 ms", "p99 ms", "of quiet", "failures", "held at the end"),
        rows,
        [Aim(f"p99 {_QUIET}, of that {name}", 1 / p99_of(name), 0.5) for name in _EXPIRING],
    )


def _load(url: str, headers: dict[str, str]) -> Load:
    arguments = (str(_ACCOUNTS), secrets.token_hex(4))
    return put_load(url, "commit_confirm.lua", seconds=_SECONDS, headers=headers, arguments=arguments)


async def _hold(database: str, holds: int, accounts: int) -> None:
    """Writes holds that have ended, all seen at once when this commits, in accounts behind those of the load."""
    connection = await asyncpg.connect(database)
    word = secrets.token_hex(4)
    try:
        async with connection.transaction():
            await connection.execute(
                "UPDATE points_ledger.accounts SET available = available - $1, held = held + $1"
                " WHERE tenant = 'bench'"
                " AND user_id IN (SELECT 'user-' || ($2::int + n) FROM generate_series(1, $3::int) n)",
                *(holds // accounts, _ACCOUNTS, accounts),
            )
            await connection.execute(
                "INSERT INTO points_ledger.transactions (tenant, vendor_id, transaction_id, user_id, state, points,"
                " deducted, refunded, description, created_at, expires_at, touched_at)"
                " SELECT 'bench', 'bench-shop', $1 || n, 'user-' || ($2::int + 1 + n % $3::int), 'held', 1, 0, 0, '',"
                " now(), now(), now() FROM generate_series(1, $4::int) n",
                *(word, _ACCOUNTS, accounts, holds),
            )
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
