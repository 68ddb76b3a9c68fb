"""The audits are sealed: what was changed afterwards is named."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from platform_testing.databases import MigratedDatabase
from shared.db import Database
from shared.seals.sealing import Sealing
from sqlalchemy.ext.asyncio import AsyncEngine
from sso_issuer.__main__ import cli
from sso_issuer.sealed import sealed_tables
from sso_issuer.settings import RetentionSettings
from sso_issuer.tables import authority_events, seals
from typer.testing import CliRunner


@pytest.fixture
def retention(migrated_database: MigratedDatabase, monkeypatch: pytest.MonkeyPatch) -> RetentionSettings:
    url = migrated_database("sso_issuer")
    monkeypatch.setenv("ISSUER_DATABASE_URL", url)
    given: dict[str, Any] = {"database_url": url, "authority_events_kept": timedelta(days=2)}
    monkeypatch.setenv("ISSUER_AUTHORITY_EVENTS_KEPT", "P2D")
    return RetentionSettings(**given)


def test_every_column_of_both_audits_is_sealed(retention: RetentionSettings) -> None:
    for sealed in sealed_tables(retention):
        assert set(sealed.columns[sealed.version]) == set(sealed.table.columns)


async def test_verify_names_a_row_of_the_audit_that_was_changed_but_none_that_retention_deleted(
    retention: RetentionSettings, owner: AsyncEngine, tenant: str
) -> None:
    rows = [
        {"tenant": tenant, "event_id": name, "event": "refused", "reason": "invalid_grant", "request_id": "r"}
        | {"happened_at": sa.func.now() - timedelta(days=days)}
        for name, days in (("old", 3), ("a", 1), ("b", 1))
    ]
    async with owner.begin() as connection:
        for row in rows:
            await connection.execute(sa.insert(authority_events).values(**row))
    database = Database(retention.database_url.get_secret_value())
    try:
        await Sealing(database, seals, sealed_tables(retention)).seal()
    finally:
        await database.dispose()

    async def verified() -> list[str]:
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["verify", "--at-most", "10000"])
        assert result.exit_code in {0, 1}, result.output
        return [line for line in result.stdout.splitlines() if f"tenant {tenant}" in line]

    columns = authority_events.c
    of_row = sa.and_(columns.tenant == tenant, columns.event_id == "old")
    async with owner.begin() as connection:
        await connection.execute(sa.delete(authority_events).where(of_row))
    assert await verified() == []
    of_row = sa.and_(columns.tenant == tenant, columns.event_id == "a")
    async with owner.begin() as connection:
        await connection.execute(sa.update(authority_events).where(of_row).values(reason="invalid_client"))
    (line,) = await verified()
    assert line.startswith(f"authority_events of tenant {tenant}, seal 1: event_id a, of ")
    assert line.endswith("was changed after it was sealed")
    of_other = sa.and_(columns.tenant == tenant, columns.event_id == "b")
    async with owner.begin() as connection:
        await connection.execute(sa.update(authority_events).where(of_row).values(reason="invalid_grant"))
        await connection.execute(sa.delete(authority_events).where(of_other))
    (line,) = await verified()
    assert "a row is missing behind event_id a, of " in line
