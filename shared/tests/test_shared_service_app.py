"""What every service answers alike: refusals, health, readiness, metrics, and a description of itself."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Form, Query, Request
from fastapi.exceptions import HTTPException
from platform_testing.callers import FakeRegister
from platform_testing.serving import PUBLIC_URL, running
from pydantic import BaseModel, ConfigDict, Field
from shared.callers import Caller, Callers, document_credentials, require
from shared.dependencies import provide
from shared.errors import Conflict, Unavailable
from shared.identifiers import Identifier
from shared.proxies import ProxyTrust
from shared.service_app import create_service_app
from starlette.responses import Response

from shared import readiness

from .conftest import Lifespan, MakeSettings

LIMIT = 8192
SECRET = "hush-hush-9f3a"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    n: int = Field(le=2**53)
    words: dict[str, int] = {}


class OutOfStock(Conflict):
    code = "out_of_stock"


class Checks:
    """Readiness, as a test wishes it."""

    def __init__(self) -> None:
        self.database: BaseException | None = None
        self.keys: BaseException | None = None
        self.hang = False

    async def check_database(self) -> None:
        if self.hang:
            await asyncio.Event().wait()
        if self.database is not None:
            raise self.database

    async def check_keys(self) -> None:
        if self.keys is not None:
            raise self.keys


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
def app(make_settings: MakeSettings, lifespan: Lifespan, checks: Checks, register: FakeRegister) -> FastAPI:
    app = create_service_app(
        make_settings(max_body_bytes=LIMIT),
        title="things",
        description="Things.",
        lifespan=lifespan,
        readiness={"database": checks.check_database, "keys": checks.check_keys},
    )
    provide(app, Callers(register, keys=None, public_url=PUBLIC_URL, proxies=ProxyTrust([])))

    @app.post("/things/{thing_id}", dependencies=document_credentials())
    async def make(thing_id: Identifier, body: Body) -> dict[str, int]:
        return {"n": body.n}

    @app.get("/things")
    async def search(limit: Annotated[int, Query(ge=1, le=100)]) -> dict[str, int]:
        return {"limit": limit}

    @app.get("/mine")
    async def mine(caller: Caller = require("points:read", "points:admin")) -> dict[str, str]:
        return {"client_id": caller.client_id}

    @app.post("/forms")
    async def form(email: Annotated[str, Form()]) -> dict[str, str]:
        return {"email": email}

    @app.post("/bodies")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.post("/imports", max_body_size=10 * LIMIT)
    async def long(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @app.post("/unread")
    async def unread() -> str:
        return "not read"

    @app.get("/refusals/{kind}")
    async def refuse(kind: str) -> Response:
        if kind == "conflict":
            raise OutOfStock("There is none left.", state="rejected", left=0, log=f"{SECRET} in the log")
        if kind == "unavailable":
            raise Unavailable(log=SECRET, retry_after_seconds=7)
        if kind == "http":
            raise HTTPException(403, detail=SECRET)
        raise RuntimeError(f"{SECRET} in a bug")

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as client:
        yield client


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of a refusal, which looks the same wherever it comes from."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"] == f"/developers/codes#{body['code']}"
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert SECRET not in answer.text
    return body


# ——— what the framework refuses ———


async def test_an_address_that_is_not_there_is_404(client: httpx.AsyncClient) -> None:
    for path in ("/nothing", "/things/1/2", "/favicon.ico", "/redoc", "//things", "/things/../nothing"):
        problem(await client.get(path), 404, "not_found")


async def test_a_stray_slash_is_404_and_sends_nobody_to_plain_http(client: httpx.AsyncClient) -> None:
    answer = await client.get("/mine/", headers={"Host": "points.example:443"})
    problem(answer, 404, "not_found")
    assert "Location" not in answer.headers


async def test_a_method_that_is_not_taken_is_405_and_says_which_is(client: httpx.AsyncClient) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await client.request(method, "/things/1")
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b'{"n": 1}', None),
        (b'{"n": 1}', "text/plain"),
        (b'{"n": 1}', "application/x-www-form-urlencoded"),
        (b'{"n": 1}', "application/octet-stream"),
        (b"<n>1</n>", "application/xml"),
        (b'{"n": 1}', "nonsense"),
    ],
)
async def test_a_body_of_another_type_is_415(
    client: httpx.AsyncClient, content: bytes, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    problem(await client.post("/things/1", content=content, headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"])
async def test_json_is_json_however_it_is_spelt(client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post("/things/1", content=b'{"n": 1}', headers={"Content-Type": content_type})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "malformed_request"),
        (b"{", "malformed_json"),
        (b"{'n': 1}", "malformed_json"),
        (b"\xff\xfe", "malformed_json"),
        (b"null", "malformed_request"),
        (b"[]", "malformed_request"),
        (b"7", "malformed_request"),
        (b"{}", "malformed_request"),
        (b'{"n": "one"}', "malformed_request"),
        (b'{"n": 1.5}', "malformed_request"),
        (b'{"n": NaN}', "malformed_request"),
        (b'{"n": 1e400}', "malformed_request"),
        (b'{"n": null}', "malformed_request"),
        (b'{"n": 1, "m": 2}', "malformed_request"),
        (b'{"n": "\\ud800"}', "malformed_request"),
        (b'{"n": 1, "\\ud800": 2}', "malformed_request"),
        (b'{"n": 1, "words": {"\\ud800": "x"}}', "malformed_request"),
        (b'{"n": 1, "words": {"\\u0000": "x"}}', "malformed_request"),
        (b'{"n": ' + b"9" * 1500 + b"}", "malformed_request"),
        (b'{"n": ' + b"9" * 5000 + b"}", "malformed_request"),
        (b"[" * 2000, "malformed_request"),
        (b'{"a":' * 400, "malformed_json"),
    ],
)
async def test_a_body_that_is_not_what_is_asked_for_is_400_and_never_422(
    client: httpx.AsyncClient, content: bytes, code: str
) -> None:
    answer = await client.post("/things/1", content=content, headers={"Content-Type": "application/json"})
    problem(answer, 400, code)


async def test_what_is_wrong_is_named_and_what_was_sent_is_not_repeated(client: httpx.AsyncClient) -> None:
    answer = await client.post("/things/1", json={"n": SECRET, "words": {"a": SECRET}})
    body = problem(answer, 400, "malformed_request")
    assert [error["field"] for error in body["errors"]] == ["n", "words.a"]
    assert all(error["message"] for error in body["errors"])
    assert body["detail"].startswith("The input is not valid: n: ")


async def test_a_thousand_mistakes_are_not_all_listed(client: httpx.AsyncClient) -> None:
    answer = await client.post("/things/1", json={"n": 1, "words": {f"w{number}": "x" for number in range(100)}})
    assert len(problem(answer, 400, "malformed_request")["errors"]) == 20


async def test_ids_and_queries_are_validated_too(client: httpx.AsyncClient) -> None:
    for path in (
        "/things/%00",
        "/things/%0a",
        f"/things/{'a' * 129}",
        "/things/%E2%80%8Ba",
        "/things/%ff",
        "/things/%20",
    ):
        body = problem(await client.post(path, json={"n": 1}), 400, "malformed_request")
        assert [error["field"] for error in body["errors"]] == ["thing_id"]
    for query in ("", "?limit=", "?limit=0", "?limit=x", "?limit=%00"):
        body = problem(await client.get(f"/things{query}"), 400, "malformed_request")
        assert [error["field"] for error in body["errors"]] == ["limit"]


async def test_a_form_that_cannot_be_read_is_400(client: httpx.AsyncClient) -> None:
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        answer = await client.post("/forms", content=b"\xff", headers={"Content-Type": content_type})
        problem(answer, 400, "malformed_request")


# ——— long bodies ———


async def in_pieces(length: int) -> AsyncIterator[bytes]:
    for start in range(0, length, 100):
        yield b"x" * min(100, length - start)


@pytest.mark.parametrize("path", ["/things/1", "/bodies", "/forms"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "in pieces"])
async def test_a_body_that_is_too_long_is_413(client: httpx.AsyncClient, path: str, declared: bool) -> None:
    types = {"/things/1": "application/json", "/bodies": "text/plain", "/forms": "application/x-www-form-urlencoded"}
    content = b"x" * (LIMIT + 1) if declared else in_pieces(LIMIT + 1)
    answer = await client.post(path, content=content, headers={"Content-Type": types[path]})
    problem(answer, 413, "payload_too_large")


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "in pieces"])
async def test_the_longest_body_is_taken(client: httpx.AsyncClient, declared: bool) -> None:
    answer = await client.post("/bodies", content=b"x" * LIMIT if declared else in_pieces(LIMIT))
    assert answer.json() == LIMIT


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "in pieces"])
async def test_a_route_may_take_more(client: httpx.AsyncClient, declared: bool) -> None:
    length = 10 * LIMIT
    answer = await client.post("/imports", content=b"x" * length if declared else in_pieces(length))
    assert answer.json() == length
    answer = await client.post("/imports", content=b"x" * (length + 1) if declared else in_pieces(length + 1))
    assert answer.status_code == 413


async def test_a_long_body_that_nobody_reads_is_nobodys_business(client: httpx.AsyncClient) -> None:
    assert (await client.post("/unread", content=b"x" * (LIMIT + 1))).status_code == 200


async def test_a_body_that_is_too_long_is_no_unexpected_error(client: httpx.AsyncClient) -> None:
    before = await unexpected(client)
    await client.post("/things/1", content=b"x" * (LIMIT + 1), headers={"Content-Type": "application/json"})
    assert await unexpected(client) == before


# ——— what services refuse ———


async def test_a_refusal_gives_its_code_and_members_and_keeps_the_rest_for_the_log(client: httpx.AsyncClient) -> None:
    body = problem(await client.get("/refusals/conflict"), 409, "out_of_stock")
    assert (body["detail"], body["state"], body["left"]) == ("There is none left.", "rejected", 0)


async def test_503_says_when_to_come_again(client: httpx.AsyncClient) -> None:
    answer = await client.get("/refusals/unavailable")
    problem(answer, 503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "7"


async def test_a_bug_says_nothing_of_the_inside_and_carries_the_request_id(client: httpx.AsyncClient) -> None:
    before = await unexpected(client)
    body = problem(await client.get("/refusals/bug", headers={"X-Request-Id": "find-me"}), 500, "internal_error")
    assert body["request_id"] == "find-me"
    assert "Traceback" not in json.dumps(body)
    assert "RuntimeError" not in json.dumps(body)
    assert await unexpected(client) == before + 1


async def test_an_exception_of_the_framework_is_a_refusal_too(client: httpx.AsyncClient) -> None:
    answer = await client.get("/refusals/http")
    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"


async def test_without_credentials_it_is_401_and_with_too_few_scopes_403(
    client: httpx.AsyncClient, register: FakeRegister
) -> None:
    for headers in ({}, {"Authorization": "Basic !"}, {"Authorization": "Bearer x"}):
        answer = await client.get("/mine", headers=headers)
        assert answer.headers["WWW-Authenticate"]
        problem(answer, 401, "invalid_credentials")
    problem(await client.get("/mine", headers=register.add("demo", "users:read")), 403, "insufficient_scope")
    elsewhere = register.add("demo", "points:read", ip_allow_list=("198.51.100.0/24",))
    problem(await client.get("/mine", headers=elsewhere), 403, "ip_not_allowed")
    for scope in ("points:read", "points:admin"):
        assert (await client.get("/mine", headers=register.add("demo", scope))).status_code == 200
    register.is_down = True
    answer = await client.get("/mine", headers=register.add("demo", "points:read"))
    problem(answer, 503, "temporarily_unavailable")
    assert answer.headers["Retry-After"]


# ——— operations ———


async def unexpected(client: httpx.AsyncClient) -> float:
    return metric((await client.get("/metrics")).text, "http_unexpected_errors_total")


def metric(text: str, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


async def test_the_process_is_alive_though_it_cannot_work(
    client: httpx.AsyncClient, app: FastAPI, checks: Checks
) -> None:
    checks.database = Unavailable("The database is away.")
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive", "version": app.state.build})


async def test_readiness_names_what_fails(client: httpx.AsyncClient, checks: Checks) -> None:
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]) == (200, {"database": "ok", "keys": "ok"})
    checks.database = Unavailable("The database is at revision 1, this program needs 2.", log=SECRET)
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not ready",
        "checks": {"database": "The database is at revision 1, this program needs 2.", "keys": "ok"},
    }
    assert answer.headers["Retry-After"]
    assert answer.headers["Cache-Control"] == "no-store"
    checks.database, checks.keys = None, RuntimeError(SECRET)
    assert (await client.get("/readyz")).json()["checks"] == {"database": "ok", "keys": "RuntimeError"}
    checks.keys = None
    assert (await client.get("/readyz")).status_code == 200


async def test_a_check_that_hangs_is_named_too(
    client: httpx.AsyncClient, checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_SECONDS", 0.05)
    checks.hang = True
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"database": "does not answer", "keys": "ok"})


async def test_figures_tell_of_readiness_also_where_nobody_asks_for_it(
    client: httpx.AsyncClient, checks: Checks
) -> None:
    for keys, well in ((Unavailable("No key opens the rows."), 0), (None, 1)):
        checks.keys = keys
        text = (await client.get("/metrics")).text
        assert metric(text, 'readiness_check{check="keys"}') == well
        assert metric(text, 'readiness_check{check="database"}') == 1


async def test_metrics_count_requests_by_route_and_not_by_path(client: httpx.AsyncClient) -> None:
    await client.post("/things/one-1", json={"n": 1})
    await client.post("/things/one-2", json={"n": "x"})
    await client.get("/nowhere/one-3")
    await client.delete("/things/one-4")
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    for labels in (
        '{method="POST",route="/things/{thing_id}",status="200"}',
        '{method="POST",route="/things/{thing_id}",status="400"}',
        '{method="GET",route="(none)",status="404"}',
    ):
        assert metric(answer.text, f"http_request_seconds_count{labels}") >= 1
    assert "one-" not in answer.text
    assert metric(answer.text, "http_requests_in_flight") >= 1


# ——— the description ———


async def test_openapi_says_what_is_sent(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    schema = answer.json()
    assert schema["openapi"].startswith("3.1")
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    assert operations
    for operation in operations:
        assert "422" not in operation["responses"]
        assert "application/problem+json" in operation["responses"]["4XX"]["content"]
        assert operation["operationId"]
    assert not {"HTTPValidationError", "ValidationError"} & set(schema["components"]["schemas"])
    assert {"/healthz", "/readyz"} <= set(schema["paths"])
    assert "/metrics" not in schema["paths"]
    schemes = schema["components"]["securitySchemes"]
    assert {scheme["scheme"] for scheme in schemes.values()} == {"basic", "bearer"}
    page = await client.get("/docs")
    assert page.status_code == 200
    # Everything that it loads is ours, and there.
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) >= 3
    for address in loaded:
        assert address.startswith("/docs/static/")
        assert (await client.get(address)).status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
