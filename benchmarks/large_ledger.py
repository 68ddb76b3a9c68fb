"""A ledger of the size that a real programme has, beside an empty one, by turns: what its size costs."""

import secrets
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import httpx
from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from platform_testing.callers import basic
from shared.migrating import upgrade

from benchmarks.ledger import CLIENT_ID, PLATFORM_ID, ledger_process
from benchmarks.load import Load, put_load
from benchmarks.report import Aim, Table
from benchmarks.rounds import Say
from benchmarks.servers import LARGE_DATABASE

#: The account with a fifth of all entries, and with a quarter of all transactions.
BUSY = "user-0"
#: An account with an open hold.
_HOLDER = "user-40"
#: Rows of a page that is read.
_PAGE = 100
#: The page far behind in the statement, where there are so many.
_FAR = 1000
_REDEEMING = "commit and confirm, 32 connections"
#: After a checkpoint, the first change of a page writes the page into the log as a whole, and a larger ledger has more
#: pages. It is measured when fewer than one request in ten does so, as most of the time between two checkpoints.
_IMAGES_A_REQUEST = 0.1
_WARMING_SECONDS = 3.0
_WARMING_TIMES = 100


@dataclass(frozen=True, slots=True)
class Size:
    """How much is in a ledger: besides, twice as many transactions as accounts and five times as many entries."""

    accounts: int

    @property
    def transactions(self) -> int:
        return 2 * self.accounts

    @property
    def entries_of_busy(self) -> int:
        return self.accounts


#: "Empty": enough for a full page of each list.
_EMPTY = Size(10_000)


@dataclass(frozen=True, slots=True)
class _Ledger:
    url: str
    database: str
    size: Size
    #: Name → path and query of what is read.
    readings: Mapping[str, str]
    vendor: Mapping[str, str]
    platform: Mapping[str, str]

    def headers(self, path: str) -> Mapping[str, str]:
        return self.vendor if path.startswith("/eai/") else self.platform


def run(*, seconds: float, rounds: int, accounts: int, say: Say) -> Table:
    """Takes some minutes to fill the large one."""
    with tempfile.TemporaryDirectory(prefix="points-bench-") as directory, ExitStack() as stack:
        large = stack.enter_context(_ledger(Path(directory) / "large", Size(accounts), say))
        empty = stack.enter_context(_ledger(Path(directory) / "empty", _EMPTY, say))
        for ledger in (empty, large):
            _warm_up(ledger, say)
        rates: dict[str, list[tuple[float, float]]] = {}
        for number in range(1, rounds + 1):
            for name in (_REDEEMING, *large.readings):
                say(f"round {number} of {rounds}: {name}")
                rates.setdefault(name, []).append((_rate(empty, name, seconds), _rate(large, name, seconds)))
    return _table(rates, Size(accounts))


def _table(rates: Mapping[str, list[tuple[float, float]]], size: Size) -> Table:
    def ratio(name: str) -> float:
        return statistics.median(large / empty for empty, large in rates[name])

    rows = [
        (
            name,
            f"{statistics.median(empty for empty, _ in measured):,.0f}",
            f"{statistics.median(large for _, large in measured):,.0f}",
            f"{ratio(name):.2f}",
        )
        for name, measured in rates.items()
    ]
    return Table(
        f"{size.accounts:,} accounts, {5 * size.accounts:,} entries, {size.transactions:,} transactions; one account"
        f" with {size.entries_of_busy:,} entries, one vendor with {size.transactions // 2:,} transactions",
        ("requests/s", "empty", "large", "of empty"),
        rows,
        [Aim(f"{name}, of empty", ratio(name), 0.9 if name == _REDEEMING else 0.5) for name in rates],
    )


def _warm_up(ledger: _Ledger, say: Say) -> None:
    """Commits and confirms until few requests write an image of a page.

    Raises:
        RuntimeError: they still do after five minutes.
    """
    for _ in range(_WARMING_TIMES):
        before = in_own_loop(_images(ledger.database))
        requests = _WARMING_SECONDS * _redeem(ledger, _WARMING_SECONDS).requests_per_second
        images = (in_own_loop(_images(ledger.database)) - before) / requests
        say(f"warming up the ledger of {ledger.size.accounts:,} accounts: {images:.2f} images of pages a request")
        if images < _IMAGES_A_REQUEST:
            return
    raise RuntimeError("the log still gets images of pages: has a checkpoint begun?")


async def _images(database: str) -> int:
    """How many images of whole pages the log has got."""
    connection = await asyncpg.connect(database)
    try:
        images: int = await connection.fetchval("SELECT wal_fpi FROM pg_stat_wal")
        return images
    finally:
        await connection.close()


def _redeem(ledger: _Ledger, seconds: float) -> Load:
    arguments = (str(ledger.size.accounts), secrets.token_hex(4))
    return put_load(ledger.url, "commit_confirm.lua", seconds=seconds, headers=ledger.vendor, arguments=arguments)


def _rate(ledger: _Ledger, name: str, seconds: float) -> float:
    """Requests a second; of what is read, one after the other."""
    if name == _REDEEMING:
        load = _redeem(ledger, seconds)
    else:
        path = ledger.readings[name]
        load = put_load(
            ledger.url, "get.lua", seconds=seconds, headers=ledger.headers(path), arguments=(path,), connections=1
        )
        if load.failures:
            raise RuntimeError(f"{name}: {load.failures} requests failed")
    return load.requests_per_second


@contextmanager
def _ledger(directory: Path, size: Size, say: Say) -> Iterator[_Ledger]:
    postgres = EmbeddedPostgres(directory / "postgres", settings=LARGE_DATABASE)
    postgres.start()
    with ExitStack() as stack:
        stack.callback(postgres.stop)
        password, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        postgres.create_role_and_database("points_ledger", password)
        database = postgres.url("points_ledger", "points_ledger", password)
        upgrade(database, "points_ledger")
        in_own_loop(_fill(postgres.url("points_ledger"), size, say))
        url = stack.enter_context(ledger_process(database, directory))
        vendor, platform = basic(CLIENT_ID, secret), basic(PLATFORM_ID, secret)
        with httpx.Client(base_url=url, headers=platform, timeout=60) as client:
            readings = dict(_readings(client, size))
        in_own_loop(_until_sealed(database, say))
        yield _Ledger(url, database, size, readings, vendor, platform)


def _readings(client: httpx.Client, size: Size) -> Iterator[tuple[str, str]]:
    # Of the time in which the one vendor's transactions were made.
    middle = (_BEGINNING + _LASTING / 8).isoformat()

    def path(of: str, **query: Any) -> str:
        return f"{of}?{urlencode(query)}" if query else of

    account, eai = f"/v1/accounts/{BUSY}", "/eai/v1/points"
    yield "balance", account
    yield "balance at an instant", path(account, at=middle)
    yield "statement, first page", path(f"{account}/entries", limit=_PAGE)
    far = min(_FAR, size.entries_of_busy // _PAGE) - 1
    yield "statement, thousandth page", path(f"{account}/entries", limit=_PAGE, cursor=_cursor_of(client, far))
    for state in ("held", "confirmed", "rejected"):
        yield f"a vendor's list, {state}", path(eai, state=state, limit=_PAGE)
        yield f"a vendor's list, {state}, since", path(eai, state=state, since=middle, limit=_PAGE)
    yield "a vendor's list, since", path(eai, since=middle, limit=_PAGE)
    yield "a vendor's list, updated since", path(eai, updated_since=middle, limit=_PAGE)
    yield "open holds", path("/v1/holds", limit=_PAGE)
    yield "open holds of a vendor", path("/v1/holds", vendor_id="bench-shop", limit=_PAGE)
    yield "open holds older than a minute", path("/v1/holds", older_than=60, limit=_PAGE)
    yield "open holds of an account", path("/v1/holds", user_id=_HOLDER, limit=_PAGE)


def _cursor_of(client: httpx.Client, page: int) -> str:
    """That of a page of the statement; 0 is the first."""
    cursor = None
    for _ in range(page):
        query = {"limit": _PAGE} | ({} if cursor is None else {"cursor": cursor})
        answer = client.get(f"/v1/accounts/{BUSY}/entries", params=query).raise_for_status()
        cursor = answer.json()["next_cursor"]
    return str(cursor)


#: From the first transaction to the last one, and when the first was made.
_LASTING = timedelta(days=180)
_BEGINNING = datetime.now(UTC).replace(microsecond=0) - _LASTING - timedelta(days=1)

# Transactions: a quarter of all are the busy account's at the one vendor, all confirmed; the next quarter is that
# vendor's too, the rest is of 99 others. Of these, four in five are confirmed, and one in forty is open.
_TRANSACTIONS = """
INSERT INTO points_ledger.transactions (tenant, vendor_id, transaction_id, user_id, state, points, deducted, refunded,
       description, created_at, expires_at, ended_at, touched_at)
SELECT 'bench', vendor, 't-' || lpad(n::text, 8, '0'),
       'user-' || CASE WHEN n <= $1 / 4 THEN 0 ELSE 1 + n % ($1 / 2) END,
       state, (state <> 'cancelled')::int, (state = 'confirmed')::int, 0, 'redemption for a benchmark',
       at, CASE WHEN state = 'held' THEN now() + interval '1 day'
                WHEN state IN ('rejected', 'cancelled') THEN NULL ELSE at + interval '15 minutes' END,
       CASE WHEN state <> 'held' THEN at + lasted END, at + lasted
  FROM (SELECT n, state, vendor, at,
               CASE WHEN state = 'expired' THEN interval '15 minutes'
                    WHEN state IN ('held', 'rejected', 'cancelled') THEN interval '0'
                    WHEN hashint4(n) % 10 = 0 THEN interval '1 second' * (60 + abs(hashint4(n + 1) % 780))
                    ELSE interval '1 second' * (0.2 + abs(hashint4(n + 1) % 1000) / 25.0) END AS lasted
          FROM (SELECT n, $2::timestamptz + $3::interval * n / $1 AS at,
                       CASE WHEN n <= $1 / 2 THEN 'bench-shop' ELSE 'vendor-' || n % 99 END AS vendor,
                       CASE WHEN n <= $1 / 4 OR n % 20 < 16 THEN 'confirmed' WHEN n % 20 = 16 THEN 'rolled_back'
                            WHEN n % 20 = 17 THEN 'expired' WHEN n % 20 = 18 THEN 'rejected'
                            WHEN n % 40 = 39 THEN 'held' ELSE 'cancelled' END AS state
                  FROM generate_series(1, $1::int) AS n) AS made) AS ended
 ORDER BY vendor, n
"""
# Entries: an opening for each account, the redemptions, and credits, so that there are five for each account and the
# busy one has as many as there are accounts.
_ENTRIES = """
INSERT INTO points_ledger.entries (tenant, user_id, number, kind, points, balance, source, reference, reason,
       created_at)
SELECT 'bench', user_id, row_number() OVER account, kind, points, sum(points) OVER account, source, reference, '', at
  FROM (SELECT 'user-' || n AS user_id, 'credit' AS kind, 1000000000 AS points, '' AS source, 'opening' AS reference,
               $2::timestamptz - ($1 - n) * interval '1 millisecond' AS at
          FROM generate_series(0, $1::int) AS n
         UNION ALL
        SELECT user_id, 'redemption', -1, vendor_id, transaction_id, ended_at
          FROM points_ledger.transactions
         WHERE tenant = 'bench' AND state = 'confirmed'
         UNION ALL
        SELECT 'user-' || CASE WHEN n < $1 / 2 THEN 0 ELSE 1 + n % $1 END, 'credit', 1, '', 'credit-' || n,
               $2 + $3::interval * n / (3 * $1)
          FROM generate_series(1, 5 * $1 - $1 - (SELECT count(*) FROM points_ledger.transactions
                                                  WHERE tenant = 'bench' AND state = 'confirmed')) AS n) AS moved
WINDOW account AS (PARTITION BY user_id ORDER BY at, reference)
"""
_ACCOUNTS = """
INSERT INTO points_ledger.accounts (tenant, user_id, available, held, entries, opened_at)
SELECT 'bench', 'user-' || n, 0, 0, 0, $2::timestamptz - $3::interval FROM generate_series(0, $1::int) AS n
"""
_BALANCES = """
UPDATE points_ledger.accounts AS account
   SET available = entered.points - coalesce(held.points, 0), held = coalesce(held.points, 0), entries = entered.entries
  FROM (SELECT user_id, sum(points) AS points, count(*) AS entries
          FROM points_ledger.entries WHERE tenant = 'bench' GROUP BY user_id) AS entered
  LEFT JOIN (SELECT user_id, sum(points) AS points
               FROM points_ledger.transactions WHERE tenant = 'bench' AND state = 'held' GROUP BY user_id) AS held
       USING (user_id)
 WHERE account.tenant = 'bench' AND account.user_id = entered.user_id
"""


async def _fill(database: str, size: Size, say: Say) -> None:
    """Writes books that add up: `verify` finds nothing in them.

    Args:
        database: of the superuser.
    """
    connection = await asyncpg.connect(database)
    try:
        # Without the check of the foreign key for each row, which takes as long as all else.
        await connection.execute("SET session_replication_role = replica")
        for name, statement, number in (
            ("accounts", _ACCOUNTS, size.accounts),
            ("transactions", _TRANSACTIONS, size.transactions),
            ("entries", _ENTRIES, size.accounts),
        ):
            say(f"filling {name} of {size.accounts:,} accounts")
            await connection.execute(statement, number, _BEGINNING, _LASTING)
        say(f"adding up {size.accounts:,} accounts")
        await connection.execute(_BALANCES)
        # As a database is that has been there for a while.
        for table in ("accounts", "transactions", "entries"):
            say(f"VACUUM ANALYZE {table}")
            await connection.execute(f"VACUUM ANALYZE points_ledger.{table}")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _until_sealed(database: str, say: Say) -> None:
    """The ledger begins at once to seal what it finds, which takes its time from the measurement."""
    connection = await asyncpg.connect(database)
    try:
        entries = await connection.fetchval("SELECT count(*) FROM points_ledger.entries")
        while True:
            sealed = await connection.fetchval("SELECT coalesce(sum(rows), 0) FROM points_ledger.seals")
            say(f"{sealed:,} of {entries:,} entries are sealed")
            if sealed >= entries:
                return
            await connection.execute("SELECT pg_sleep(0.5)")
    finally:
        await connection.close()
