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

from .campaign_house import FakeSessions, House

MakeSettings = Callable[..., Settings]


@pytest.fixture(scope="session")
def key_encryption_keys() -> str:
    return "1:" + base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def make_settings(
    migrated_database: MigratedDatabase, service_keys: ServiceKeys, key_encryption_keys: str
) -> MakeSettings:
    def make(**changed: object) -> Settings:
        given: dict[str, object] = {
            "mode": Mode.DEVELOPMENT,
            "database_url": migrated_database("token_service"),
            "public_url": PUBLIC_URL,
            "service_key": service_keys.private("token-service"),
            "service_peers": service_keys.peers,
            "onboarding_url": "http://onboarding.invalid",
            "issuer_url": "http://issuer.invalid",
            "key_encryption_keys": key_encryption_keys,
        }
        return Settings.model_validate(given | changed)

    return make


@pytest.fixture
def sessions() -> FakeSessions:
    return FakeSessions()


@pytest.fixture
def app(make_settings: MakeSettings, register: FakeRegister, sessions: FakeSessions) -> FastAPI:
    return create_app(make_settings(), register=register, onboarding_transport=sessions.transport())


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as client:
        yield client


@pytest.fixture
def campaign(register: FakeRegister, tenant: str) -> dict[str, str]:
    """The headers with which a campaign's back end calls."""
    return register.add(tenant, "tokens:issue", "tokens:verify", "tokens:stats")


@pytest.fixture
def house(app: FastAPI, client: httpx.AsyncClient, campaign: dict[str, str], tenant: str) -> House:
    return House(app, client, campaign, tenant)


@pytest.fixture
def order() -> dict[str, Any]:
    return {
        "base_url": "https://mystore.example/promotions",
        "customer_id": "customer-1",
        "campaign_id": "spring",
        "duration": 3600,
    }
