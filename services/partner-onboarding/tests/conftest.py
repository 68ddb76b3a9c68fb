"""partner-onboarding on a real database."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from partner_onboarding.__main__ import cli
from partner_onboarding.app import create_app
from partner_onboarding.handshake.mail.delivery import FileDelivery
from partner_onboarding.handshake.mail.service import Mails
from partner_onboarding.handshake.mail.token_client import TokenClient
from partner_onboarding.register.build import build_register
from partner_onboarding.settings import Settings
from platform_testing.callers import ServiceKeys
from platform_testing.databases import MigratedDatabase, on_a_busy_machine, owner_url
from platform_testing.serving import PUBLIC_URL, running
from playwright.async_api import Browser
from pydantic import SecretStr
from shared.database_url import DatabaseUrl
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner

from .chromium import chromium
from .handshake_people import FakeTokens
from .mail_post import Post
from .onboarding_house import FAST, FakeNeighbours, House, Relay, Running, Shell, Told


def random_key() -> SecretStr:
    return SecretStr(base64.b64encode(secrets.token_bytes(32)).decode())


@pytest.fixture(scope="session")
def settings(migrated_database: MigratedDatabase, service_keys: ServiceKeys) -> Settings:
    return Settings(
        port=8003,
        **on_a_busy_machine(migrated_database("partner_onboarding")),
        public_url=PUBLIC_URL,
        service_key=SecretStr(service_keys.private("partner-onboarding")),
        service_peers=service_keys.peers,
        key_encryption_keys=SecretStr(f"1:{random_key().get_secret_value()}"),
        secret_pepper=random_key(),
        account_name_key=random_key(),
        second_factor_required=False,
        sandboxes=True,
        developers_sandbox="developers",
        test_clients_per_address=3,
        wrong_passwords_per_account=4,
        wrong_passwords_per_address=8,
        last_used_every_seconds=0.05,
        # Tests that want these done do them.
        assignments_every_seconds=3600,
        mails_every_seconds=3600,
        sandboxes_every_seconds=3600,
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


@pytest.fixture
async def post(service: Running, house: House, tmp_path: Path) -> AsyncIterator[Post]:
    tokens, register = FakeTokens(), house.register
    service.tokens.app = tokens.app()
    transport = httpx.ASGITransport(service.tokens)
    client = TokenClient("http://tokens", register.database, register.clients, b"k" * 32, transport)
    sending = Mails(
        register.database,
        register.profiles,
        register.notices,
        client,
        FileDelivery(tmp_path / "mail"),
        sender="Points <no-reply@points.example>",
        public_url=PUBLIC_URL,
        product_name="",
    )
    yield Post(house, sending, tokens, tmp_path / "mail")
    await client.aclose()


@pytest.fixture
def service_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which a command finds the service's database and keys."""
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if value != Settings.model_fields[name].default:
            said = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            monkeypatch.setenv(f"ONBOARDING_{name.upper()}", said)


@pytest.fixture
def shell(service_environment: None) -> Shell:
    """Runs a command beside the running service."""

    async def run(*arguments: str, typed: str = "") -> Told:
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, input=typed)
        return Told(result.exit_code, json.loads(result.stdout or "null"), result.stderr)

    return run


@pytest.fixture
async def owner(postgres: EmbeddedPostgres, migrated_database: MigratedDatabase) -> AsyncIterator[AsyncEngine]:
    """Connections of the role that owns the tables, and may change what the service must not."""
    migrated_database("partner_onboarding")
    engine = DatabaseUrl(owner_url(postgres, "partner_onboarding")).engine(poolclass=NullPool)
    yield engine
    await engine.dispose()
