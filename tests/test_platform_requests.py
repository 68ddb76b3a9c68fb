"""What holds of every request to every service, whatever it asks for: one rule, one test, all routes."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from local_platform.services import SERVICES, Service
from shared.callers import Caller, Callers
from starlette.types import Message, Scope

from .every_service import METHODS, PublicRoute, build_every_service, public_routes

#: A client that may do everything.
ALMIGHTY = Caller(
    "client-1",
    "demo",
    frozenset(
        {
            *("points:redeem", "points:read", "points:admin", "sso:issue", "sso:admin", "partner:handshake"),
            *("users:read", "users:write", "tokens:issue", "tokens:verify", "tokens:stats", "clients:admin"),
        }
    ),
)
#: OAuth's own endpoints, and the one page that stands in OpenAPI.
TAKE_ANY_QUERY = ("/tenants/", "/.well-known/", "/sso/v1/redeem/")
OAUTH = ("token", "introspect", "revoke")
#: Taken from strangers as well; and OAuth's, whose credentials may be in the form.
FOR_EVERYBODY = {"/v1/integration-requests", *(f"/tenants/{{tenant}}/oauth/{name}" for name in OAUTH)}

#: POSTs that change nothing; a trial, which is to be carried out each time; OAuth's, whose codes are good once; and
#: lists, whose rows say themselves what they repeat.
TAKE_NO_KEY = {
    *("/sso/v1/inspect", "/eai/v1/reconciliations", *(f"/tenants/{{tenant}}/oauth/{name}" for name in OAUTH)),
    *(f"/events/v1/{topic}/endpoints/{{endpoint_id}}/test" for topic in ("points", "redirects", "links", "tokens")),
    *("/v1/credits/import", "/v1/tokens/import"),
}

#: Asks whose it is before it reads a body: elsewhere it is 404, whatever comes.
OF_SANDBOXES = "/v1/sandbox/clock"

#: Parameters of paths that are ids of the callers' own.
CHOSEN_BY_CALLERS = {"user_id", "userId", "userid", "vendor_id", "transactionid", "campaign_id"}

#: A path of each service that asks who calls.
FOR_A_CALLER = {
    "points-ledger": "/v1/accounts/ada",
    "sso-issuer": "/sso/v1/vendors/shop",
    "partner-onboarding": "/v1/audit",
    "token-service": "/v1/campaigns",
}


#: JSON's scalars with the name of their type. Of what could be read as another type, each way that it could.
OF_EVERY_TYPE = (
    *(("boolean", True), ("integer", 0), ("integer", 1), ("number", 1.5)),
    *(("string", "1"), ("string", "true"), ("string", "2026-12-01T00:00:00Z")),
)


def types_of_members(schema: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, set[str]]:
    """The JSON types that each member of a body may have; without members that say none."""
    return {
        name: types
        for name, said in resolved(schema, document).get("properties", {}).items()
        if (types := types_of(said, document))
    }


def types_of(schema: Mapping[str, Any], document: Mapping[str, Any]) -> set[str]:
    schema = resolved(schema, document)
    either = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if either:
        return {kind for one in either for kind in types_of(one, document)}
    kinds = schema.get("type", [])
    named = {kinds} if isinstance(kinds, str) else set(kinds)
    return named | {"integer"} if "number" in named else named


def resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Any = document
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return resolved(found, document)


class Services:
    """All services with all their routes; nothing is started."""

    def __init__(self, directory: Path) -> None:
        self.apps = build_every_service(directory)
        self.routes = [route for service, app in self.apps.items() for route in public_routes(service, app)]

    def client(self, service: Service) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.apps[service], raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="https://points.example")

    def operations(self) -> Iterator[tuple[PublicRoute, str, Any]]:
        """Each operation of each OpenAPI document."""
        for route in self.routes:
            for method, said in route.documented.items():
                yield route, method, said

    def taken_at(self, route: PublicRoute) -> set[str]:
        """The methods of all routes that fit the address."""
        beside = [one for one in self.routes if one.service is route.service and one.matches(route.example)]
        taken = {method for one in beside for method in one.methods}
        return taken | {"HEAD"} if "GET" in taken else taken


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return Services(tmp_path_factory.mktemp("services"))


@pytest.fixture
def let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async def authenticate(_callers: Callers, scope: Scope) -> Caller:
        scope.setdefault("state", {})["caller"] = ALMIGHTY
        return ALMIGHTY

    monkeypatch.setattr(Callers, "authenticate", authenticate)


async def test_head_is_answered_where_get_is(services: Services) -> None:
    for route in services.routes:
        async with services.client(route.service) as client:
            got, head = await client.get(route.example), await client.head(route.example)
        assert head.status_code == got.status_code, route
        assert head.content == b"", route
        assert ("GET" in services.taken_at(route)) is (head.status_code != 405), route


async def test_a_405_names_all_methods_of_the_path(services: Services) -> None:
    for route in services.routes:
        taken = services.taken_at(route)
        async with services.client(route.service) as client:
            for method in {*METHODS, "BREW"} - taken:
                answer = await client.request(method, route.example)
                assert answer.status_code == 405, (str(route), method)
                assert set(answer.headers["Allow"].split(", ")) == taken, (str(route), method)


async def test_an_encoded_body_is_415_everywhere(services: Services) -> None:
    for route in services.routes:
        async with services.client(route.service) as client:
            for method in route.methods:
                answer = await client.request(method, route.example, headers={"Content-Encoding": "gzip"})
                assert answer.status_code == 415, (str(route), method)
                assert answer.headers["Accept-Encoding"] == "identity"


async def test_a_path_that_begins_with_two_slashes_is_404_and_leads_nowhere(services: Services) -> None:
    for route in services.routes:
        async with services.client(route.service) as client:
            answer = await client.get(f"https://points.example//evil.example{route.example}")
        assert answer.status_code == 404, route
        assert "evil.example" not in answer.text


def needed_by(said: Any) -> dict[str, str]:
    """The query without which the operation is none: EAI names it there."""
    return {
        one["name"]: "1" for one in said.get("parameters", ()) if "allowEmptyValue" in one and "commit" in one["name"]
    }


async def test_an_unknown_parameter_is_400_on_every_api(services: Services, let_in: None) -> None:
    for route, method, said in services.operations():
        async with services.client(route.service) as client:
            query = {**needed_by(said), "no_such_parameter": "1"}
            answer = await client.request(method, route.example, params=query)
        if route.path.startswith(TAKE_ANY_QUERY):
            assert "unknown_parameter" not in answer.text, (str(route), method)
        else:
            assert answer.status_code == 400, (str(route), method, answer.text)
            assert answer.json()["code"] == "unknown_parameter", (str(route), method, answer.text)


async def test_a_parameter_that_comes_twice_is_400_on_every_api(services: Services, let_in: None) -> None:
    tried = 0
    for route, method, said in services.operations():
        if route.path.startswith(TAKE_ANY_QUERY):
            continue
        for parameter in said.get("parameters", ()):
            # To name two operations is refused as such.
            is_operation = parameter.get("allowEmptyValue")
            if parameter["in"] != "query" or parameter["schema"].get("type") == "array" or is_operation:
                continue
            async with services.client(route.service) as client:
                query = [(parameter["name"], "1"), (parameter["name"], "1")]
                answer = await client.request(method, httpx.URL(route.example, params=query))
            assert answer.status_code == 400, (str(route), method, parameter["name"])
            assert answer.json()["code"] == "repeated_parameter", (str(route), method, answer.text)
            tried += 1
    assert tried > 30


async def test_a_member_that_comes_twice_is_400_on_every_api(services: Services, let_in: None) -> None:
    tried = 0
    for route, method, said in services.operations():
        if "application/json" not in said.get("requestBody", {}).get("content", {}):
            continue
        async with services.client(route.service) as client:
            for body in (b'{"a": 1, "a": 1}', b'{"a": 1, "\\u0061": 2}', b'[{"b": {"a": 1, "a": 2}}]'):
                headers = {"Content-Type": "application/json"}
                answer = await client.request(
                    method, route.example, params=needed_by(said), content=body, headers=headers
                )
                assert answer.status_code == 400, (str(route), method, answer.text)
                assert answer.json()["code"] == "repeated_member", (str(route), method, answer.text)
        tried += 1
    assert tried > 10


async def test_a_member_of_another_type_is_400_on_every_api(services: Services, let_in: None) -> None:
    tried = 0
    for route, method, said in services.operations():
        if route.path == OF_SANDBOXES:
            continue
        content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
        document = services.apps[route.service].openapi()
        for name, types in types_of_members(content.get("schema", {}), document).items():
            for kind, value in OF_EVERY_TYPE:
                if kind in types:
                    continue
                async with services.client(route.service) as client:
                    # A member that nobody knows, so that no body is good.
                    answer = await client.request(
                        method, route.example, params=needed_by(said), json={name: value, "made_up": 1}
                    )
                assert answer.status_code == 400, (str(route), method, answer.text)
                wrong = {error["field"].split(".")[0] for error in answer.json()["errors"]}
                assert name in wrong, (str(route), method, name, value)
                tried += 1
    assert tried > 100


def test_every_post_that_changes_something_takes_an_idempotency_key(services: Services) -> None:
    without = {
        route.path
        for route, method, said in services.operations()
        if method == "POST" and "Idempotency-Key" not in {one["name"] for one in said.get("parameters", ())}
    }
    assert without == TAKE_NO_KEY


@pytest.mark.parametrize("identifier", ["a/b", "/", "a/"])
def test_an_id_that_callers_choose_may_have_a_slash_on_every_path(services: Services, identifier: str) -> None:
    tried = 0
    for route in services.routes:
        if chosen := set(re.findall(r"{(\w+)}", route.path)) & CHOSEN_BY_CALLERS:
            assert route.matches(route.path.replace(f"{{{chosen.pop()}}}", identifier)), str(route)
            tried += 1
    assert tried > 15


async def test_a_stranger_is_refused_before_a_byte_of_the_body_is_waited_for(services: Services) -> None:
    tried = 0
    for route, method, said in services.operations():
        if not said.get("security") or "requestBody" not in said or route.path in FOR_EVERYBODY:
            continue
        answer = await first_answer_to_a_body_that_never_comes(services.apps[route.service], method, route.example)
        assert answer == 401, (str(route), method)
        tried += 1
    assert tried > 10


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
async def test_a_client_that_asks_too_often_is_told_when_to_come_again(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def known(*_: object) -> Caller:
        return ALMIGHTY

    monkeypatch.setattr(Callers, "_basic", known)
    app = build_every_service(tmp_path, REQUESTS_PER_CLIENT="2")[service]
    path = FOR_A_CALLER[service.name]
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://points.example", auth=("a", "b")) as client:
        answers = [await client.get(path) for _ in range(3)]
    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    # Before that, each answer says how many are left.
    assert [answer.headers["RateLimit"].partition(";t=")[0] for answer in answers[:2]] == [
        '"client";r=1',
        '"client";r=0',
    ]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"client";q=2;w=60'}
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert answers[-1].headers["RateLimit-Policy"] == '"client";q=2;w=60'
    assert answers[-1].headers["RateLimit"].startswith('"client";r=0;t=')


async def first_answer_to_a_body_that_never_comes(app: FastAPI, method: str, path: str) -> int:
    """The status."""
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start" and not answered.done():
            answered.set_result(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "https",
        "query_string": b"",
        "headers": [(b"host", b"points.example"), (b"content-type", b"application/json"), (b"content-length", b"9")],
        "client": ("192.0.2.1", 50_000),
        "server": ("points.example", 443),
    }
    calling = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(60):
            return await answered
    finally:
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
