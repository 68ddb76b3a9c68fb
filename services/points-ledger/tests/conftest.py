from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI
from points_ledger.app import create_app
from points_ledger.settings import Settings
from shared.settings import Mode
from shared.testing import PUBLIC_URL, FakeRegister, MigratedDatabase, ServiceKeys, running

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(migrated_database: MigratedDatabase, service_keys: ServiceKeys) -> MakeSettings:
    def make(**changed: object) -> Settings:
        given: dict[str, object] = {
            "mode": Mode.DEVELOPMENT,
            "database_url": migrated_database("points_ledger"),
            "public_url": PUBLIC_URL,
            "service_key": service_keys.private("points-ledger"),
            "service_peers": service_keys.peers,
            "onboarding_url": "http://onboarding.invalid",
            "issuer_url": "http://issuer.invalid",
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
