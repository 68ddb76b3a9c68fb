"""Whatever is sent, the answer is one that OpenAPI names: no 5xx, no undocumented status or shape."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from platform_testing.callers import FakeRegister
from platform_testing.serving import running
from points_ledger.app import create_app
from points_ledger.settings import Settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .parties import EAI, Platform

MakeSettings = Callable[..., Settings]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
#: What the frame of every service answers is proved elsewhere.
FRAME = {"/healthz", "/readyz"}
EXAMPLES = 8


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


@dataclass
class House:
    """A ledger in a loop of its own, which Hypothesis can call."""

    runner: asyncio.Runner
    app: FastAPI
    client: httpx.AsyncClient
    headers: dict[str, str]
    user: str

    def send(self, sent: dict[str, Any]) -> httpx.Response:
        return self.runner.run(self.client.send(self.client.build_request(**sent)))


@pytest.fixture
def house(make_settings: MakeSettings, register: FakeRegister, tenant: str) -> Iterator[House]:
    headers = register.add(tenant, "points:admin", "points:redeem", vendor_id="shop")
    app = create_app(make_settings(sweep_seconds=86_400), register=register)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        client = runner.run(stack.enter_async_context(running(app)))
        user = runner.run(Platform(client, headers).user_with(1_000_000))
        try:
            yield House(runner, app, client, headers, user)
        finally:
            runner.run(stack.aclose())


def test_no_input_gets_an_answer_that_openapi_does_not_name(house: House) -> None:
    schema = schemathesis.openapi.from_dict(house.app.openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.path for operation in operations} >= {EAI, "/v1/accounts/{user_id}/credits", "/v1/credits/import"}
    answered: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    known = {"user_id": house.user, "userid": house.user, "userId": house.user, "vendor_id": "shop"}
    for operation in operations:
        if operation.path in FRAME:
            continue
        cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(cases, st.booleans())
        def check(case: Any, is_known: bool) -> None:
            for place in (case.path_parameters, case.body):
                if is_known and isinstance(place, dict):
                    place |= {name: value for name, value in known.items() if name in place}
            given_by = case.as_transport_kwargs(base_url=str(house.client.base_url))
            sent = {name: given_by[name] for name in ("method", "url", "params", "json") if name in given_by}
            if "json" not in given_by and given_by.get("data") is not None:
                data = given_by["data"]
                sent["content"] = data if isinstance(data, bytes | str) else str(data)
            sent["headers"] = {**given_by["headers"], **house.headers}
            try:
                answer = house.send(sent)
            except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError):
                # Nothing that could be sent.
                return
            case.validate_response(answer, checks=CHECKS)
            answered[case.operation.method, case.operation.path].add(answer.status_code)

        check()

    # Not everything was refused at the door. (One operation of EAI and the body for it are hard to guess: see below.)
    for operation in operations:
        if operation.path not in FRAME and not operation.path.startswith(EAI):
            assert answered[operation.method, operation.path] & {200, 201}, operation.path


def test_each_operation_of_eai_answers_as_openapi_says(house: House) -> None:
    """Generated input hardly ever names the same transaction twice; this walks through the states."""
    schema = schemathesis.openapi.from_dict(house.app.openapi())
    change, look_up, page = schema[EAI]["POST"], schema[f"{EAI}/{{transactionid}}"]["GET"], schema[EAI]["GET"]
    names = {"userid": house.user, "transactionid": f"t-{secrets.token_hex(4)}"}
    seen = []
    for query, body, status in (
        ("confirm", names, 404),
        ("commit", names | {"pointstodeduct": 40, "description": ""}, 200),
        ("commit", names | {"pointstodeduct": 41, "description": ""}, 409),
        ("confirm", names | {"pointstodeduct": 30}, 200),
        ("rollback", names, 409),
        ("refund", names | {"refundid": "r", "points": 30}, 200),
        ("refund", names | {"refundid": "s", "points": 1}, 409),
        ("rollback", names | {"transactionid": "early"}, 404),
        ("commit", names | {"transactionid": "poor", "pointstodeduct": 2_000_000, "description": ""}, 400),
        ("commit", names | {"transactionid": "held", "pointstodeduct": 1, "description": ""}, 200),
        ("rollback", names | {"transactionid": "held"}, 200),
        ("no such operation", names, 400),
    ):
        answer = house.send({"method": "POST", "url": EAI, "params": query, "json": body, "headers": house.headers})
        assert answer.status_code == status, answer.text
        change.validate_response(answer)
        seen.append(body["transactionid"])
    for name in {*seen, "none"}:
        answer = house.send({"method": "GET", "url": f"{EAI}/{name}", "headers": house.headers})
        look_up.validate_response(answer)
    answer = house.send({"method": "GET", "url": EAI, "params": {"limit": 3}, "headers": house.headers})
    assert len(answer.json()["transactions"]) == 3
    page.validate_response(answer)


def test_openapi_describes_what_the_contract_names(house: House) -> None:
    document = house.app.openapi()

    assert document["openapi"].startswith("3.1")
    wanted = {
        EAI: {"post", "get"},
        f"{EAI}/{{transactionid}}": {"get"},
        "/v1/accounts/{user_id}": {"put", "get"},
        "/v1/accounts/{user_id}/credits": {"post"},
        "/v1/accounts/{user_id}/debits": {"post"},
        "/v1/accounts/{user_id}/entries": {"get"},
        "/v1/credits/import": {"post"},
    }
    for path, methods in wanted.items():
        for method in methods:
            operation = document["paths"][path][method]
            assert operation["security"], f"{method} {path} says how one is let in"
            assert operation["summary"]
            assert "422" not in operation["responses"]
    assert not [path for path in document["paths"] if path.startswith("/internal")]
    assert set(document["paths"][EAI]["post"]["requestBody"]["content"]["application/json"]["examples"]) == {
        "commit",
        "confirm",
        "rollback",
        "refund",
    }
