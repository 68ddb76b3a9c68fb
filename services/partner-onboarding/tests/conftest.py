"""partner-onboarding on a real database."""

import base64
import secrets
from collections.abc import AsyncIterator

import httpx
import pytest
from partner_onboarding.app import create_app
from partner_onboarding.register.build import build_register
from partner_onboarding.settings import Settings
from platform_testing.callers import ServiceKeys
from platform_testing.databases import MigratedDatabase
from platform_testing.serving import PUBLIC_URL, running
from playwright.async_api import Browser
from pydantic import SecretStr

from .chromium import chromium
from .handshake_people import FakeTokens
from .onboarding_house import FAST, FakeNeighbours, House, Relay, Running


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
        second_factor_required=False,
        wrong_passwords_per_account=4,
        wrong_passwords_per_address=8,
        last_used_every_seconds=0.05,
        # Tests that want these done do them.
        assignments_every_seconds=3600,
        mails_every_seconds=3600,
    )


@pytest.fixture(scope="session")
async def service(settings: Settings) -> AsyncIterator[Running]:
    neighbours, tokens = Relay(), Relay()
    transport = httpx.ASGITransport(neighbours)
    app = create_app(
        settings,
        cost=FAST,
        ledger_transport=transport,
        issuer_transport=transport,
        tokens_transport=httpx.ASGITransport(tokens),
    )
    register = build_register(settings, FAST)
    async with running(app):
        yield Running(app, register, neighbours, tokens)
    await register.close()


@pytest.fixture
async def house(service: Running, service_keys: ServiceKeys, tenant: str) -> AsyncIterator[House]:
    neighbours = FakeNeighbours()
    service.neighbours.app, service.tokens.app = neighbours.app(), FakeTokens().app()
    await service.register.tenants.create(tenant, f"Tenant {tenant}", ("https://front.example",))
    house = House(service.app, service.register, neighbours, tenant, service_keys)
    async with house.http:
        yield house


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser
