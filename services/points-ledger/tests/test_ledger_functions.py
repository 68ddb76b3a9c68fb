"""The functions with which a batch is written where the tables are distributed by tenant."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from platform_testing.tenant_rules import breaches
from platform_testing.tenant_watch import LAYOUT
from points_ledger import statements, store
from points_ledger.accounts.writing import Maker, write_credits
from points_ledger.domain.accounts import Account, Entry, Kind
from points_ledger.domain.transactions import State, Transaction
from points_ledger.events import entry_made, transaction_moved
from points_ledger.tables import metadata
from shared.distributed_functions import DistributedFunction, functions_of
from shared.tenant_statements import ON_ONE_SERVER

NOW = datetime(2026, 11, 30, tzinfo=UTC)
FUNCTIONS = functions_of(metadata)
RUNBOOK = Path(__file__).parents[3] / "docs" / "operate" / "citus.md"


@pytest.mark.parametrize("function", FUNCTIONS, ids=[function.name for function in FUNCTIONS])
def test_each_of_their_statements_could_run_on_the_server_of_its_tenant(function: DistributedFunction) -> None:
    assert [breach for one in function.statements for breach in breaches(one, LAYOUT)] == []


@pytest.mark.parametrize("function", FUNCTIONS, ids=[function.name for function in FUNCTIONS])
async def test_they_find_their_tables_whatever_the_caller_has_set(
    rows: asyncpg.Connection, function: DistributedFunction
) -> None:
    """Citus passes no setting of a transaction on to the server that carries the function out."""
    settings = await rows.fetchval("SELECT proconfig FROM pg_proc WHERE oid = to_regprocedure($1)", function.signature)
    assert sorted(settings) == [
        *("enable_hashjoin=off", "enable_mergejoin=off", "enable_seqscan=off", "enable_sort=off", "jit=off"),
        "search_path=pg_catalog, pg_temp",
    ]


def test_the_runbook_finds_each_of_them() -> None:
    (pattern,) = re.findall(r"proname ~ '(.+)'", RUNBOOK.read_text())
    assert [function.name for function in FUNCTIONS if not re.search(pattern, function.name)] == []


def test_only_a_batch_of_one_tenant_calls_them() -> None:
    for sent, function in zip(
        (statements.WRITE_CHANGES, statements.TELL, statements.WRITE_CREDITS), FUNCTIONS, strict=True
    ):
        assert f"SELECT points_ledger.{function.name}(" in sent.of_one_tenant
        assert function.name not in sent.of_several
        assert sent.of_several.endswith(ON_ONE_SERVER)
        assert sent.of_one_tenant.startswith(statements.DATED)
        assert sent.of_several.startswith(statements.DATED)


@pytest.fixture
async def begun(rows: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """In a transaction that is rolled back."""
    transaction = rows.transaction()
    await transaction.start()
    yield rows
    await transaction.rollback()


async def test_the_function_writes_what_the_statement_writes(begun: asyncpg.Connection, tenant: str) -> None:
    """Each of the five parts, with values that are easily lost on the way: none, and quotation marks."""
    tenants = {"of several tenants": None, "of one tenant": tenant}
    written = {}
    for way, only in tenants.items():
        trying = begun.transaction()
        await trying.start()
        await write_everything(begun, tenant, only)
        written[way] = await everything(begun, tenant)
        await trying.rollback()

    assert written["of one tenant"] == written["of several tenants"]
    assert [len(found) for found in written["of one tenant"]] == [2, 2, 1, 2]


async def test_the_function_of_credits_writes_what_the_statement_writes(begun: asyncpg.Connection, tenant: str) -> None:
    written = {}
    for way, only in {"of several tenants": None, "of one tenant": tenant}.items():
        trying = begun.transaction()
        await trying.start()
        await open_accounts(begun, tenant)
        entries = [
            Entry(
                tenant, user, number, Kind.CREDIT, 7, 7 * number, "", f'r "{number}"', "it's", NOW, "client", None, "x"
            )
            for user, number in (("bob", 1), ("ann", 1), ("bob", 2))
        ]
        await write_credits(
            begun,
            owner=tenant,
            tenant=only,
            now=NOW,
            accounts=[Account(tenant, "bob", 14, 0, 2), Account(tenant, "ann", 7, 0, 1)],
            entries=entries,
            maker=Maker("client", None, "x"),
            events=[(tenant, event) for entry in entries if (event := entry_made(entry)) is not None],
        )
        written[way] = await everything(begun, tenant)
        await trying.rollback()

    accounts, _, booked, told = written["of one tenant"]
    assert written["of several tenants"] == written["of one tenant"]
    assert booked == sorted(tuple(entry) for entry in entries)
    assert [row[1:5] for row in accounts] == [("ann", 7, 0, 1), ("bob", 14, 0, 2)]
    assert [row[2] for row in told] == [3]


async def test_a_function_without_rows_changes_nothing(begun: asyncpg.Connection, tenant: str) -> None:
    await begun.execute(
        *store.changing(
            tenant=tenant, now=NOW, accounts=[], new_transactions=[], changed_transactions=[], new_entries=[]
        )
    )
    assert await everything(begun, tenant) == [[], [], [], []]


async def test_a_row_that_another_batch_has_inserted_is_named_as_by_the_statement(
    begun: asyncpg.Connection, tenant: str
) -> None:
    await open_accounts(begun, tenant)
    for _ in range(2):
        error = None
        try:
            async with begun.transaction():
                await write_new(begun, tenant, [transaction(tenant, "x")])
        except asyncpg.UniqueViolationError as raised:
            error = raised
    assert error is not None
    assert error.constraint_name == "transactions_pkey"


def transaction(tenant: str, name: str, state: State = State.HELD) -> Transaction:
    ended = None if state is State.HELD else NOW
    return Transaction(tenant, "shop", name, "ann", state, 5, 0, 0, 'a "mug"; it\'s', NOW, NOW, ended)


async def write_new(connection: asyncpg.Connection, tenant: str, new: list[Transaction]) -> None:
    await connection.execute(
        *store.changing(
            tenant=tenant, now=NOW, accounts=[], new_transactions=new, changed_transactions=[], new_entries=[]
        )
    )


async def open_accounts(connection: asyncpg.Connection, tenant: str) -> None:
    for user in ("ann", "bob"):
        await connection.execute("INSERT INTO points_ledger.accounts VALUES ($1, $2, 0, 0, 0, $3)", tenant, user, NOW)


async def write_everything(connection: asyncpg.Connection, tenant: str, only: str | None) -> None:
    await open_accounts(connection, tenant)
    await write_new(connection, tenant, [transaction(tenant, "known")])
    entry = Entry(tenant, "ann", 1, Kind.CREDIT, 7, 7, "", "r", "", NOW, "client", None, None)
    moved = transaction_moved(transaction(tenant, "new"))
    made = entry_made(entry)
    assert moved is not None
    assert made is not None
    await connection.execute(
        *store.changing(
            tenant=only,
            now=NOW,
            accounts=[Account(tenant, "ann", 2, 5, 1, None), Account(tenant, "bob", 0, 0, 0, NOW)],
            new_transactions=[transaction(tenant, "new")],
            changed_transactions=[transaction(tenant, "known", State.ROLLED_BACK)],
            new_entries=[entry],
            events=[(tenant, moved), (tenant, made)],
        )
    )


async def everything(connection: asyncpg.Connection, tenant: str) -> list[list[tuple[object, ...]]]:
    columns = {
        "accounts": "*",
        "transactions": "*",
        "entries": "*",
        # Not what chance and the clock give.
        "event_batches": "tenant, owner, size, (events::json -> 0) ->> 'type', (events::json -> 0) ->> 'data'",
    }
    found = []
    for table, listed in columns.items():
        query = f"SELECT {listed} FROM points_ledger.{table} WHERE tenant = $1 ORDER BY 1, 2, 3"  # noqa: S608 — see above
        found.append([tuple(row) for row in await connection.fetch(query, tenant)])
    return found
