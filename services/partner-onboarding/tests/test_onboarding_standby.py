"""The audit can be read from a standby, and acts are noted in the primary."""

from collections.abc import Iterator

import pytest
from partner_onboarding.register.build import build_register
from partner_onboarding.register.tables import audit_entries
from partner_onboarding.settings import Settings
from platform_testing.databases import new_database
from platform_testing.standbys import Pair, primary_and_standby
from pydantic import SecretStr
from sqlalchemy import insert

from .onboarding_house import FAST


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with primary_and_standby(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


async def test_the_audit_may_be_as_old_as_the_standby(settings: Settings, servers: Pair) -> None:
    url = new_database(servers.primary, "partner_onboarding")
    known = {"database_url": SecretStr(url), "reports_database_url": SecretStr(servers.of_standby(url))}
    register = build_register(settings.model_copy(update=known), FAST)

    async def note(subject: str) -> None:
        entry = {"actor_kind": "operator", "actor": "boss", "details": {}, "action": "user_changed", "subject": subject}
        async with register.database.transaction() as connection:
            await connection.execute(insert(audit_entries).values(tenant="spring", **entry))

    async def subjects() -> list[str]:
        return [entry.subject for entry in (await register.audit.newest("spring")).items]

    try:
        await register.tenants.create("spring", "Spring", ())
        await note("before")
        async with servers.left_behind():
            await note("after")
            assert (await subjects())[0] == "before"
        assert (await subjects())[:2] == ["after", "before"]
    finally:
        await register.close()
