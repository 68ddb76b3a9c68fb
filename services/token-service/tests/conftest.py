import base64
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.databases import MigratedDatabase, on_a_busy_machine
from platform_testing.serving import PUBLIC_URL, running
from shared.settings import Mode
from token_service.app import create_app
from token_service.settings import Settings

from .campaign_house import FakeSessions, House

MakeSettings = Callable[..., Settings]


@pytest.fixture(scope="session")
def key_encryption_keys() -> str:
    return "1:" + base64.b64encode(os.urandom(32)).decode()


@pytest.fixture(scope="session")
def make_settings(
    migrated_database: MigratedDatabase, service_keys: ServiceKeys, key_encryption_keys: str
) -> MakeSettings:
    def make(**changed: object) -> Settings:
        given: dict[str, object] = {
            "mode": Mode.DEVELOPMENT,
            "sandboxes": True,
            **on_a_busy_machine(migrated_database("token_service")),
            "public_url": PUBLIC_URL,
            "service_key": service_keys.private("token-service"),
            "service_peers": service_keys.peers,
            "onboarding_url": "http://onboarding.invalid",
            "issuer_url": "http://issuer.invalid",
            "key_encryption_keys": key_encryption_keys,
        }
        return Settings.model_validate(given | changed)

    return make


@pytest.fixture(scope="session")
def register() -> FakeRegister:
    """One for the session: every client in it has a name of its own."""
    return FakeRegister()


@pytest.fixture(scope="session")
def _known_sessions() -> FakeSessions:
    return FakeSessions()


@pytest.fixture
def sessions(_known_sessions: FakeSessions) -> Iterator[FakeSessions]:
    yield _known_sessions
    _known_sessions.is_down = False


@pytest.fixture(scope="session")
def app(make_settings: MakeSettings, register: FakeRegister, _known_sessions: FakeSessions) -> FastAPI:
    # All tests call from one address; those of the budgets have a service of their own.
    settings = make_settings(bad_signatures_per_credential=10**6, bad_signatures_per_address=10**6)
    return create_app(settings, register=register, onboarding_transport=_known_sessions.transport())


@pytest.fixture(scope="session")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """One running service for the session; each test has a tenant of its own in it."""
    async with running(app) as client:
        yield client


@pytest.fixture
def campaign(register: FakeRegister, tenant: str) -> dict[str, str]:
    """The headers with which a campaign's back end calls."""
    return register.add(tenant, "tokens:issue", "tokens:verify", "tokens:stats")


@pytest.fixture
def house(app: FastAPI, client: httpx.AsyncClient, campaign: dict[str, str], tenant: str) -> House:
    # Each test's browser is another one: a language that it chose is its own.
    client.cookies.clear()
    return House(app, client, campaign, tenant)


@pytest.fixture
def order() -> dict[str, Any]:
    return {
        "base_url": "https://mystore.example/promotions",
        "customer_id": "customer-1",
        "campaign_id": "spring",
        "duration": 3600,
    }
