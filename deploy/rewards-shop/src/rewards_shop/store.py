"""Every SQL statement of the shop. One SQLite file: what is written here outlives a crash."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeVar

from pydantic import TypeAdapter

from rewards_shop.orders import Order
from rewards_shop.tokens import Visitor

T = TypeVar("T")

PAGE = 500
TABLES = """
create table if not exists orders (
    order_id text primary key,
    user_id text not null,
    placed_at real not null,
    finished integer not null,
    body text not null
) strict;
create index if not exists orders_of_user on orders (user_id, placed_at);
create index if not exists open_orders on orders (placed_at) where finished = 0;
create table if not exists sessions (digest blob primary key, expires_at real not null, visitor text not null) strict;
create table if not exists balances (user_id text primary key, points integer not null, as_of real not null) strict;
create table if not exists events (
    event_id text primary key,
    heard_at real not null,
    settled integer not null,
    body text not null
) strict;
create index if not exists events_by_age on events (heard_at);
create index if not exists waiting_events on events (heard_at) where settled = 0;
"""

_ORDER = TypeAdapter(Order)
_VISITOR = TypeAdapter(Visitor)


@dataclass(frozen=True)
class Balance:
    """The points of a person, as last known."""

    points: int
    as_of: float


class Store:
    """Orders, sessions, last known balances and events. Each method is one transaction, on disk when it returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # Names and addresses: for the owner only.
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.executescript(TABLES)
        self._lock = Lock()

    def close(self) -> None:
        with self._lock:  # A statement that is under way in another thread ends first.
            self._connection.close()

    async def remember(self, order: Order) -> bool:
        """Writes a new order down. False if there is one with this id already; that one is left alone."""

        def write(connection: sqlite3.Connection) -> bool:
            done = connection.execute(
                "insert into orders values (?, ?, ?, 0, ?) on conflict do nothing",
                (order.order_id, order.user_id, order.placed_at, _ORDER.dump_json(order).decode()),
            )
            return done.rowcount == 1

        return await self._transact(write)

    async def save(self, order: Order, *, settles_event: str = "") -> None:
        """Writes what became of an order, what that does to the last known balance, and that an event is settled."""

        def write(connection: sqlite3.Connection) -> None:
            before = _load(connection, order.order_id)
            given_back = (before.taken if before else 0) - order.taken
            connection.execute(
                "update orders set finished = ?, body = ? where order_id = ?",
                (order.finished, _ORDER.dump_json(order).decode(), order.order_id),
            )
            connection.execute(
                "update balances set points = max(0, points + ?) where user_id = ?", (given_back, order.user_id)
            )
            connection.execute("update events set settled = 1 where event_id = ?", (settles_event,))

        await self._transact(write)

    async def order(self, order_id: str) -> Order | None:
        return await self._transact(lambda connection: _load(connection, order_id))

    async def orders_of(self, user_id: str, limit: int) -> list[Order]:
        """The person's orders, newest first."""
        query = "select body from orders where user_id = ? order by placed_at desc limit ?"
        return await self._transact(lambda connection: _orders(connection.execute(query, (user_id, limit))))

    async def open_orders(self) -> list[Order]:
        query = "select body from orders where finished = 0 order by placed_at"
        return await self._transact(lambda connection: _orders(connection.execute(query)))

    async def finished_orders(self, since: float, until: float) -> AsyncIterator[Order]:
        """Those placed between, a few hundred in memory at once."""
        query = (
            "select body from orders where finished = 1 and placed_at >= ? and placed_at < ? and order_id > ?"
            " order by order_id limit ?"
        )

        def read_behind(order_id: str) -> Callable[[sqlite3.Connection], list[Order]]:
            return lambda connection: _orders(connection.execute(query, (since, until, order_id, PAGE)))

        page = await self._transact(read_behind(""))
        while page:
            for order in page:
                yield order
            page = await self._transact(read_behind(page[-1].order_id))

    async def write_event(self, event_id: str, body: str, *, at: float, forget_before: float) -> bool:
        """Writes an event down, and forgets old ones. False if there is one with this id already."""

        def write(connection: sqlite3.Connection) -> bool:
            connection.execute("delete from events where heard_at < ? and settled = 1", (forget_before,))
            query = "insert into events values (?, ?, 0, ?) on conflict do nothing"
            return connection.execute(query, (event_id, at, body)).rowcount == 1

        return await self._transact(write)

    async def waiting_events(self) -> list[tuple[str, str]]:
        """Id and body of those that are not settled, oldest first."""
        query = "select event_id, body from events where settled = 0 order by heard_at"
        return await self._transact(lambda connection: connection.execute(query).fetchall())

    async def is_waiting(self, event_id: str) -> bool:
        query = "select 1 from events where event_id = ? and settled = 0"
        found = await self._transact(lambda connection: connection.execute(query, (event_id,)).fetchone())
        return found is not None

    async def settle_event(self, event_id: str) -> None:
        query = "update events set settled = 1 where event_id = ?"
        await self._transact(lambda connection: connection.execute(query, (event_id,)))

    async def open_session(self, digest: bytes, visitor: Visitor, *, now: float, expires_at: float) -> None:
        """Remembers a session by the digest of its id, and sweeps out those that are over."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("delete from sessions where expires_at <= ?", (now,))
            body = _VISITOR.dump_json(visitor).decode()
            connection.execute("insert into sessions values (?, ?, ?)", (digest, expires_at, body))

        await self._transact(write)

    async def close_session(self, digest: bytes) -> None:
        await self._transact(lambda connection: connection.execute("delete from sessions where digest = ?", (digest,)))

    async def session(self, digest: bytes, *, now: float) -> Visitor | None:
        def read(connection: sqlite3.Connection) -> Visitor | None:
            query = "select visitor from sessions where digest = ? and expires_at > ?"
            row = connection.execute(query, (digest, now)).fetchone()
            return _VISITOR.validate_json(row[0]) if row else None

        return await self._transact(read)

    async def note_balance(self, user_id: str, balance: Balance) -> None:
        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "insert into balances values (?, ?, ?) on conflict (user_id)"
                " do update set points = excluded.points, as_of = excluded.as_of",
                (user_id, balance.points, balance.as_of),
            )

        await self._transact(write)

    async def balance(self, user_id: str) -> Balance | None:
        def read(connection: sqlite3.Connection) -> Balance | None:
            row = connection.execute("select points, as_of from balances where user_id = ?", (user_id,)).fetchone()
            return Balance(*row) if row else None

        return await self._transact(read)

    async def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Off the event loop, because a commit waits for the disk."""

        def run() -> T:
            with self._lock:
                self._connection.execute("begin immediate")
                try:
                    result = work(self._connection)
                except BaseException:
                    self._connection.execute("rollback")
                    raise
                self._connection.execute("commit")
                return result

        return await asyncio.to_thread(run)


def _load(connection: sqlite3.Connection, order_id: str) -> Order | None:
    found = _orders(connection.execute("select body from orders where order_id = ?", (order_id,)))
    return found[0] if found else None


def _orders(rows: sqlite3.Cursor) -> list[Order]:
    return [_ORDER.validate_json(body) for (body,) in rows]
