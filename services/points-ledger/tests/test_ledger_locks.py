"""No two batches wait for each other in a circle, whatever ids and accounts they name."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.databases import owner_url
from platform_testing.plans import connected
from points_ledger import store
from points_ledger.domain.transactions import Commit, Confirm, State, Transaction
from points_ledger.holds.releasing import Releasing
from points_ledger.ledger import Ledger
from points_ledger.orders import Order, Settled
from points_ledger.store import AnswerKey, KeptAnswer
from shared.db import Database
from shared.errors import Refusal
from shared.idempotency import Answer

from .adding_up import what_does_not_add_up

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def ledger_url(spoilt_url: str) -> str:
    return spoilt_url


@pytest.fixture
async def others(ledger_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A second connection, as another process has it."""
    connection = await asyncpg.connect(ledger_url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def ledgers(ledger_url: str) -> AsyncIterator[list[Ledger]]:
    """Two, as of two processes."""
    databases = [Database(ledger_url, pool_size=4) for _ in range(2)]
    ledgers = [Ledger(database, Releasing(database)) for database in databases]
    yield ledgers
    for ledger, database in zip(ledgers, databases, strict=True):
        await ledger.close()
        await database.dispose()


def held(tenant: str, name: str, user: str = "ann") -> Transaction:
    return Transaction(
        tenant, "shop", name, user, State.HELD, 5, 0, 0, "a mug", NOW, NOW + timedelta(days=99_999), None
    )


async def write(
    connection: asyncpg.Connection, *, new: Sequence[Transaction] = (), changed: Sequence[Transaction] = ()
) -> None:
    await connection.execute(
        *store.changing(
            tenant=None,
            now=NOW,
            accounts=[],
            new_transactions=new,
            changed_transactions=changed,
            new_entries=[],
        )
    )


def told(settled: Settled) -> Answer:
    outcome = settled.outcome
    return Answer.of(200, outcome.stable_code if isinstance(outcome, Refusal) else "")


async def open_account(rows: asyncpg.Connection, tenant: str, user: str, points: int) -> None:
    await rows.execute("INSERT INTO points_ledger.accounts VALUES ($1, $2, $3, 0, 1, now())", tenant, user, points)
    await rows.execute(
        "INSERT INTO points_ledger.entries VALUES ($1, $2, 1, 'credit', $3, $3, '', 'r', '', now())",
        tenant, user, points,
    )  # fmt: skip


async def test_new_transactions_are_written_in_the_order_of_their_keys(
    postgres: EmbeddedPostgres, ledger_url: str, tenant: str
) -> None:
    """Two processes with the same new ids then wait for each other in one order only."""
    names = [secrets.token_hex(4) for _ in range(50)]

    async with connected(owner_url(postgres, "points_ledger_spoilt")) as owner:
        trying = owner.transaction()
        await trying.start()
        await owner.execute("ALTER TABLE points_ledger.transactions ADD COLUMN place bigserial")
        await write(owner, new=[held(tenant, name) for name in names])
        written = await owner.fetch(
            "SELECT transaction_id FROM points_ledger.transactions WHERE tenant = $1 ORDER BY place", tenant
        )
        await trying.rollback()

    assert [row["transaction_id"] for row in written] == sorted(names)


async def test_a_mere_look_at_a_foreign_transaction_waits_for_nobody(
    rows: asyncpg.Connection, others: asyncpg.Connection, tenant: str
) -> None:
    """Two batches that each change one transaction and look at the other's would wait in a circle."""
    mine, theirs = held(tenant, "mine"), held(tenant, "theirs")
    await write(rows, new=[mine, theirs])
    names = {t.transaction_id: store.TransactionKey(tenant, "shop", t.transaction_id) for t in (mine, theirs)}

    async with asyncio.timeout(10), rows.transaction(), others.transaction():
        await write(rows, changed=[mine])
        await write(others, changed=[theirs])
        await store.touch_transactions(rows, [names["theirs"]], NOW, tenant)
        await store.touch_transactions(others, [names["mine"]], NOW, tenant)


async def test_a_replay_waits_for_no_other_replay(
    rows: asyncpg.Connection, others: asyncpg.Connection, tenant: str
) -> None:
    keys = [AnswerKey(tenant, "shop", name) for name in ("a", "b")]
    assert await store.write_answers(rows, {key: KeptAnswer(b"f", b"a") for key in keys}, tenant)

    async with asyncio.timeout(10), rows.transaction(), others.transaction():
        await store.touch_answers(rows, [keys[0]], tenant)
        await store.touch_answers(others, [keys[1]], tenant)
        await store.touch_answers(rows, [keys[1]], tenant)
        await store.touch_answers(others, [keys[0]], tenant)


async def test_a_touch_is_a_write(rows: asyncpg.Connection, tenant: str) -> None:
    """A repeated answer waits for the same durability as the first."""
    await write(rows, new=[held(tenant, "a")])
    question = "SELECT touched_at, xmin::text FROM points_ledger.transactions WHERE tenant = $1"
    before = await rows.fetchrow(question, tenant)

    key = store.TransactionKey(tenant, "shop", "a")
    await store.touch_transactions(rows, [key], NOW + timedelta(seconds=1), tenant)

    after = await rows.fetchrow(question, tenant)
    assert after["touched_at"] == before["touched_at"] + timedelta(seconds=1)
    assert before["xmin"] != after["xmin"]


async def test_a_touch_leaves_a_later_time_as_it_is(rows: asyncpg.Connection, tenant: str) -> None:
    """A list by last change must not find the row behind the place where it has read it."""
    await write(rows, new=[held(tenant, "a")])

    key = store.TransactionKey(tenant, "shop", "a")
    await store.touch_transactions(rows, [key], NOW - timedelta(seconds=1), tenant)

    question = "SELECT touched_at FROM points_ledger.transactions WHERE tenant = $1"
    assert await rows.fetchval(question, tenant) == NOW


async def test_batches_that_name_each_others_transactions_never_deadlock(
    rows: asyncpg.Connection, postgres: EmbeddedPostgres, ledgers: list[Ledger], tenant: str
) -> None:
    """Two processes; every batch commits, confirms and names, wrongly, the transactions of the other's users."""
    users = ("ann", "bob")
    for user in users:
        await open_account(rows, tenant, user, 10_000)
    seen = postgres.log.stat().st_size

    async def work(ledger: Ledger, user: str, names: list[str]) -> None:
        commits = [Commit(tenant, "shop", name, user, 1, "a mug", timedelta(days=1)) for name in names]
        confirms = [Confirm(tenant, "shop", name, user) for name in reversed(names)]
        for commands in (commits, confirms):
            await asyncio.gather(*(ledger.carry_out(Order(command, told)) for command in commands))

    for turn in range(6):
        names = [f"{turn}-{number}" for number in range(40)]
        await asyncio.gather(
            *(work(ledger, user, names) for ledger, user in itertools.product(ledgers, users)),
        )

    log = postgres.log.read_bytes()[seen:]
    assert b"deadlock detected" not in log, Path(postgres.log).name
    states = await rows.fetch(
        "SELECT state, count(*) FROM points_ledger.transactions WHERE tenant = $1 GROUP BY 1", tenant
    )
    assert dict(map(tuple, states)) == {"confirmed": 6 * 40}


async def test_an_account_that_is_opened_while_a_batch_begins_is_found_at_a_second_look(
    rows: asyncpg.Connection, ledgers: list[Ledger], tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read, but not locked: a confirm must neither change it nor end as a fault of ours."""
    read_batch = store.read_batch
    held_meanwhile = held(tenant, "t-1")
    looks = 0

    async def late(connection: asyncpg.Connection, *named: Any) -> store.Read:
        nonlocal looks
        looks += 1
        if looks == 1:
            await open_account(rows, tenant, "ann", 100)
            await rows.execute("UPDATE points_ledger.accounts SET available = 95, held = 5 WHERE tenant = $1", tenant)
            await write(rows, new=[held_meanwhile])
        return await read_batch(connection, *named)

    monkeypatch.setattr(store, "read_batch", late)

    answer = await ledgers[0].carry_out(Order(Confirm(tenant, "shop", "t-1", "ann"), told))

    assert answer.body == b'""'
    assert looks == 2
    assert await what_does_not_add_up(rows, tenant) == []
