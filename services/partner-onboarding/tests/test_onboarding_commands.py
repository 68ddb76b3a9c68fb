"""The operators' command line: one JSON object, repeatable, secrets by standard input."""

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from partner_onboarding.__main__ import cli
from partner_onboarding.register.audit.domain import APPLICANT
from partner_onboarding.register.build import build_register
from partner_onboarding.settings import Settings
from partner_onboarding.third_parties.build import build_third_parties
from partner_onboarding.third_parties.integrations.schemas import WishBody
from typer.testing import CliRunner, Result

from .integration_partner import REQUEST

Command = Callable[..., Result]


@pytest.fixture
def command(service_environment: None) -> Command:
    """Runs a command in the environment of the service."""

    def run(*arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(cli, arguments, input=typed)

    return run


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_a_tenant_is_created_once(command: Command, tenant: str) -> None:
    options = ("--name", "Demo Points", "--allowed-origin", "https://front.example")
    first, again = [answer(command("create-tenant", tenant, *options)) for _ in range(2)]
    assert first == {
        "created": True,
        "tenant": tenant,
        "name": "Demo Points",
        "allowed_origins": ["https://front.example"],
    }
    assert again == first | {"created": False, "differs": []}
    other = answer(command("create-tenant", tenant, "--name", "Other"))
    assert other == first | {"created": False, "differs": ["name", "allowed_origins"]}


def test_a_client_is_created_once_and_its_secret_shown_once(command: Command, tenant: str) -> None:
    command("create-tenant", tenant, "--name", "x")
    client_id, secret = f"shop-{tenant}", secrets.token_urlsafe(32)
    options: tuple[str, ...] = ("--tenant", tenant, "--name", "Shop", "--client-id", client_id, "--client-secret-stdin")
    options += ("--scope", "points:redeem", "--scope", "points:read", "--vendor-id", "shop", "--ip", "192.0.2.0/24")
    options += ("--landing-url", "https://shop.example/", "--redirect-uri", "https://shop.example/callback")
    first = answer(command("create-client", *options, typed=f"{secret}\n"))
    assert first["created"] is True
    assert first["client_secret"] == secret
    assert first["scopes"] == ["points:redeem", "points:read"]
    assert first["tenant"] == tenant
    again = answer(command("create-client", *options, typed=f"{secrets.token_urlsafe(32)}\n"))
    assert again["created"] is False
    assert again["differs"] == []
    assert "client_secret" not in again
    changed = answer(command("create-client", *options[:6], "--kind", "third_party"))
    assert set(changed["differs"]) >= {"kind", "scopes", "vendor_id"}


def test_without_id_and_secret_both_are_made_at_random(command: Command, tenant: str) -> None:
    command("create-tenant", tenant, "--name", "x")
    made = answer(command("create-client", "--tenant", tenant, "--name", "x"))
    assert len(made["client_secret"]) == 43
    assert len(made["client_id"]) == 16


def test_a_user_with_a_role_is_created_once(command: Command, tenant: str) -> None:
    command("create-tenant", tenant, "--name", "x")
    options: tuple[str, ...] = (
        "--tenant",
        tenant,
        "--user-id",
        "admin",
        "--email",
        f"a@{tenant}.example",
        "--firstname",
        "Ada",
    )
    options += ("--lastname", "Admin", "--role", "tenant_admin", "--role", "operator", "--password-stdin")
    first, again = [answer(command("create-user", *options, typed="a long pass phrase\n")) for _ in range(2)]
    assert first["created"] is True
    assert first["roles"] == ["operator", "tenant_admin"]
    assert again == first | {"created": False, "differs": []}
    assert "pass phrase" not in json.dumps(first)


def test_secrets_are_rotated_revoked_and_clients_disabled(command: Command, tenant: str) -> None:
    command("create-tenant", tenant, "--name", "x")
    client_id = answer(command("create-client", "--tenant", tenant, "--name", "x"))["client_id"]
    rotated = answer(command("rotate-secret", client_id, "--overlap-seconds", "60"))
    assert rotated["n"] == 2
    assert len(rotated["client_secret"]) == 43
    revoked = answer(command("revoke-secret", client_id, "1"))
    assert [secret["revoked_at"] is None for secret in revoked["secrets"]] == [False, True]
    assert answer(command("disable-client", client_id))["disabled_at"] is not None
    listed = answer(command("list-clients", "--tenant", tenant))
    assert [client["client_id"] for client in listed["clients"]] == [client_id]
    assert rotated["client_secret"] not in json.dumps(listed)


@pytest.mark.parametrize(
    ("arguments", "typed", "code"),
    [
        (("create-tenant", "Not A Tenant", "--name", "x"), "", "malformed_tenant"),
        (("create-tenant", "a", "--name", "Demo\r\nBcc: all@example.com"), "", "malformed_tenant"),
        (("create-tenant", "a", "--name", "x", "--allowed-origin", "*"), "", "invalid_origin"),
        (("create-client", "--tenant", "nobody", "--name", "x"), "", "tenant_not_found"),
        (("create-client", "--tenant", "{}", "--name", "x", "--scope", "all"), "", "unknown_scope"),
        (("create-client", "--tenant", "{}", "--name", "x", "--client-secret-stdin"), "short\n", "malformed_secret"),
        (("create-client", "--tenant", "{}", "--name", "x", "--landing-url", "http://a.example"), "", "invalid_url"),
        (("rotate-secret", "nobody"), "", "client_not_found"),
    ],
)
def test_a_refusal_is_said_on_standard_error(
    command: Command, tenant: str, arguments: tuple[str, ...], typed: str, code: str
) -> None:
    command("create-tenant", tenant, "--name", "x")
    refused = command(*(argument.replace("{}", tenant) for argument in arguments), typed=typed)
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert json.loads(refused.stderr)["code"] == code


def test_a_client_id_of_another_tenant_is_taken(command: Command, tenant: str) -> None:
    for name in (tenant, f"{tenant}-b"):
        command("create-tenant", name, "--name", "x")
    command("create-client", "--tenant", tenant, "--name", "x", "--client-id", f"id-{tenant}")
    refused = command("create-client", "--tenant", f"{tenant}-b", "--name", "x", "--client-id", f"id-{tenant}")
    assert json.loads(refused.stderr)["code"] == "client_id_taken"


async def submit(settings: Settings, tenant: str) -> str:
    register = build_register(settings)
    async with register.database.transaction() as connection:
        wish = WishBody.model_validate(REQUEST).wish()
        receipt = await build_third_parties(register).applications.submit(connection, tenant, wish, by=APPLICANT)
    await register.close()
    return receipt.request_id


def test_requests_are_listed_approved_once_and_declined(command: Command, settings: Settings, tenant: str) -> None:
    command("create-tenant", tenant, "--name", "x")
    wanted, unwanted = [asyncio.run(submit(settings, tenant)) for _ in range(2)]
    listed = answer(command("list-requests", "--tenant", tenant))["requests"]
    assert [request["request_id"] for request in listed] == [unwanted, wanted]
    approved = answer(command("approve-request", "--tenant", tenant, wanted))
    assert len(approved["client_secret"]) == 43
    assert approved["decided_by"] == "shell"
    assert approved["tenant_authority_url"].endswith(f"/tenants/{tenant}")
    again = command("approve-request", "--tenant", tenant, wanted)
    assert (again.exit_code, json.loads(again.stderr)["code"]) == (1, "integration_request_decided")
    declined = answer(command("decline-request", "--tenant", tenant, unwanted, "--reason", "Too much."))
    assert (declined["state"], declined["reason"]) == ("declined", "Too much.")
    assert answer(command("list-requests", "--tenant", tenant, "--state", "submitted"))["requests"] == []
    assert command("list-requests", "--tenant", tenant, "--state", "lost").exit_code == 2
