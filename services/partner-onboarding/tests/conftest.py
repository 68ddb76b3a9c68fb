"""partner-onboarding on a real database."""

import base64
import secrets
from collections.abc import AsyncIterator

import httpx
import pytest
from partner_onboarding.app import create_app
from partner_onboarding.register import build_register
from partner_onboarding.settings import Settings
from playwright.async_api import Browser
from pydantic import SecretStr
from shared.testing import PUBLIC_URL, MigratedDatabase, ServiceKeys, running

from .chromium import chromium
from .handshake_people import FakeTokens
from .onboarding_house import FAST, FakeNeighbours, House


def random_key() -> SecretStr:
    return SecretStr(base64.b64encode(secrets.token_bytes(32)).decode())


@pytest.fixture(scope="session")
def settings(migrated_database: MigratedDatabase, service_keys: ServiceKeys) -> Settings:
    return Settings(
        port=8003,
        database_url=SecretStr(migrated_database("partner_onboarding")),
        public_url=PUBLIC_URL,
        service_key=SecretStr(service_keys.private("partner-onboarding")),
        service_peers=service_keys.peers,
        key_encryption_keys=SecretStr(f"1:{random_key().get_secret_value()}"),
        secret_pepper=random_key(),
        account_name_key=random_key(),
        wrong_passwords_per_account=4,
        wrong_passwords_per_address=8,
        last_used_every_seconds=0.05,
    )


@pytest.fixture
async def house(settings: Settings, service_keys: ServiceKeys, tenant: str) -> AsyncIterator[House]:
    neighbours = FakeNeighbours()
    transport = httpx.ASGITransport(neighbours.app())
    tokens = FakeTokens()
    app = create_app(
        settings,
        cost=FAST,
        ledger_transport=transport,
        issuer_transport=transport,
        tokens_transport=httpx.ASGITransport(tokens.app()),
    )
    register = build_register(settings, FAST)
    await register.tenants.create(tenant, f"Tenant {tenant}", ("https://front.example",))
    async with running(app) as http:
        yield House(http, app, register, neighbours, tenant, service_keys)
    await register.close()


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser
