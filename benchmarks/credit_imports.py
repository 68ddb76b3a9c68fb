"""An import of credits beside COPY of the same rows with one set-based update, and the memory that it takes."""

import json
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import psutil
from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from platform_testing.callers import basic
from shared.migrating import upgrade

from benchmarks.ledger import ACCOUNTS, PLATFORM_ID, fill_ledger, ledger_process
from benchmarks.report import Aim, Table
from benchmarks.rounds import Say
from benchmarks.servers import LARGE_DATABASE

#: Lines that are sent in one piece.
_PIECE = 2000
_COLUMNS = ("tenant", "user_id", "number", "kind", "points", "balance", "source", "reference", "reason", "created_at")
_GIVE = """
UPDATE points_ledger.accounts AS account
   SET available = account.available + given.points, entries = account.entries + given.entries
  FROM (SELECT user_id, sum(points)::bigint AS points, count(*) AS entries
          FROM points_ledger.entries WHERE tenant = 'bench' AND reference LIKE $1 || '-%' GROUP BY user_id) AS given
 WHERE account.tenant = 'bench' AND account.user_id = given.user_id
"""


def run(*, rounds: int, rows: int, lines: int, say: Say) -> Table:
    """Measures.

    Args:
        rows: of one import, and of one COPY.
        lines: of the one long import whose memory is looked at.
    """
    with tempfile.TemporaryDirectory(prefix="points-bench-") as directory, ExitStack() as stack:
        postgres = EmbeddedPostgres(Path(directory) / "postgres", settings=LARGE_DATABASE)
        postgres.start()
        stack.callback(postgres.stop)
        password = secrets.token_urlsafe(16)
        postgres.create_role_and_database("points_ledger", password)
        database = postgres.url("points_ledger", "points_ledger", password)
        upgrade(database, "points_ledger")
        say("filling 100,000 accounts")
        in_own_loop(fill_ledger(database))
        url = stack.enter_context(ledger_process(database, Path(directory)))
        headers = basic(PLATFORM_ID, secrets.token_urlsafe(32))
        say("first requests")
        in_own_loop(_import(url, headers, 2 * _PIECE))
        copied, imported = [], []
        for number in range(1, rounds + 1):
            say(f"round {number} of {rounds}: COPY of {rows:,} rows")
            copied.append(rows / in_own_loop(_copy(database, rows)))
            say(f"round {number} of {rounds}: import of {rows:,} lines")
            imported.append(rows / in_own_loop(_import(url, headers, rows)))
        before = _resident_bytes()
        say(f"import of {lines:,} lines")
        long = lines / in_own_loop(_import(url, headers, lines))
        grown = _resident_bytes() - before
    ratio = statistics.median(one / two for one, two in zip(imported, copied, strict=True))
    return Table(
        f"Import of {rows:,} credits beside COPY",
        ("", "rows/s", "memory grown by MB"),
        [
            ("COPY of ready rows, then one UPDATE of all accounts", f"{statistics.median(copied):,.0f}", ""),
            ("POST /v1/credits/import", f"{statistics.median(imported):,.0f}", ""),
            (f"the same with {lines:,} lines", f"{long:,.0f}", f"{grown / 1e6:.0f}"),
        ],
        (Aim("import, of COPY", ratio, 0.5), Aim("32 MB, of what a long import grows by", 32e6 / max(grown, 1), 1)),
    )


async def _copy(database: str, rows: int) -> float:
    """Seconds for what an import comes to, by someone who knows all numbers and balances beforehand."""
    connection = await asyncpg.connect(database)
    word = secrets.token_hex(4)
    try:
        numbers = await connection.fetch("SELECT user_id, entries, available FROM points_ledger.accounts")
        state = {row[0]: (row[1], row[2]) for row in numbers}
        now, ready = datetime.now(UTC), []
        for number in range(rows):
            user = _user(number)
            entries, balance = state[user] = (state[user][0] + 1, state[user][1] + 1)
            ready.append(("bench", user, entries, "credit", 1, balance, "", f"{word}-{number}", "campaign", now))
        began = time.perf_counter()
        async with connection.transaction():
            await connection.copy_records_to_table(
                "entries", schema_name="points_ledger", columns=_COLUMNS, records=ready
            )
            await connection.execute(_GIVE, word)
        return time.perf_counter() - began
    finally:
        await connection.close()


async def _import(url: str, headers: Mapping[str, str], rows: int) -> float:
    """Seconds from the first byte sent to the last byte answered."""
    word = secrets.token_hex(4)

    def line(number: int) -> bytes:
        said = {"user_id": _user(number), "points": 1, "reference": f"{word}-{number}", "reason": "campaign"}
        return json.dumps(said).encode() + b"\n"

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, rows, _PIECE):
            yield b"".join(line(number) for number in range(start, min(start + _PIECE, rows)))

    last = b""
    sent = {**headers, "Content-Type": "application/x-ndjson"}
    async with httpx.AsyncClient(timeout=600, trust_env=False) as client:
        began = time.perf_counter()
        async with client.stream("POST", f"{url}/v1/credits/import", content=pieces(), headers=sent) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                last = (last + chunk)[-400:]
        took = time.perf_counter() - began
    summary = json.loads(last.splitlines()[-1])["summary"]
    if summary["credited"] != rows:
        raise RuntimeError(f"of {rows} lines: {summary}")
    return took


def _user(number: int) -> str:
    """As in a list of customers: each comes once, in no order that the database would like."""
    return f"user-{number * 7919 % ACCOUNTS + 1}"


def _resident_bytes() -> int:
    """Of the ledger's process, which is a child of this one."""
    found = [child for child in psutil.Process().children() if "points_ledger" in child.cmdline()]
    (ledger,) = found
    resident: int = ledger.memory_info().rss
    return resident
