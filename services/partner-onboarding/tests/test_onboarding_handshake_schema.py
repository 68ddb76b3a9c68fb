"""Whatever is sent, the answer is one that OpenAPI names: no 5xx, no undocumented status or shape."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from partner_onboarding.app import create_app
from partner_onboarding.handshake.links import store as links_store
from partner_onboarding.register.build import Register, build_register
from partner_onboarding.register.clients.domain import Registration
from partner_onboarding.settings import Settings
from platform_testing.callers import basic
from platform_testing.long_texts import pile_up, watched_work
from platform_testing.openapi import operations_of, try_all
from platform_testing.serving import running

from .onboarding_house import FAST

PREFIX = "/user/partner/"


@dataclass
class Door:
    """The service, and a partner with one linked user."""

    app: FastAPI
    client: httpx.AsyncClient
    headers: dict[str, str]


async def partner_with_a_linked_user(register: Register, tenant: str) -> dict[str, str]:
    await register.tenants.create(tenant, "Tenant", ())
    await register.users.put(
        tenant, "erika", email=f"erika@{tenant}.example", firstname="Erika", lastname="Muster", password=None
    )
    async with register.database.transaction() as connection:
        new = await register.clients.register(
            connection, tenant, Registration(name="Partner", scopes=("partner:handshake",))
        )
        await links_store.add_link(connection, tenant, new.client.client_id, "erika", datetime.now(UTC))
    return basic(new.client.client_id, new.client_secret)


@pytest.fixture
async def door(settings: Settings, tenant: str) -> AsyncIterator[Door]:
    app = create_app(settings, cost=FAST)
    register = build_register(settings, FAST)
    headers = await partner_with_a_linked_user(register, tenant)
    async with running(app) as client:
        yield Door(app, client, headers)
    await register.close()


async def test_no_input_gets_an_answer_that_openapi_does_not_name(door: Door) -> None:
    operations = operations_of(door.app)
    assert len([operation for operation in operations if operation.path.startswith(PREFIX)]) == 8
    answers = await try_all(door.client, operations, examples=7, headers=door.headers, known={"userId": "erika"})
    # Not everything was refused at the door.
    for path in ("event-list", "init-register-handshake"):
        assert 200 in answers.of(PREFIX + path, "get"), path


def test_openapi_describes_what_the_contract_names(door: Door) -> None:
    paths = door.app.openapi()["paths"]
    assert {
        (method, path.removeprefix(PREFIX)) for path in paths if path.startswith(PREFIX) for method in paths[path]
    } == {
        ("get", "init-register-handshake"),
        ("post", "init-register-handshake"),
        ("get", "activate-user/{userId}"),
        ("post", "activate-user/{userId}"),
        ("delete", "remove-user/{userId}"),
        ("get", "event-list"),
        ("post", "redeem-handshake"),
        ("get", "billing"),
    }


async def test_no_text_costs_more_than_its_length(door: Door, settings: Settings) -> None:
    """A pile of marks is sorted in quadratic time: wherever a text is taken, it is bounded before."""
    register = build_register(settings, FAST)
    scopes = ("clients:admin", "users:read", "users:write", "partner:handshake")
    async with register.database.transaction() as connection:
        tenant = f"piles-{secrets.token_hex(4)}"
        await register.tenants.create(tenant, "Tenant", ())
        new = await register.clients.register(connection, tenant, Registration(name="All", scopes=scopes))
    await register.close()
    headers = basic(new.client.client_id, new.client_secret)
    with watched_work() as work:
        await try_all(door.client, operations_of(door.app), examples=12, headers=headers, prepare=pile_up)
    assert work.is_bounded()
