"""Whatever is sent to a service, its answer is one that its OpenAPI document names.

Hypothesis makes the requests from the document, valid ones and broken ones; schemathesis holds the answers against it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpx
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
#: What the frame of every service answers is proved by the tests of `shared`.
FRAME = {"/healthz", "/readyz"}

#: Changes a request before it is sent; gets the case, what httpx would be given, and the number of the case.
Prepare = Callable[[Any, dict[str, Any], int], None]


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


class Answers:
    """What came back: `(method, path) → statuses`."""

    def __init__(self) -> None:
        self.by_operation: defaultdict[tuple[str, str], set[int]] = defaultdict(set)

    def of(self, path: str, method: str | None = None) -> set[int]:
        """The statuses that were seen at a path."""
        seen = (
            statuses
            for (by, at), statuses in self.by_operation.items()
            if at == path and method in {None, by.upper(), by.lower()}
        )
        return set().union(*seen)


def operations_of(app: FastAPI, wanted: Callable[[str], bool] = lambda _path: True) -> list[Any]:
    """The operations of the app's OpenAPI document at the paths that are wanted, but for the frame's."""
    schema = schemathesis.openapi.from_dict(app.openapi())
    found = [operations[method] for operations in schema.values() for method in operations]
    return [operation for operation in found if operation.path not in FRAME and wanted(operation.path)]


async def try_all(
    client: httpx.AsyncClient,
    operations: Iterable[Any],
    *,
    examples: int,
    headers: Mapping[str, str] | None = None,
    known: Mapping[str, str] | None = None,
    prepare: Prepare | None = None,
) -> Answers:
    """Sends made-up requests to each operation; fails at the first answer that the document does not name.

    Args:
        examples: how many requests an operation gets.
        headers: of each request, such as credentials.
        known: name → value of path parameters and members of bodies that exist; every other request has them.
        prepare: has the last word on each request.
    """
    answers = Answers()
    for operation in operations:
        for number, case in enumerate(_cases_of(operation, examples)):
            if number % 2:
                for place in (case.path_parameters, case.body):
                    if isinstance(place, dict):
                        place |= {name: value for name, value in (known or {}).items() if name in place}
            try:
                sent = case.as_transport_kwargs(base_url=str(client.base_url))
                sent["headers"] = {**(sent.get("headers") or {}), **(headers or {})}
                if prepare is not None:
                    prepare(case, sent, number)
                answer = await _send(client, sent)
            except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError):
                # Nothing that could be sent.
                continue
            answers.by_operation[operation.method, operation.path].add(answer.status_code)
            case.validate_response(answer, checks=CHECKS)
    return answers


def _cases_of(operation: Any, examples: int) -> list[Any]:
    cases: list[Any] = []

    # All at once, since Hypothesis calls its function without a loop to await in.
    @settings(
        max_examples=examples,
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
    taken: dict[str, Any] = {name: sent[name] for name in ("method", "url", "headers", "params") if name in sent}
    data = sent.get("data")
    if "json" in sent:
        taken["json"] = sent["json"]
    elif isinstance(data, dict):
        taken["data"] = data
    elif data is not None:
        taken["content"] = data if isinstance(data, bytes | str) else str(data)
    request = client.build_request(**taken)
    if cookies := sent.get("cookies"):
        request.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return await client.send(request)
