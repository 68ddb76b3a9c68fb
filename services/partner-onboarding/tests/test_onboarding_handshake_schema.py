"""Whatever is sent to the partner interface, the answer is one that OpenAPI names: bounded, a matter of seconds."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from partner_onboarding.app import create_app
from partner_onboarding.handshake.links import store as links_store
from partner_onboarding.register.build import Register, build_register
from partner_onboarding.register.clients.domain import Registration
from partner_onboarding.settings import Settings
from platform_testing.callers import basic
from platform_testing.serving import running
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .onboarding_house import FAST

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 7
PREFIX = "/user/partner/"


@dataclass
class Door:
    """The service in a loop of its own, which Hypothesis can call, and a partner with one linked user."""

    runner: asyncio.Runner
    app: FastAPI
    client: httpx.AsyncClient
    headers: dict[str, str]

    def send(self, sent: dict[str, Any]) -> httpx.Response:
        return self.runner.run(self.client.send(self.client.build_request(**sent)))


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
def door(settings: Settings, tenant: str) -> Iterator[Door]:
    app = create_app(settings, cost=FAST)
    with asyncio.Runner() as runner:
        register = build_register(settings, FAST)
        headers = runner.run(partner_with_a_linked_user(register, tenant))
        stack = AsyncExitStack()
        client = runner.run(stack.enter_async_context(running(app)))
        try:
            yield Door(runner, app, client, headers)
        finally:
            runner.run(stack.aclose())
            runner.run(register.close())


def test_no_input_gets_an_answer_that_openapi_does_not_name(door: Door) -> None:
    schema = schemathesis.openapi.from_dict(door.app.openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    operations = [operation for operation in operations if operation.path.startswith(PREFIX)]
    assert len(operations) == 8
    answered: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for operation in operations:
        cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

        @bounded(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(cases, st.booleans())
        def check(case: Any, is_known: bool) -> None:
            if is_known and isinstance(case.path_parameters, dict) and "userId" in case.path_parameters:
                case.path_parameters["userId"] = "erika"
            given_by = case.as_transport_kwargs(base_url=str(door.client.base_url))
            sent = {name: given_by[name] for name in ("method", "url", "params", "json") if name in given_by}
            if "json" not in given_by and given_by.get("data") is not None:
                data = given_by["data"]
                sent["content"] = data if isinstance(data, bytes | str) else str(data)
            sent["headers"] = {**given_by["headers"], **door.headers}
            try:
                answer = door.send(sent)
            except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError):
                # Nothing that could be sent.
                return
            case.validate_response(answer, checks=CHECKS)
            answered[case.operation.method, case.operation.path].add(answer.status_code)

        check()
    # Not everything was refused at the door.
    for method, path in (("get", "event-list"), ("get", "init-register-handshake")):
        assert 200 in answered[method, PREFIX + path], path


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
