import base64
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from shared.settings import Mode
from shared.testing import PUBLIC_URL, FakeRegister, MigratedDatabase, ServiceKeys, running
from token_service.app import create_app
from token_service.settings import Settings

MakeSettings = Callable[..., Settings]
KEY_ENCRYPTION_KEYS = "1:" + base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def make_settings(migrated_database: MigratedDatabase, service_keys: ServiceKeys) -> MakeSettings:
    def make(**changed: object) -> Settings:
        given: dict[str, object] = {
            "mode": Mode.DEVELOPMENT,
            "database_url": migrated_database("token_service"),
            "public_url": PUBLIC_URL,
            "service_key": service_keys.private("token-service"),
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


@pytest.fixture
def campaign(register: FakeRegister, tenant: str) -> dict[str, str]:
    """The headers with which a campaign's back end calls."""
    return register.add(tenant, "tokens:issue", "tokens:verify", "tokens:stats")


@pytest.fixture
def order() -> dict[str, Any]:
    return {
        "base_url": "https://mystore.example/promotions",
        "customer_id": "customer-1",
        "campaign_id": "spring",
        "duration": 3600,
    }
