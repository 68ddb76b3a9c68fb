"""A running issuer, its raw tables, and the world around it (`sso_issuer.testing`)."""

import base64
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from shared.settings import Mode
from shared.testing import PUBLIC_URL, FakeRegister, MigratedDatabase, ServiceKeys, running
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sso_issuer.app import create_app
from sso_issuer.settings import Settings
from sso_issuer.testing import FakeLedger, FakeOnboarding, World

MakeSettings = Callable[..., Settings]
KEY_ENCRYPTION_KEYS = "1:" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="session")
def database_url(migrated_database: MigratedDatabase) -> str:
    return migrated_database("sso_issuer")


@pytest.fixture
def make_settings(database_url: str, service_keys: ServiceKeys) -> MakeSettings:
    def make(**changed: object) -> Settings:
        given: dict[str, object] = {
            "mode": Mode.PRODUCTION,
            "database_url": database_url,
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


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The raw tables, past the service."""
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    yield engine
    await engine.dispose()


@pytest.fixture
async def world(
    make_settings: MakeSettings, register: FakeRegister, tenant: str, database: AsyncEngine
) -> AsyncIterator[World]:
    ledger, onboarding = FakeLedger(), FakeOnboarding()
    app = create_app(
        make_settings(),
        register=register,
        ledger_transport=httpx.ASGITransport(ledger.app),
        onboarding_transport=httpx.ASGITransport(onboarding.app),
    )
    async with running(app) as client:
        world = World(app, client, tenant, register, ledger, onboarding, database)
        world.platform = register.add(tenant, "sso:issue")
        world.admin = register.add(tenant, "sso:admin")
        world.add_user(world.user_id)
        onboarding.tenants.add(tenant)
        yield world
