"""Starting, migrating and looking after the service."""

import asyncio
import base64
import subprocess
import sys
import time
from typing import Any

import pytest
import sqlalchemy as sa
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.databases import owner_url
from platform_testing.issuer_world import World
from platform_testing.serving import PUBLIC_URL
from pydantic import ValidationError
from shared.dependencies import provided
from shared.migrating import differences
from shared.settings import Mode
from sqlalchemy.ext.asyncio import AsyncEngine
from sso_issuer.__main__ import cli
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.service import Keys
from sso_issuer.tables import metadata
from starlette.responses import Response
from typer.testing import CliRunner, Result


async def test_the_migrations_build_what_the_tables_say(database: AsyncEngine) -> None:
    async with database.connect() as connection:
        assert await connection.run_sync(differences, metadata) == []


async def test_the_migrations_build_every_check(database: AsyncEngine) -> None:
    query = sa.text(
        "SELECT c.conname FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace"
        " WHERE n.nspname = 'sso_issuer' AND c.contype = 'c'"
    )
    async with database.connect() as connection:
        built = set((await connection.execute(query)).scalars())
    said = {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, sa.CheckConstraint)
    }
    assert said <= built


async def test_the_tenant_leads_every_key(database: AsyncEngine) -> None:
    query = sa.text(
        "SELECT i.indexrelid::regclass::text, a.attname FROM pg_index i"
        " JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace"
        " JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]"
        " WHERE n.nspname = 'sso_issuer' AND i.indisunique AND t.relname <> 'alembic_version'"
    )
    async with database.connect() as connection:
        leading = {row[0]: row[1] for row in await connection.execute(query)}
    assert len(leading) >= 10
    assert set(leading.values()) == {"tenant"}


@pytest.mark.parametrize(
    "changed",
    [
        {"key_encryption_keys": ""},
        {"key_encryption_keys": "1:c2hvcnQ="},
        {"rotate_after": "PT5M"},
        {"public_url": "http://points.example"},
        {"key_encryption_keys": None},
        {"upkeep_seconds": 0},
    ],
)
def test_production_does_not_start_half_configured(make_settings: Any, changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_settings(**changed)


def test_development_may_use_plain_http(make_settings: Any) -> None:
    settings = make_settings(mode=Mode.DEVELOPMENT, public_url="http://localhost:8660/")
    assert settings.public_url == "http://localhost:8660"


async def test_keys_are_rotated_and_listed_from_the_command_line(
    world: World, make_settings: Any, postgres: EmbeddedPostgres
) -> None:
    await world.put_vendor()
    environment = _environment(make_settings())
    environment["ISSUER_MIGRATION_DATABASE_URL"] = owner_url(postgres, "sso_issuer")

    async def run(*arguments: str) -> Result:
        # In a thread, since a command runs a loop of its own.
        return await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=environment)

    (active,) = await world.jwks()
    rotated = await run("rotate-keys", "--tenant", world.tenant)
    assert rotated.exit_code == 0, rotated.output
    listed = (await run("list-keys", "--tenant", world.tenant)).stdout.splitlines()
    assert len(listed) == 2
    assert active["kid"] in listed[0]
    assert " active " in listed[0]
    assert rotated.stdout.strip() == listed[1]
    assert " next " in listed[1]
    refused = await run("rotate-keys", "--tenant", world.tenant, "--revoke-former")
    assert refused.exit_code == 2
    assert "immediately" in refused.stderr
    command = [sys.executable, "-m", "sso_issuer", "migrate"]
    migrated = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert migrated.returncode == 0, migrated.stderr


def _environment(settings: Any) -> dict[str, str]:
    values = settings.model_dump(exclude_defaults=True)
    return {f"ISSUER_{name.upper()}": _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)


async def test_an_access_token_of_the_tenants_authority_is_taken(world: World) -> None:
    await world.put_vendor()
    key = await provided(world.app, Keys).signing_key(world.tenant, Algorithm.ES256)
    now = int(time.time())
    claims = {
        "iss": world.issuer,
        "aud": PUBLIC_URL,
        "sub": "api-user",
        "client_id": "third-party",
        "scope": "sso:issue",
        "tenant": world.tenant,
        "iat": now,
        "exp": now + 60,
        "jti": "one",
    }

    async def ask(token: str) -> int:
        body = {"user_id": world.user_id, "vendor_id": "shop"}
        answer = await world.client.post("/sso/v1/redirects", json=body, headers={"Authorization": f"Bearer {token}"})
        return answer.status_code

    assert await ask(key.sign(claims, "at+jwt")) == 201
    assert await ask(key.sign(claims, "JWT")) == 401
    assert await ask(key.sign(claims | {"tenant": "t-stranger-8"}, "at+jwt")) == 401
    assert await ask((await world.redirect())["token"]) == 401


async def test_an_administrators_access_token_is_good_while_the_register_says_so(world: World) -> None:
    key = await provided(world.app, Keys).signing_key(world.tenant, Algorithm.ES256)
    now = int(time.time())
    claims = {
        "iss": world.issuer,
        "aud": PUBLIC_URL,
        "sub": "platform",
        "client_id": "platform",
        "scope": "sso:admin",
        "tenant": world.tenant,
        "iat": now,
        "exp": now + 60,
        "jti": "one",
    }
    headers = {"Authorization": f"Bearer {key.sign(claims, 'at+jwt')}"}
    known = {"client_id": "platform", "tenant": world.tenant, "kind": "first_party", "scopes": ["sso:admin"]}

    async def ask(changed: dict[str, Any] | None) -> tuple[int, str | None]:
        world.onboarding.clients.pop("platform", None)
        if changed is not None:
            world.onboarding.clients["platform"] = known | changed
        answer = await world.client.get("/sso/v1/vendors", headers=headers)
        return answer.status_code, answer.json().get("code")

    assert await ask({}) == (200, None)
    assert await ask({"scopes": ["sso:issue"]}) == (403, "insufficient_scope")
    assert await ask({"kind": "third_party"}) == (403, "insufficient_scope")
    assert await ask({"tenant": "t-stranger-9"}) == (401, "client_disabled")
    assert await ask(None) == (401, "client_disabled")
    world.onboarding.answer = lambda: Response("down", 503)
    assert (await ask({}))[0] == 503


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Basic ???")],
        [("Authorization", "Basic " + base64.b64encode(b"\xff\xfe:x").decode())],
        [("Authorization", "Basic")],
    ],
)
async def test_credentials_that_cannot_be_read_are_answered_like_wrong_ones(
    world: World, headers: list[tuple[str, str]]
) -> None:
    for path in ("/sso/v1/vendors", "/sso/v1/issuances"):
        answer = await world.client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
        assert "Basic realm=" in answer.headers["www-authenticate"]
        assert "Bearer realm=" in answer.headers["www-authenticate"]


async def test_two_authorization_headers_are_refused(world: World) -> None:
    both = [("Authorization", world.admin["Authorization"]), ("Authorization", world.platform["Authorization"])]
    answer = await world.client.get("/sso/v1/vendors", headers=both)
    assert (answer.status_code, answer.json()["code"]) == (400, "several_credentials")


async def test_openapi_describes_every_call(world: World) -> None:
    paths = (await world.client.get("/openapi.json")).json()["paths"]
    assert {
        "/.well-known/jwks.json",
        "/tenants/{tenant}/jwks.json",
        "/sso/v1/redirects",
        "/sso/v1/redeem/{vendor_id}",
        "/sso/v1/vendors",
        "/sso/v1/vendors/{vendor_id}",
        "/sso/v1/vendors/{vendor_id}/secrets",
        "/sso/v1/tokens/redeem",
        "/sso/v1/issuances",
        "/sso/v1/keys/rotate",
        "/.well-known/oauth-authorization-server/tenants/{tenant}",
        "/tenants/{tenant}/.well-known/openid-configuration",
        "/tenants/{tenant}/oauth/authorize",
        "/tenants/{tenant}/oauth/token",
        "/tenants/{tenant}/oauth/introspect",
        "/tenants/{tenant}/oauth/revoke",
        "/sso/v1/authority-events",
    } <= set(paths)
    assert not any(path.startswith("/internal") for path in paths)
    assert "422" not in str(paths)
