"""What the planner does with the hot statements on a database that is as young as can be: it has no statistics yet."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from platform_testing.databases import MigratedDatabase
from platform_testing.plans import as_sent, connected, indexes_of
from points_ledger import store
from points_ledger.accounts import queries


@pytest.fixture
def young_url(young_database: MigratedDatabase) -> str:
    return young_database("points_ledger")


@pytest.fixture
async def young(young_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(young_url) as connection:
        yield connection


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


async def test_a_balance_is_read_with_the_held_rows_of_its_account_alone(
    young: asyncpg.Connection, young_url: str
) -> None:
    """Also by a connection that keeps its plan: it must not go through all transactions of the tenant."""
    statement = await as_sent(young_url, lambda connection: queries.read_balance(connection, "demo", "ada"))
    found = await indexes_of(young, statement)
    assert found.keys() == {"accounts_pkey", "transactions_held_by_user_idx"}
    assert all(f"{column} " in found["transactions_held_by_user_idx"] for column in ("tenant", "user_id", "expires_at"))
