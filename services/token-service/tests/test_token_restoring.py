"""A restored database gives nobody a token that somebody else has: the service notices it, and changes keys first."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.callers import FakeRegister
from platform_testing.databases import new_database, owner_url
from platform_testing.dumps import dump, restore, run_sql
from platform_testing.serving import running
from shared.dependencies import provided
from token_service.app import create_app
from token_service.keys.ring import KeyRing

from .campaign_house import ORDER, House, refusal
from .conftest import MakeSettings


class Installation:
    """A service with a database of its own."""

    def __init__(
        self,
        postgres: EmbeddedPostgres,
        make_settings: MakeSettings,
        register: FakeRegister,
        campaign: dict[str, str],
        tenant: str,
    ) -> None:
        self.name = f"tokens_{secrets.token_hex(4)}"
        self.url = new_database(postgres, "token_service", self.name)
        self._postgres = postgres
        self._make_settings = make_settings
        self._register = register
        self._campaign = campaign
        self._tenant = tenant

    @property
    def owner_url(self) -> str:
        return owner_url(self._postgres, self.name)

    def new_app(self) -> FastAPI:
        return create_app(self._make_settings(database_url=self.url), register=self._register)

    @asynccontextmanager
    async def serving(self, app: FastAPI | None = None) -> AsyncIterator[House]:
        app = app or self.new_app()
        # The tests need not wait until other processes know a new key.
        provided(app, KeyRing).notice = timedelta(0)
        async with running(app) as client:
            yield House(app, client, self._campaign, self._tenant)

    def drop(self) -> None:
        run_sql(self.owner_url, "DROP SCHEMA token_service CASCADE")

    def move(self) -> None:
        """To another, empty database of the same server."""
        run_sql(self._postgres.url(), f"ALTER DATABASE {self.name} RENAME TO {self.name}_former")
        run_sql(self._postgres.url(), f"CREATE DATABASE {self.name} OWNER {self.name}_owner")


@pytest.fixture
def installation(
    postgres: EmbeddedPostgres,
    make_settings: MakeSettings,
    register: FakeRegister,
    campaign: dict[str, str],
    tenant: str,
) -> Installation:
    return Installation(postgres, make_settings, register, campaign, tenant)


@pytest.mark.parametrize("into", ["the same database", "another database"])
async def test_no_token_is_given_out_again_after_a_restore(
    installation: Installation, tmp_path: Path, into: str
) -> None:
    backup = tmp_path / "backup"
    async with installation.serving() as house:
        kept = [await house.issue() for _ in range(3)]
        dump(installation.owner_url, backup)
    async with installation.serving() as house:
        lost = [await house.issue() for _ in range(3)]
    if into == "another database":
        installation.move()
    else:
        installation.drop()
    restore(installation.owner_url, backup)
    async with installation.serving() as house:
        answer = await house.client.post("/v1/tokens", json=ORDER, headers=house.headers)
        assert refusal(answer) == (503, "temporarily_unavailable")
        again = [await house.issue() for _ in range(6)]
        assert not {*again} & {*kept, *lost}
        for token in (*kept, *again):
            assert (await house.verify(token)).status_code == 200


async def test_a_process_that_outlives_the_restore_forgets_keys_that_the_backup_does_not_have(
    installation: Installation, tmp_path: Path
) -> None:
    """As when a standby takes over that had not everything: no service is restarted for it."""
    backup = tmp_path / "backup"
    app = installation.new_app()
    async with installation.serving(app) as house:
        ring = provided(app, KeyRing)
        before = await house.issue()
        dump(installation.owner_url, backup)
        await ring.rotate(house.tenant, ahead=timedelta(0))
        assert (await house.issue()) != before
        installation.drop()
        restore(installation.owner_url, backup)
        # What the process has drawn it may still give out; a batch needs more.
        orders = [ORDER | {"customer_id": str(number)} for number in range(1500)]
        answer = await house.client.post("/v1/tokens/batch", json=orders, headers=house.headers)
        assert refusal(answer) == (503, "temporarily_unavailable")
        after = await house.issue()
    async with installation.serving() as other:
        for token in (before, after):
            assert (await other.verify(token)).status_code == 200
