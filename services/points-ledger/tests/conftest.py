import base64
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.databases import MigratedDatabase, new_database, on_a_busy_machine
from platform_testing.processes import ServiceProcess, environment, onboarding, processes
from platform_testing.serving import PUBLIC_URL, running
from points_ledger.app import create_app
from points_ledger.settings import Settings
from shared.settings import Mode

from .parties import Platform, Vendor

KEY_ENCRYPTION_KEYS = "1:" + base64.b64encode(bytes(range(32))).decode()
MakeSettings = Callable[..., Settings]


@pytest.fixture(scope="session")
def make_settings(migrated_database: MigratedDatabase, service_keys: ServiceKeys) -> MakeSettings:
    def make(**changed: object) -> Settings:
        given: dict[str, object] = {
            "mode": Mode.DEVELOPMENT,
            "sandboxes": True,
            **on_a_busy_machine(migrated_database("points_ledger")),
            "public_url": PUBLIC_URL,
            "service_key": service_keys.private("points-ledger"),
            "service_peers": service_keys.peers,
            "onboarding_url": "http://onboarding.invalid",
            "issuer_url": "http://issuer.invalid",
            "key_encryption_keys": KEY_ENCRYPTION_KEYS,
        }
        return Settings.model_validate(given | changed)

    return make


@pytest.fixture
def app(make_settings: MakeSettings, register: FakeRegister) -> FastAPI:
    return create_app(make_settings(), register=register)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as client:
        yield client


@pytest.fixture(scope="session")
def ledger_url(migrated_database: MigratedDatabase) -> str:
    """Where the ledger's tables are, for its own role."""
    return migrated_database("points_ledger")


@pytest.fixture(scope="session")
def spoilt_url(postgres: EmbeddedPostgres) -> str:
    """A database for tests that leave books behind which do not add up: in any other, `verify` would find them."""
    return new_database(postgres, "points_ledger", "points_ledger_spoilt")


@pytest.fixture
async def rows(ledger_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The ledger's own tables, under its own role."""
    connection = await asyncpg.connect(ledger_url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def shop(client: httpx.AsyncClient, register: FakeRegister, tenant: str) -> Vendor:
    """A rewards vendor."""
    return Vendor(client, register.add(tenant, "points:redeem", vendor_id="shop"))


@pytest.fixture
def platform(client: httpx.AsyncClient, register: FakeRegister, tenant: str) -> Platform:
    return Platform(client, register.add(tenant, "points:admin", "points:read"))


@pytest.fixture(scope="session")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of the ledger's tests alone: one that may be killed."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("ledger") / "postgres", settings={"fsync": "off"})
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def own_url(own_postgres: EmbeddedPostgres) -> str:
    """Where the ledger's tables are in `own_postgres`."""
    return new_database(own_postgres, "points_ledger")


@pytest.fixture(scope="session")
def network_register() -> FakeRegister:
    """The clients that `ledgers` know."""
    return FakeRegister()


@pytest.fixture(scope="session")
async def ledgers(
    own_url: str, network_register: FakeRegister, service_keys: ServiceKeys
) -> AsyncIterator[list[ServiceProcess]]:
    """Two real processes over one database. A test may end them, and others then `keep_up` those they need."""
    with onboarding(network_register) as onboarding_url:
        async with processes(
            2, "points_ledger", environment("points_ledger", own_url, onboarding_url, service_keys)
        ) as ledgers:
            yield ledgers
