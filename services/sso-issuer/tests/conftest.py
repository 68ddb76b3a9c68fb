"""A running issuer, its raw tables, and the world around it (`platform_testing.issuer_world`)."""

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Collection

import httpx
import pytest
from fastapi import FastAPI
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.databases import MigratedDatabase, on_a_busy_machine, owner_url
from platform_testing.issuer_world import FakeLedger, FakeOnboarding, World
from platform_testing.serving import PUBLIC_URL, running
from shared.database_url import DatabaseUrl
from shared.register import Client
from shared.settings import Mode
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sso_issuer.app import create_app
from sso_issuer.settings import Settings
from starlette.types import Receive, Scope, Send

MakeSettings = Callable[..., Settings]
KEY_ENCRYPTION_KEYS = "1:" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="session")
def database_url(migrated_database: MigratedDatabase) -> str:
    return migrated_database("sso_issuer")


@pytest.fixture(scope="session")
def make_settings(database_url: str, service_keys: ServiceKeys) -> MakeSettings:
    def make(**changed: object) -> Settings:
        given: dict[str, object] = {
            "mode": Mode.PRODUCTION,
            "sandboxes": True,
            **on_a_busy_machine(database_url),
            "public_url": PUBLIC_URL,
            "service_key": service_keys.private("sso-issuer"),
            "service_peers": service_keys.peers,
            "ledger_url": "http://ledger.invalid",
            "onboarding_url": "http://onboarding.invalid",
            "key_encryption_keys": KEY_ENCRYPTION_KEYS,
            # Tests that want keys to move move them.
            "upkeep_seconds": 3600,
        }
        return Settings.model_validate(given | changed)

    return make


class Neighbours:
    """Passes calls on to the neighbours that a test has: the tests take turns with one running service."""

    def __init__(self) -> None:
        self.register, self.ledger, self.onboarding = FakeRegister(), FakeLedger(), FakeOnboarding()

    async def check(self, client_id: str, client_secret: str) -> Client | None:
        return await self.register.check(client_id, client_secret)

    async def check_all(self, credentials: Collection[tuple[str, str]]) -> dict[tuple[str, str], Client | None]:
        return await self.register.check_all(credentials)

    async def to_ledger(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.ledger.app(scope, receive, send)

    async def to_onboarding(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.onboarding.app(scope, receive, send)


@pytest.fixture(scope="session")
async def service(make_settings: MakeSettings) -> AsyncIterator[tuple[FastAPI, Neighbours]]:
    """Built once for all tests, which takes longer than most of them."""
    neighbours = Neighbours()
    app = create_app(
        make_settings(),
        register=neighbours,
        ledger_transport=httpx.ASGITransport(neighbours.to_ledger),
        onboarding_transport=httpx.ASGITransport(neighbours.to_onboarding),
    )
    async with running(app):
        yield app, neighbours


@pytest.fixture(scope="session")
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The raw tables, past the service."""
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    yield engine
    await engine.dispose()


@pytest.fixture
async def world(
    service: tuple[FastAPI, Neighbours], register: FakeRegister, tenant: str, database: AsyncEngine
) -> AsyncIterator[World]:
    app, neighbours = service
    ledger, onboarding = FakeLedger(), FakeOnboarding()
    neighbours.register, neighbours.ledger, neighbours.onboarding = register, ledger, onboarding
    address = "10.{}.{}.{}".format(*secrets.token_bytes(3))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
        world = World(app, client, tenant, register, ledger, onboarding, database)
        world.platform = register.add(tenant, "sso:issue")
        world.admin = register.add(tenant, "sso:admin")
        world.add_user(world.user_id)
        onboarding.tenants.add(tenant)
        yield world


@pytest.fixture
async def owner(postgres: EmbeddedPostgres, migrated_database: MigratedDatabase) -> AsyncIterator[AsyncEngine]:
    """Connections of the role that owns the tables, and may change what the service must not."""
    migrated_database("sso_issuer")
    engine = DatabaseUrl(owner_url(postgres, "sso_issuer")).engine(poolclass=NullPool)
    yield engine
    await engine.dispose()
