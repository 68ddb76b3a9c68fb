"""What the planner does with the hot statements on a database that is as young as can be: it has no statistics yet."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.databases import new_database
from points_ledger import queries, store
from shared.db import Database
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection


@pytest.fixture(scope="module")
def young_url(postgres: EmbeddedPostgres) -> str:
    return new_database(postgres, "points_ledger", "ledger_young")


@pytest.fixture
async def young(young_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(young_url)
    try:
        yield connection
    finally:
        await connection.close()


async def indexes_of(connection: asyncpg.Connection, statement: str) -> dict[str, str]:
    """index → its condition, in the plan that a connection of the ledger keeps; fails where a table is read whole."""
    count = max((int(number) for number in re.findall(r"\$(\d+)", statement)), default=0)
    async with connection.transaction():
        for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
            await connection.execute(f"SET LOCAL {setting} = off")
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE hot AS {statement}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE hot ({', '.join(['NULL'] * count)})")
        await connection.execute("DEALLOCATE hot")
    lines = [row[0] for row in rows]
    plan = "\n".join(lines)
    assert "Seq Scan" not in plan, plan
    found = {}
    for line, condition in zip(lines, [*lines[1:], ""], strict=True):
        if name := re.search(r"Index (?:Only )?Scan using (\w+)", line):
            assert "Index Cond:" in condition, plan
            found[name[1]] = condition
    return found


@pytest.mark.parametrize(
    ("statement", "looked_up_by"),
    [
        (store._LOCK_ACCOUNTS, {"accounts_pkey": ["tenant", "user_id"]}),
        (
            store._READ_TRANSACTIONS,
            {
                "transactions_pkey": ["tenant", "vendor_id", "transaction_id"],
                "transactions_held_by_user_idx": ["tenant", "user_id", "expires_at"],
            },
        ),
        (
            store._READ_ENTRIES,
            {
                "entries_tenant_user_id_kind_source_reference_key": [
                    *("tenant", "user_id", "kind", "source", "reference")
                ]
            },
        ),
        (store._READ_ANSWERS, {"idempotent_answers_pkey": ["tenant", "client_id", "key"]}),
        (
            store._WRITE_CHANGES,
            {
                "accounts_pkey": ["tenant", "user_id"],
                "transactions_pkey": ["tenant", "vendor_id", "transaction_id"],
            },
        ),
        (store._TOUCH_TRANSACTIONS, {"transactions_pkey": ["tenant", "vendor_id", "transaction_id"]}),
        (store._TOUCH_ANSWERS, {"idempotent_answers_pkey": ["tenant", "client_id", "key"]}),
    ],
    ids=["lock", "transactions", "entries", "answers", "write", "touch transactions", "touch answers"],
)
async def test_each_row_is_looked_up_by_its_whole_key(
    young: asyncpg.Connection, statement: str, looked_up_by: dict[str, list[str]]
) -> None:
    found = await indexes_of(young, statement)
    assert found.keys() == looked_up_by.keys()
    for index, columns in looked_up_by.items():
        assert all(f"{column} " in found[index] for column in columns), found[index]


async def as_sent(url: str, query: Callable[[AsyncConnection], Awaitable[object]]) -> str:
    """The statement that a query is to the driver."""
    database = Database(url)
    sent: list[str] = []

    def keep(_connection: Any, _cursor: Any, statement: str, *_: object) -> None:
        sent.append(statement)

    async with database.transaction() as connection:
        event.listen(database.engine.sync_engine, "before_cursor_execute", keep)
        await query(connection)
    await database.dispose()
    return sent[0]


async def test_a_balance_is_read_with_the_held_rows_of_its_account_alone(
    young: asyncpg.Connection, young_url: str
) -> None:
    """Also by a connection that keeps its plan: it must not go through all transactions of the tenant."""
    statement = await as_sent(young_url, lambda connection: queries.read_balance(connection, "demo", "ada"))
    found = await indexes_of(young, statement)
    assert found.keys() == {"accounts_pkey", "transactions_held_by_user_idx"}
    assert all(f"{column} " in found["transactions_held_by_user_idx"] for column in ("tenant", "user_id", "expires_at"))
