"""The database refuses by itself what must never be, whatever the program above it does."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from points_ledger.tables import events, metadata, sandboxes
from shared.migrating import differences, downgrade, upgrade
from sqlalchemy.ext.asyncio import create_async_engine

ACCOUNT = {"tenant": "'T'", "user_id": "'ann'", "available": "60", "held": "40", "entries": "1", "opened_at": "now()"}
ENTRY = {
    "tenant": "'T'", "user_id": "'ann'", "number": "2", "kind": "'credit'", "points": "5", "balance": "105",
    "source": "''", "reference": "'r-2'", "reason": "''", "created_at": "now()",
}  # fmt: skip
HELD = {
    "tenant": "'T'", "vendor_id": "'shop'", "transaction_id": "'t'", "user_id": "'ann'", "state": "'held'",
    "points": "40", "deducted": "0", "refunded": "0", "description": "''", "created_at": "now()",
    "expires_at": "now()", "ended_at": "NULL", "touched_at": "now()",
}  # fmt: skip
CONFIRMED = HELD | {"state": "'confirmed'", "ended_at": "now()", "deducted": "40"}
REJECTED = HELD | {"state": "'rejected'", "ended_at": "now()", "expires_at": "NULL"}
CANCELLED = REJECTED | {"state": "'cancelled'", "points": "0"}
VENDOR = {"tenant": "'T'", "vendor_id": "'shop'", "hold_seconds": "60"}
ACT = {"tenant": "'T'", "act_id": "'a'", "told": "'{}'", "attempts": "0"}
SEAL = {
    "tenant": "'T'", "chain": "'entries'", "number": "1", "version": "1", "rows": "1",
    "first_at": "now()", "first_key": "'[]'", "last_at": "now()", "last_key": "'[]'",
    "until": "now()", "content": "sha256('')", "previous": "NULL", "hash": "sha256('')", "sealed_at": "now()",
}  # fmt: skip
MOST = 9_007_199_254_740_991

#: (table, a good row, what is changed in it) → the constraint that refuses it.
REFUSED = [
    ("accounts", ACCOUNT, {"available": "-1"}, "accounts_available_check"),
    ("accounts", ACCOUNT, {"held": "-1"}, "accounts_held_check"),
    ("accounts", ACCOUNT, {"available": f"{MOST - 39}"}, "accounts_total_check"),
    ("accounts", ACCOUNT, {"entries": "-1"}, "accounts_entries_check"),
    ("accounts", ACCOUNT, {"closed_at": "now()"}, "accounts_closed_check"),
    ("entries", ENTRY, {"kind": "'lapse'"}, "entries_points_check"),
    ("entries", ENTRY, {"kind": "'gift'"}, "entries_kind_check"),
    ("entries", ENTRY, {"points": "0"}, "entries_points_check"),
    ("entries", ENTRY, {"points": "-5"}, "entries_points_check"),
    ("entries", ENTRY, {"kind": "'refund'", "points": "-5"}, "entries_points_check"),
    ("entries", ENTRY, {"kind": "'debit'"}, "entries_points_check"),
    ("entries", ENTRY, {"kind": "'redemption'"}, "entries_points_check"),
    ("entries", ENTRY, {"balance": "-1"}, "entries_balance_check"),
    ("entries", ENTRY, {"balance": f"{MOST + 1}"}, "entries_balance_check"),
    ("entries", ENTRY, {"number": "0"}, "entries_number_check"),
    ("entries", ENTRY, {"number": "1"}, "entries_pkey"),
    ("entries", ENTRY, {"reference": "'r-1'"}, "entries_tenant_user_id_kind_source_reference_key"),
    ("entries", ENTRY, {"user_id": "'nobody'"}, "entries_tenant_user_id_fkey"),
    ("transactions", CONFIRMED, {"state": "'open'", "deducted": "0"}, "transactions_state_check"),
    ("transactions", HELD, {"points": "0"}, "transactions_points_check"),
    ("transactions", CANCELLED, {"points": "1"}, "transactions_points_check"),
    ("transactions", HELD, {"deducted": "1"}, "transactions_deducted_check"),
    ("transactions", CONFIRMED, {"deducted": "0"}, "transactions_deducted_check"),
    ("transactions", CONFIRMED, {"deducted": "41"}, "transactions_deducted_check"),
    ("transactions", CONFIRMED, {"refunded": "41"}, "transactions_refunded_check"),
    ("transactions", CONFIRMED, {"refunded": "-1"}, "transactions_refunded_check"),
    ("transactions", HELD, {"ended_at": "now()"}, "transactions_ended_check"),
    ("transactions", CONFIRMED, {"ended_at": "NULL"}, "transactions_ended_check"),
    ("transactions", HELD, {"expires_at": "NULL"}, "transactions_expires_check"),
    ("transactions", REJECTED, {"expires_at": "now()"}, "transactions_expires_check"),
    ("transactions", HELD, {"transaction_id": "'taken'"}, "transactions_pkey"),
    ("vendors", VENDOR, {"hold_seconds": "0"}, "vendors_hold_seconds_check"),
    ("vendors", VENDOR, {"hold_seconds": "604801"}, "vendors_hold_seconds_check"),
    ("acts", ACT, {"attempts": "-1"}, "acts_attempts_check"),
    ("seals", SEAL, {"number": "0", "previous": "sha256('')"}, "seals_number_check"),
    ("seals", SEAL, {"rows": "2"}, "seals_content_check"),
    ("seals", SEAL, {"rows": "0", "content": "''"}, "seals_content_check"),
    ("seals", SEAL, {"number": "2"}, "seals_previous_check"),
    ("seals", SEAL, {"hash": "''"}, "seals_hash_check"),
]  # fmt: skip


def insert(table: str, row: dict[str, str], tenant: str) -> str:
    values = ", ".join(row.values()).replace("'T'", f"'{tenant}'")
    return f"INSERT INTO points_ledger.{table} ({', '.join(row)}) VALUES ({values})"  # noqa: S608


@pytest.fixture
async def scratch(rows: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """A transaction of which nothing stays."""
    transaction = rows.transaction()
    await transaction.start()
    yield rows
    await transaction.rollback()


@pytest.fixture
async def account(scratch: asyncpg.Connection, tenant: str) -> None:
    """Ann's, with one entry and one hold."""
    await scratch.execute(insert("accounts", ACCOUNT, tenant))
    await scratch.execute(insert("entries", ENTRY | {"number": "1", "reference": "'r-1'"}, tenant))
    await scratch.execute(insert("transactions", HELD | {"transaction_id": "'taken'"}, tenant))


@pytest.mark.parametrize(("table", "good", "changed", "constraint"), REFUSED)
@pytest.mark.usefixtures("account")
async def test_what_must_never_be_is_refused_by_its_constraint(
    table: str, good: dict[str, str], changed: dict[str, str], constraint: str, scratch: asyncpg.Connection, tenant: str
) -> None:
    if table == "accounts":
        good = good | {"user_id": "'bob'"}
    good_row = scratch.transaction()
    await good_row.start()
    await scratch.execute(insert(table, good, tenant))
    await good_row.rollback()

    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await scratch.execute(insert(table, good | changed, tenant))

    assert refused.value.constraint_name == constraint


async def test_every_constraint_is_among_those_that_were_seen_to_refuse(rows: asyncpg.Connection) -> None:
    """NOT NULL is left to the type of the columns; the other primary keys, to what they are; events and sandboxes keep
    no points."""
    found = await rows.fetch(
        "SELECT conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid"
        " WHERE connamespace = 'points_ledger'::regnamespace AND contype <> 'n' AND NOT (relname = ANY($1))",
        [table.name for table in (*events.all(), sandboxes.sandboxes, sandboxes.advances)],
    )
    obvious = {
        "accounts_pkey",
        "acts_pkey",
        "vendors_pkey",
        "idempotent_answers_pkey",
        "seals_pkey",
        "alembic_version_pkc",
    }
    assert {row["conname"] for row in found} - obvious == {constraint for *_, constraint in REFUSED}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE points_ledger.entries SET points = points",
        "UPDATE points_ledger.entries SET reason = 'another' WHERE false",
        "DELETE FROM points_ledger.entries",
        "DELETE FROM points_ledger.entries WHERE false",
        "TRUNCATE points_ledger.entries",
        "TRUNCATE points_ledger.accounts CASCADE",
    ],
)
@pytest.mark.usefixtures("account")
async def test_entries_cannot_be_changed_or_deleted_by_the_services_own_role(
    statement: str, scratch: asyncpg.Connection
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await scratch.execute(statement)


@pytest.mark.usefixtures("account")
async def test_an_account_that_has_entries_cannot_be_deleted(scratch: asyncpg.Connection, tenant: str) -> None:
    # The foreign key's own look at the entries may not lock them, either.
    with pytest.raises((asyncpg.ForeignKeyViolationError, asyncpg.InsufficientPrivilegeError)):
        await scratch.execute("DELETE FROM points_ledger.accounts WHERE tenant = $1", tenant)


async def test_the_tenant_leads_every_key(rows: asyncpg.Connection) -> None:
    """So that tenants can be moved apart."""
    leading = await rows.fetch(
        "SELECT i.indexrelid::regclass::text AS index, a.attname AS first FROM pg_index i"
        " JOIN pg_class t ON t.oid = i.indrelid AND t.relnamespace = 'points_ledger'::regnamespace"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " WHERE i.indisunique AND t.relname <> 'alembic_version'"
    )
    assert leading
    assert {row["first"] for row in leading} == {"tenant"}


async def test_migrations_are_complete(ledger_url: str) -> None:
    engine = create_async_engine(ledger_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(differences, metadata) == []
    finally:
        await engine.dispose()


def test_migrations_go_down_to_nothing_and_up_again(postgres: EmbeddedPostgres) -> None:
    password = secrets.token_urlsafe(16)
    postgres.create_role_and_database("ledger_down_and_up", password)
    url = postgres.url("ledger_down_and_up", "ledger_down_and_up", password)

    def tables() -> set[str]:
        async def read() -> set[str]:
            connection = await asyncpg.connect(url)
            found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'points_ledger'")
            await connection.close()
            return {row["tablename"] for row in found}

        return in_own_loop(read())

    for _ in range(2):
        upgrade(url, "points_ledger")
        assert tables() == {table.name for table in metadata.sorted_tables} | {"alembic_version"}
        downgrade(url, "points_ledger", "base")
        assert tables() == {"alembic_version"}
    upgrade(url, "points_ledger")
    upgrade(url, "points_ledger")  # again: nothing happens
