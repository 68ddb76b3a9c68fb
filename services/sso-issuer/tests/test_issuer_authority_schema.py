"""Whatever is sent to an authority, the answer is one that OpenAPI names: no 5xx, no undocumented status or shape."""

import secrets
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from platform_testing.issuer_world import World
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 25


async def test_no_input_gets_an_answer_that_openapi_does_not_name(world: World) -> None:
    client_id, secret = world.add_third_party()
    world.consent(client_id, "points:read")
    by_form = {"client_id": client_id, "client_secret": secret}
    seen: set[tuple[str, int]] = set()
    operations = [found.ok() for found in schemathesis.openapi.from_dict(world.app.openapi()).get_all_operations()]
    operations = [one for one in operations if "{tenant}" in one.path or one.path.endswith("/authority-events")]
    assert len(operations) == 8
    # From elsewhere each time: whoever is refused so often would only be told to wait.
    transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url=world.client.base_url)
    for operation in operations:
        for n, case in enumerate(_cases_of(operation)):
            transport.client = ("10.{}.{}.{}".format(*secrets.token_bytes(3)), 50_000)
            if "tenant" in (case.path_parameters or {}) and n % 4:
                case.path_parameters["tenant"] = world.tenant
            sent = case.as_transport_kwargs(base_url=str(world.client.base_url))
            if isinstance(sent.get("data"), dict) and n % 2:
                sent["data"] = {**sent["data"], **by_form}
            if operation.path.startswith("/sso/"):
                sent["headers"] = {**sent["headers"], **world.admin}
            try:
                answer = await _send(client, sent)
            except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError):
                # Nothing that could be sent.
                continue
            seen.add((operation.path, answer.status_code))
            case.validate_response(answer, checks=CHECKS)
    for path in ("token", "introspect", "revoke"):
        statuses = {status for at, status in seen if at.endswith(f"/oauth/{path}")}
        assert statuses >= {400, 401, 404}, path


def _cases_of(operation: Any) -> list[Any]:
    cases: list[Any] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
    def collect(case: Any) -> None:
        cases.append(case)

    collect()
    return cases


async def _send(client: httpx.AsyncClient, sent: dict[str, Any]) -> httpx.Response:
    taken = {name: sent[name] for name in ("method", "url", "headers", "params") if name in sent}
    data = sent.get("data")
    if isinstance(data, dict):
        taken["data"] = data
    elif data is not None:
        taken["content"] = data if isinstance(data, (bytes, str)) else str(data)
    return await client.send(client.build_request(**taken))
