"""The audit is sealed: what was changed afterwards is named."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from local_platform.embedded_postgres import EmbeddedPostgres
from partner_onboarding.register.audit.sealed import sealed_audit
from partner_onboarding.register.tables import audit_entries, seals, tenants
from partner_onboarding.settings import AuditSettings
from platform_testing.databases import owner_url
from pydantic import SecretStr
from shared.db import Database
from shared.seals.checking import Checking
from shared.seals.sealing import Sealing
from sqlalchemy.ext.asyncio import AsyncEngine


def test_every_column_of_the_audit_is_sealed() -> None:
    sealed = sealed_audit(AuditSettings(database_url=SecretStr("postgresql://nobody:nothing@127.0.0.1:9/nowhere")))
    assert set(sealed.columns[sealed.version]) == set(audit_entries.columns)


@pytest.mark.parametrize("change", [{"actor": "somebody"}, {"details": {"other": 1}}, {"subject": "other"}])
async def test_an_entry_that_was_changed_or_removed_is_named(
    owner: AsyncEngine, postgres: EmbeddedPostgres, tenant: str, change: dict[str, object]
) -> None:
    columns = audit_entries.c
    # No other test knows this tenant, and no service writes to its audit: a chore may seal what lies there at any time.
    mine = columns.tenant == tenant
    async with owner.begin() as connection:
        row = {"tenant": tenant, "actor_kind": "shell", "actor": "", "action": "tenant_created", "subject": "x"}
        written = {"recorded_at": sa.func.now() - timedelta(hours=1), "details": {"b": "ü", "a": None}}
        await connection.execute(sa.insert(tenants).values(tenant=tenant, name="T"))
        await connection.execute(sa.insert(audit_entries).values(**row, **written))
    url = owner_url(postgres, "partner_onboarding")
    sealed = [sealed_audit(AuditSettings(database_url=SecretStr(url)))]
    database = Database(url)
    try:
        await Sealing(database, seals, sealed).seal()
        checking = Checking(database.engine, seals, sealed, at_most=10_000)

        async def differences() -> list[str]:
            return [line for line in (await checking.check()).differences if f"tenant {tenant}," in line]

        assert await differences() == []
        async with owner.begin() as connection:
            await connection.execute(sa.update(audit_entries).where(mine, columns.subject == "x").values(**change))
        (changed,) = await differences()
        assert "was changed after it was sealed" in changed
        async with owner.begin() as connection:
            await connection.execute(sa.delete(audit_entries).where(mine))
        (missing,) = await differences()
        assert "missing at its beginning" in missing
    finally:
        await database.dispose()
