"""The role that serves owns nothing: what it must not do, it cannot do, and cannot allow itself either."""

import importlib
from contextlib import suppress

import asyncpg
import pytest
import sqlalchemy as sa
from platform_testing.databases import MigratedDatabase
from shared.tables import is_append_only, is_of_owner

_TABLES = {
    "points_ledger": "points_ledger.tables",
    "sso_issuer": "sso_issuer.tables",
    "partner_onboarding": "partner_onboarding.tables",
    "token_service": "token_service.tables",
}
_APPEND_ONLY = {
    "points_ledger": {"entries", "seals"},
    "sso_issuer": {"issuances", "authority_events", "receipt_keys", "leaked_receipt_keys", "seals"},
    "partner_onboarding": {"audit_entries", "seals"},
    "token_service": set[str](),
}
PACKAGES = sorted(_TABLES)


def _metadata(package: str) -> sa.MetaData:
    metadata: sa.MetaData = importlib.import_module(_TABLES[package]).metadata
    return metadata


@pytest.mark.parametrize("package", PACKAGES)
async def test_the_serving_role_owns_nothing_and_may_do_what_each_table_needs(
    migrated_database: MigratedDatabase, package: str
) -> None:
    connection = await asyncpg.connect(migrated_database(package))
    try:
        owners = await connection.fetch("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = $1", package)
        assert [row["tableowner"] for row in owners] == [f"{package}_owner"]
        tables = {table.name: table for table in _metadata(package).sorted_tables}
        assert {name for name, table in tables.items() if is_append_only(table.info)} == _APPEND_ONLY[package]
        for name, table in tables.items():
            may = {
                privilege
                for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
                if await connection.fetchval(
                    "SELECT has_table_privilege($1::text, $2)", f'{package}."{name}"', privilege
                )
            }
            needed = {"SELECT", "INSERT"} if is_append_only(table.info) else {"SELECT", "INSERT", "UPDATE", "DELETE"}
            if is_of_owner(table.info):
                needed = {"SELECT"}
            assert may == needed, name
        for statement in (
            f"CREATE TABLE {package}.another (n int)",
            "CREATE SCHEMA another",
            f"INSERT INTO {package}.alembic_version VALUES ('x')",  # noqa: S608 — our own names
            f"DROP SCHEMA {package} CASCADE",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("package", "table"), [(package, table) for package in PACKAGES for table in sorted(_APPEND_ONLY[package])]
)
async def test_what_is_append_only_cannot_be_changed_nor_the_right_to_it_be_given(
    migrated_database: MigratedDatabase, package: str, table: str
) -> None:
    connection = await asyncpg.connect(migrated_database(package))
    place = f"{package}.{table}"
    try:
        for statement in (
            f"UPDATE {place} SET tenant = 'other'",  # noqa: S608 — our own names
            f"DELETE FROM {place}",  # noqa: S608 — see above
            f"TRUNCATE {place}",
            f"ALTER TABLE {place} DISABLE TRIGGER ALL",
            f"ALTER TABLE {place} OWNER TO {package}",
            f"DROP TABLE {place}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        # PostgreSQL warns where nothing can be granted, and refuses where the grantor has no such right at all.
        with suppress(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"GRANT UPDATE, DELETE ON {place} TO {package}")
        for privilege in ("UPDATE", "DELETE", "TRUNCATE"):
            assert not await connection.fetchval("SELECT has_table_privilege($1::text, $2)", place, privilege)
    finally:
        await connection.close()
