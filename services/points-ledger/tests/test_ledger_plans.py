"""What the planner does with the hot statements on a database that is as young as can be: it has no statistics yet."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import asyncpg
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.databases import MigratedDatabase, new_database, owner_url
from platform_testing.plans import as_sent, connected, indexes_of, kept_plan, rows_looked_at, scans_of
from points_ledger import statements
from points_ledger.accounts import queries
from points_ledger.domain.transactions import State
from points_ledger.eai import queries as eai
from points_ledger.holds import queries as holds
from points_ledger.reconciliations import queries as reconciliations
from points_ledger.seals.sealed import SEALED_ENTRIES
from points_ledger.store import AccountKey
from points_ledger.tables import seals
from shared.seals.domain import Seal
from shared.tenant_statements import Statement
from sqlalchemy import Executable
from sqlalchemy.ext.asyncio import AsyncConnection

Form = Callable[[Statement], str]
#: What is sent for a batch of one tenant, and of several.
FORMS: tuple[Form, ...] = (attrgetter("of_one_tenant"), attrgetter("of_several"))


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
        (statements.LOCK_ACCOUNTS, {"accounts_pkey": ["tenant", "user_id"]}),
        (
            statements.read_batch_with(4),
            {
                "accounts_pkey": ["tenant", "user_id"],
                "transactions_pkey": ["tenant", "vendor_id", "transaction_id"],
                "transactions_held_by_user_idx": ["tenant", "user_id", "expires_at"],
            },
        ),
        (
            statements.READ_ENTRIES,
            {
                "entries_tenant_user_id_kind_source_reference_key": [
                    *("tenant", "user_id", "kind", "source", "reference")
                ]
            },
        ),
        (statements.READ_ANSWERS, {"idempotent_answers_pkey": ["tenant", "client_id", "key"]}),
        (
            statements.WRITE_CHANGES,
            {
                "accounts_pkey": ["tenant", "user_id"],
                "transactions_pkey": ["tenant", "vendor_id", "transaction_id"],
            },
        ),
        (statements.WRITE_CREDITS, {"accounts_pkey": ["tenant", "user_id"]}),
        (statements.TOUCH_TRANSACTIONS, {"transactions_pkey": ["tenant", "vendor_id", "transaction_id"]}),
        (statements.TOUCH_ANSWERS, {"idempotent_answers_pkey": ["tenant", "client_id", "key"]}),
    ],
    ids=["lock", "batch", "entries", "answers", "write", "credits", "touch transactions", "touch answers"],
)
async def test_each_row_is_looked_up_by_its_whole_key(
    young: asyncpg.Connection, statement: Statement, looked_up_by: dict[str, list[str]]
) -> None:
    found = await indexes_of(young, statement.of_several)
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


NOW = datetime(2026, 11, 29, tzinfo=UTC)
ASKED: dict[str, Any] = {"after": eai.TransactionPlace(NOW, "t"), "limit": 100}


async def reads_by_state(young: asyncpg.Connection, statement: str) -> int:
    """Fails unless all rows come in the order of the index, of each state by themselves; returns of how many."""
    plan = await kept_plan(young, statement)
    scans = scans_of(plan)
    assert {scan.name for scan in scans} == {"transactions_by_state_idx"}
    for column in ("tenant = ", "vendor_id = ", "state = ", "created_at"):
        assert all(column in scan.condition for scan in scans), plan
    assert not any("Bitmap" in line for line in plan), plan
    # What the parts have found together may be sorted, for it is little.
    assert not any("Sort Key: " in line and "created_at" in line for line in plan), plan
    return len(scans)


@pytest.mark.parametrize("state", [None, *State])
@pytest.mark.parametrize("since", [None, NOW])
async def test_a_page_of_transactions_is_read_in_the_order_of_its_index(
    young: asyncpg.Connection, young_url: str, state: State | None, since: datetime | None
) -> None:
    statement = await as_sent(
        young_url,
        lambda connection: eai.read_transactions(connection, "demo", "shop", state=state, since=since, **ASKED),
    )
    assert await reads_by_state(young, statement) == {None: len(State), State.EXPIRED: 2}.get(state, 1)


FEW = 20
MANY = 10_000
#: Where a page of as many rows begins.
PLACES = {"first": 0, "in the middle": MANY // 2, "last": MANY - 5}


@pytest.fixture(scope="module")
def filled_url(postgres: EmbeddedPostgres) -> str:
    """A vendor's transactions, one a second, most of them confirmed, with the statistics of a table that is no longer
    young."""
    new_database(postgres, "points_ledger", "points_ledger_filled")
    url = owner_url(postgres, "points_ledger_filled")
    asyncio.run(fill(url))
    return url


async def fill(url: str) -> None:
    async with connected(url) as connection:
        await connection.execute(
            "INSERT INTO points_ledger.transactions"
            " SELECT 'demo', 'shop', 't-' || n, 'ada', 'held', 1, 0, 0, '', at, at, NULL, at"
            " FROM generate_series(1, $2::int) n, LATERAL (SELECT $1::timestamptz + n * interval '1 s' AS at) AS made",
            NOW,
            MANY,
        )
        await connection.execute(
            "UPDATE points_ledger.transactions"
            " SET state = to_be, deducted = (to_be = 'confirmed')::int, ended_at = created_at"
            " FROM (SELECT 't-' || n AS id, CASE n % 40 WHEN 0 THEN 'rolled_back' WHEN 10 THEN 'expired'"
            " ELSE 'confirmed' END AS to_be FROM generate_series(1, $1::int) n WHERE n <> 20) AS ended"
            " WHERE transaction_id = ended.id",
            MANY,
        )
        await connection.execute("ANALYZE points_ledger.transactions")


@pytest.fixture
async def filled(filled_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(filled_url) as connection:
        yield connection


def page_of_few(state: State | None, behind: int) -> str:
    """The parameters of a page, in the order of its statement. It ends before `infinity`, when all holds have ended."""
    page = ["'demo'", "'shop'", f"'{NOW + timedelta(seconds=behind)}'", "''", "'infinity'", str(FEW)]
    return ", ".join([page.pop(4), *page] if state is State.HELD else page)


@pytest.mark.parametrize("behind", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("state", [None, *State])
async def test_a_page_of_transactions_looks_at_few_rows_more_than_it_has(
    filled: asyncpg.Connection, filled_url: str, state: State | None, behind: int
) -> None:
    """However many there are of other states, and of its own before and behind it."""
    statement = await as_sent(
        filled_url,
        lambda connection: eai.read_transactions(connection, "demo", "shop", state=state, since=None, **ASKED),
    )
    assert await rows_looked_at(filled, statement, page_of_few(state, behind), "transactions") <= 1.5 * FEW


async def test_a_page_of_all_states_passes_few_holds_that_have_ended(
    filled: asyncpg.Connection, filled_url: str
) -> None:
    """Until a vacuum has been there, the index has an entry of each."""
    statement = await as_sent(
        filled_url,
        lambda connection: eai.read_transactions(connection, "demo", "shop", state=None, since=None, **ASKED),
    )
    await filled.execute(f"PREPARE page AS {statement}")
    plan = await filled.fetch(f"EXPLAIN (ANALYZE, BUFFERS) EXECUTE page ({page_of_few(None, 100)})")
    held = "\n".join(row[0] for row in plan).partition("(state = 'held'::text)")[2]
    read = re.search(r"Buffers: .*", held)
    assert read, plan
    assert sum(map(int, re.findall(r"(?:hit|read)=(\d+)", read[0]))) < 2 * FEW, held


async def test_a_page_of_changes_is_read_in_the_order_of_its_index(young: asyncpg.Connection, young_url: str) -> None:
    statement = await as_sent(
        young_url,
        lambda connection: eai.read_changes(
            connection, "demo", "shop", state=State.HELD, since=NOW, updated_since=NOW, **ASKED
        ),
    )
    assert (await indexes_of(young, statement)).keys() == {"transactions_by_change_idx"}


@pytest.mark.parametrize(
    ("user_id", "vendor_id", "index"),
    [
        (None, None, "transactions_held_by_age_idx"),
        (None, "shop", "transactions_by_state_idx"),
        ("ada", "shop", "transactions_held_by_user_idx"),
    ],
)
async def test_a_page_of_open_holds_is_read_among_open_holds_alone(
    young: asyncpg.Connection, young_url: str, user_id: str | None, vendor_id: str | None, index: str
) -> None:
    statement = await as_sent(
        young_url,
        lambda connection: holds.read_holds(
            connection, "demo", user_id=user_id, vendor_id=vendor_id, older_than_seconds=5, after=None, limit=100
        ),
    )
    assert (await indexes_of(young, statement)).keys() == {index}


async def test_a_balance_of_the_past_looks_up_what_it_needs(young: asyncpg.Connection, young_url: str) -> None:
    """Neither all entries of the account nor all of its transactions."""
    statement = await as_sent(young_url, lambda connection: queries.read_balance_at(connection, "demo", "ada", NOW))
    found = await indexes_of(young, statement)
    assert found.keys() == {
        "accounts_pkey",
        "entries_pkey",
        "transactions_held_by_user_idx",
        "transactions_ended_by_length_idx",
    }
    assert "number" in found["entries_pkey"]
    assert found["transactions_held_by_user_idx"].count("expires_at ") == 2
    condition = found["transactions_ended_by_length_idx"]
    assert "tenant = " in condition
    assert "user_id = " in condition
    assert ' = "*VALUES*".column1' in condition
    assert re.search(r"\(ended_at >= \$\d+\)", condition), "not before the instant"
    assert re.search(r"\(ended_at < \(\$\d+ \+ \"\*VALUES\*\"\.column2\)\)", condition), "nor long after it"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("statement", [statements.SUM_DUE, statements.COUNT_OPEN])
async def test_what_is_due_is_found_among_the_held_rows_of_its_account(
    young: asyncpg.Connection, statement: Statement, form: Form
) -> None:
    found = await indexes_of(young, form(statement))
    assert "transactions_held_by_user_idx" in found
    assert not found.keys() - {"transactions_held_by_user_idx", "transactions_pkey", "accounts_pkey"}


@pytest.mark.parametrize("form", FORMS)
async def test_holds_to_be_released_are_looked_up_by_their_keys(young: asyncpg.Connection, form: Form) -> None:
    found = await indexes_of(young, form(statements.RELEASE_DUE))
    assert found.keys() == {"transactions_pkey", "accounts_pkey"}


@pytest.mark.parametrize("since", [None, NOW])
@pytest.mark.parametrize(
    ("account", "index"),
    [(None, "transactions_held_by_expiry_idx"), (AccountKey("demo", "ada"), "transactions_held_by_user_idx")],
)
async def test_a_look_for_expired_holds_reads_no_open_ones(
    young: asyncpg.Connection, young_url: str, since: datetime | None, account: AccountKey | None, index: str
) -> None:
    statement = await as_sent(
        young_url, lambda connection: holds.expired_holds(connection, 500, since=since, account=account)
    )
    found = await indexes_of(young, statement)
    assert found.keys() == {index}
    assert "expires_at <= now()" in found[index]
    assert since is None or "expires_at >= " in found[index]


async def test_entries_to_be_sealed_are_found_by_their_time(young: asyncpg.Connection, young_url: str) -> None:
    """Neither the look for tenants that wait nor the rows of a seal reads all entries."""
    last = Seal("demo", "entries", 1, 1, 1, NOW, ["ada", 1], NOW, ["ada", 1], NOW, b"", None, b"", NOW)
    for statement in (
        SEALED_ENTRIES.waiting(seals, NOW, 100),
        SEALED_ENTRIES.rows("demo", 1, after=last, before=NOW, limit=10),
        SEALED_ENTRIES.rows("demo", 1, after=last, within=last, limit=10),
    ):

        async def send(connection: AsyncConnection, statement: Executable = statement) -> None:
            await connection.execute(statement)

        found = await indexes_of(young, await as_sent(young_url, send))
        assert found.keys() <= {"entries_by_time_idx", "seals_pkey"}
        assert "created_at " in found["entries_by_time_idx"]


async def test_a_slice_of_a_reconciliation_looks_up_what_the_list_names(
    young: asyncpg.Connection, young_url: str
) -> None:
    statement = await as_sent(
        young_url, lambda connection: reconciliations.read_named(connection, "demo", "shop", ["a", "b"])
    )
    found = await indexes_of(young, statement)
    assert found.keys() == {"transactions_pkey"}
    assert all(f"{column} " in found["transactions_pkey"] for column in ("tenant", "vendor_id", "transaction_id"))


async def test_a_slice_of_the_range_is_read_in_the_order_of_its_index(
    young: asyncpg.Connection, young_url: str
) -> None:
    statement = await as_sent(
        young_url,
        lambda connection: reconciliations.read_created(
            connection, "demo", "shop", reconciliations.Place(NOW, "t"), NOW, 100
        ),
    )
    assert await reads_by_state(young, statement) == len(State)
