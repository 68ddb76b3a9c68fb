"""Whatever is sent, the answer is one that OpenAPI names: no 5xx, no undocumented status or shape."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.serving import running
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from token_service.app import create_app

from .campaign_house import OFFER, House
from .conftest import MakeSettings

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
#: What the frame of every service answers is proved elsewhere.
FRAME = {"/healthz", "/readyz"}
EXAMPLES = 12


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def called_from_hypothesis(
    runner: asyncio.Runner,
    make_settings: MakeSettings,
    register: FakeRegister,
    campaign: dict[str, str],
    tenant: str,
) -> Iterator[House]:
    # A budget for guesses would answer most of what is made up here.
    budgets = {"bad_signatures_per_credential": 10**6, "bad_signatures_per_address": 10**6}
    app = create_app(make_settings(**budgets), register=register)
    context = running(app)
    client = runner.run(context.__aenter__())
    try:
        yield House(app, client, campaign, tenant)
    finally:
        runner.run(context.__aexit__(None, None, None))


def test_no_input_gets_an_answer_that_openapi_does_not_name(
    runner: asyncio.Runner, called_from_hypothesis: House
) -> None:
    house = called_from_hypothesis
    token = runner.run(house.issue())
    runner.run(house.client.put("/v1/campaigns/spring/landing", json=OFFER, headers=house.headers))
    schema = schemathesis.openapi.from_dict(house.app.openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 14
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
            known = {"token": token, "campaign_id": "spring"}
            for name in case.path_parameters or {}:
                if is_known:
                    case.path_parameters[name] = known[name]
            given_by = case.as_transport_kwargs(base_url=str(house.client.base_url))
            given_by["headers"] = {**given_by["headers"], **house.headers}
            try:
                answer = runner.run(_send(house.client, given_by))
            except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError):
                # Nothing that could be sent.
                return
            case.validate_response(answer, checks=CHECKS)

        check()


async def _send(client: httpx.AsyncClient, given_by: dict[str, Any]) -> httpx.Response:
    taken = {name: given_by[name] for name in ("method", "url", "headers", "params", "cookies") if name in given_by}
    if "json" in given_by:
        taken["json"] = given_by["json"]
    elif given_by.get("data") is not None:
        data = given_by["data"]
        taken["content"] = data if isinstance(data, (bytes, str)) else str(data)
    cookies = taken.pop("cookies", None)
    request = client.build_request(**taken)
    if cookies:
        request.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return await client.send(request)


def test_openapi_has_every_operation_of_the_contract_and_says_how_it_is_called(called_from_hypothesis: House) -> None:
    document = called_from_hypothesis.app.openapi()
    assert document["openapi"].startswith("3.1")
    wanted = {
        "/v1/tokens": {"post"},
        "/v1/tokens/batch": {"post"},
        "/v1/tokens/import": {"post"},
        "/v1/tokens/{token}": {"get", "delete"},
        "/v1/tokens/{token}/verify": {"post"},
        "/v1/tokens/{token}/stats": {"get"},
        "/v1/tokens/{token}/qr.svg": {"get"},
        "/v1/tokens/{token}/qr.png": {"get"},
        "/v1/campaigns/{campaign_id}/stats": {"get"},
        "/v1/campaigns/{campaign_id}/tokens": {"delete"},
        "/v1/campaigns/{campaign_id}/landing": {"get", "put", "delete"},
    }
    for path, methods in wanted.items():
        assert methods <= set(document["paths"][path]), path
        for method in methods:
            operation = document["paths"][path][method]
            assert operation["security"], path
            assert "422" not in operation["responses"]
            assert {"4XX", "5XX"} <= set(operation["responses"])


async def test_a_service_token_is_no_credential_here(house: House, service_keys: ServiceKeys) -> None:
    headers = service_keys.headers("sso-issuer", "token-service")
    assert (await house.client.get("/v1/campaigns", headers=headers)).status_code == 401
