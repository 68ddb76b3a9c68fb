"""A service that is nothing but its frame, and a database that belongs to no service."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.callers import ServiceKeys
from platform_testing.serving import PUBLIC_URL
from shared.db import Database
from shared.settings import Mode, ServiceSettings

from .events_world import TABLES, Receiver, World, build, metadata
from .migrated_service import Service

MakeSettings = Callable[..., ServiceSettings]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@pytest.fixture
def make_settings(service_keys: ServiceKeys) -> MakeSettings:
    def make(**changed: object) -> ServiceSettings:
        given: dict[str, object] = {
            "mode": Mode.DEVELOPMENT,
            "port": 8999,
            "database_url": "postgresql://nobody:nothing@127.0.0.1:9/nowhere",
            "public_url": PUBLIC_URL,
            "service_key": service_keys.private("points-ledger"),
            "service_peers": service_keys.peers,
        }
        return ServiceSettings.model_validate(given | changed)

    return make


@pytest.fixture
def settings(make_settings: MakeSettings) -> ServiceSettings:
    return make_settings()


@pytest.fixture
def lifespan() -> Lifespan:
    @contextlib.asynccontextmanager
    async def nothing(_app: FastAPI) -> AsyncIterator[None]:
        yield

    return nothing


@pytest.fixture(scope="session")
def shared_url(postgres: EmbeddedPostgres) -> str:
    """The URL of a database in which the tests of `shared` make their own tables."""
    password = secrets.token_urlsafe(16)
    postgres.create_role_and_database("shared_tests", password)
    return postgres.url("shared_tests", "shared_tests", password)


@pytest.fixture(scope="session")
async def database(shared_url: str) -> AsyncIterator[Database]:
    """Has the tables of events; other modules have databases of their own."""
    database = Database(shared_url, pool_size=20)
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield database
    await database.dispose()


@pytest.fixture
async def world(database: Database, tenant: str) -> AsyncIterator[World]:
    """A topic of events, seen by one tenant of the test's own."""
    receiver = Receiver()
    events = build(database, receiver)
    yield World(database, events, receiver, tenant)
    await events.close()


@pytest.fixture
async def leaves_nothing(database: Database, tenant: str) -> AsyncIterator[None]:
    """What waits for one test's endpoints would otherwise be sent by the next one's, and be in its way."""
    yield
    async with database.transaction() as connection:
        await connection.execute(sa.delete(TABLES.endpoints).where(TABLES.endpoints.c.tenant == tenant))


@pytest.fixture
def service(tmp_path: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Service(tmp_path, postgres)
