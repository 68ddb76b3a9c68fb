"""Around every request: an id, a trace, a line in the log, a count, and an answer whatever happens."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from platform_testing.callers import FakeRegister
from platform_testing.serving import PUBLIC_URL, running
from shared.callers import Caller, Callers, require
from shared.dependencies import provide
from shared.errors import Conflict
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute, HotRouteApp
from shared.idempotency import Answer
from shared.problems import problem_response
from shared.proxies import ProxyTrust
from shared.request_frame import RequestFrame, current_request
from shared.service_app import create_service_app
from shared.settings import ServiceSettings
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from .conftest import Lifespan
from .scopes import scope_of

JSON = {"Content-Type": "application/json"}
SECRET = "hush-hush-9f3a"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def hot(call: HotCall[list[str]]) -> Answer:
    if call.body == ["refuse"]:
        raise Conflict("No.", code="hot_refusal", log="why it was refused")
    if call.body == ["fail"]:
        raise RuntimeError(SECRET)
    return Answer.of(200, len("".join(call.body)))


async def let_in(_request: Request) -> Caller:
    return Caller("anybody", "demo", frozenset())


HOT = HotRoute(
    method="POST",
    path="/hot",
    name="hot",
    tag="things",
    summary="Hot",
    scopes=(),
    authorize=let_in,
    operations={"commit": HotOperation(hot, body=list[str], answers={200: Answered("Done", int)})},
)


@pytest.fixture
def app(settings: ServiceSettings, lifespan: Lifespan, register: FakeRegister) -> FastAPI:
    app = create_service_app(
        settings.model_copy(update={"max_body_bytes": 1024}),
        title="things",
        description="",
        lifespan=lifespan,
        readiness={},
        hot_routes=[HOT],
    )
    provide(app, Callers(register, keys=None, public_url=PUBLIC_URL, proxies=ProxyTrust([])))

    @app.get("/things/{thing_id}")
    async def thing(thing_id: str, token: str = "") -> dict[str, str]:
        context = current_request.get()
        assert context is not None
        return {"request_id": context.request_id, "traceparent": context.traceparent}

    @app.get("/who")
    async def who(caller: Caller = require("points:read")) -> str:
        return caller.tenant

    @app.get("/bugs/{name}")
    async def bug(name: str) -> str:
        raise RuntimeError(f"{SECRET} {name}")

    @app.get("/torn")
    async def torn() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError(SECRET)

        return StreamingResponse(pieces())

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as client:
        yield client


class Log:
    """The lines that were written."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def text(self) -> str:
        return self._capture.readouterr().err

    def requests(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.text().splitlines()]
        return [line for line in lines if line["event"] == "request"]


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Log:
    return Log(capsys)


# ——— what no request may be ———


@pytest.mark.parametrize("path", ["/hot", "/things/1", "/nothing"])
async def test_an_encoded_body_is_415_and_says_what_is_taken(client: httpx.AsyncClient, path: str) -> None:
    for coding in ("gzip", "br", "identity, gzip"):
        answer = await client.post(path, content=b"x", headers={"Content-Encoding": coding})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_content_encoding")
        assert answer.headers["Accept-Encoding"] == "identity"
    answer = await client.post(path, content=b"x", headers={"Content-Encoding": "identity"})
    assert answer.status_code != 415 or answer.json()["code"] == "unsupported_media_type"


@pytest.mark.parametrize("path", ["//hot", "//evil.example/things/1", "//"])
async def test_an_address_of_two_slashes_is_404_and_leads_nowhere(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"{PUBLIC_URL}{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "evil" not in answer.text


async def test_head_is_get_without_the_body(client: httpx.AsyncClient, log: Log) -> None:
    got, head = await client.get("/things/1"), await client.head("/things/1")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert log.requests()[-1]["method"] == "HEAD"


# ——— ids and traces ———


async def test_of_two_ids_none_is_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/things/1", headers=[("X-Request-Id", "me-1"), ("X-Request-Id", "me-2")])
    assert "me-" not in answer.headers["X-Request-Id"]


@pytest.mark.parametrize("given", ["a", "req-7", "0b9e/a.b:c_d+e=", "x" * 128])
async def test_an_id_that_is_sent_is_kept_echoed_and_logged(client: httpx.AsyncClient, log: Log, given: str) -> None:
    answer = await client.get("/things/1", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] == given
    assert answer.json()["request_id"] == given
    assert log.requests()[0]["request_id"] == given


@pytest.mark.parametrize("given", ["", " ", "two words", "x" * 129, "é", "a\tb", '"quoted"', "<b>", "a\\nb", "{}"])
async def test_an_id_that_is_none_is_replaced(client: httpx.AsyncClient, log: Log, given: str) -> None:
    answer = await client.get("/things/1", headers=[(b"X-Request-Id", given.encode())])
    made = answer.headers["X-Request-Id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert answer.json()["request_id"] == made


async def test_every_request_without_an_id_gets_its_own(client: httpx.AsyncClient) -> None:
    ids = {(await client.get("/things/1")).headers["X-Request-Id"] for _ in range(20)}
    assert len(ids) == 20


async def test_a_trace_that_is_sent_goes_on(client: httpx.AsyncClient) -> None:
    answer = await client.get("/things/1", headers={"traceparent": TRACE})
    assert answer.headers["traceparent"] == answer.json()["traceparent"] == TRACE


@pytest.mark.parametrize(
    "given",
    [
        "",
        "x",
        TRACE.upper(),
        TRACE.replace("00-", "ff-", 1),
        TRACE + "-x",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
async def test_a_trace_that_is_none_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/things/1", headers={"traceparent": given})
    assert answer.headers["traceparent"] != given
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", answer.headers["traceparent"])


async def test_requests_at_the_same_time_keep_their_ids_apart(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(client.get("/things/1", headers={"X-Request-Id": f"r-{number}"}) for number in range(50))
    )
    assert [answer.json()["request_id"] for answer in answers] == [f"r-{number}" for number in range(50)]
    assert current_request.get() is None


async def test_browsers_are_told_not_to_guess(client: httpx.AsyncClient) -> None:
    for path in ("/things/1", "/nothing", "/bugs/1", "/healthz"):
        assert (await client.get(path)).headers["X-Content-Type-Options"] == "nosniff"


# ——— the log ———


async def test_the_log_names_the_route_and_never_path_or_query(client: httpx.AsyncClient, log: Log) -> None:
    """Those carry tokens and codes."""
    await client.get(f"/things/{SECRET}?token={SECRET}")
    await client.get(f"/nothing/{SECRET}?code={SECRET}")
    await client.post(f"/things/{SECRET}")
    await client.get("/things/1", headers={"Referer": f"https://x/?{SECRET}", "Cookie": f"session={SECRET}"})
    text = log.text()
    assert SECRET not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("GET", "/things/{thing_id}", 200),
        ("GET", "(none)", 404),
        ("POST", "/things/{thing_id}", 405),
        ("GET", "/things/{thing_id}", 200),
    ]
    assert all(line["ms"] >= 0 for line in lines)


async def test_the_log_names_the_caller_and_the_refusal(
    client: httpx.AsyncClient, log: Log, register: FakeRegister
) -> None:
    headers = register.add("demo", "points:read", client_id="shop")
    await client.get("/who", headers=headers)
    await client.get("/who")
    await client.post("/hot?commit", json=["refuse"])
    known, unknown, refused = log.requests()
    assert (known["client_id"], known["tenant"]) == ("shop", "demo")
    assert (unknown["client_id"], unknown["tenant"]) == (None, None)
    assert unknown["refusal"] == "invalid_credentials"
    assert (refused["refusal"], refused["why"]) == ("hot_refusal", "why it was refused")


async def test_what_machines_ask_all_the_time_is_not_logged(client: httpx.AsyncClient, log: Log) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await client.get(path)).status_code == 200
    assert log.requests() == []


# ——— errors that nobody had thought of ———


@pytest.mark.parametrize(("method", "path", "body"), [("GET", "/bugs/1", b""), ("POST", "/hot?commit", b'["fail"]')])
async def test_a_bug_is_answered_with_nothing_but_the_request_id_and_logged_with_all(
    client: httpx.AsyncClient, log: Log, method: str, path: str, body: bytes
) -> None:
    answer = await client.request(method, path, content=body, headers={"X-Request-Id": "find-me", **JSON})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"] == "find-me"
    assert SECRET not in answer.text
    text = log.text()
    error, request = (json.loads(line) for line in text.splitlines())
    assert (error["event"], error["request_id"]) == ("unexpected error", "find-me")
    assert SECRET in error["exception"]
    assert (request["status"], request["request_id"]) == (500, "find-me")


async def test_an_answer_that_breaks_off_is_not_patched_up(app: FastAPI, log: Log) -> None:
    """A second answer in the middle of the first would be worse than none: the connection is cut."""
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(BaseException, match=r".") as broken:
        await app(
            scope_of() | {"path": "/torn", "raw_path": b"/torn", "query_string": b"", "root_path": ""}, receive, send
        )
    assert SECRET in repr(broken.value.exceptions if isinstance(broken.value, BaseExceptionGroup) else broken.value)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 200
    assert "unexpected error" in log.text()


async def test_who_hangs_up_is_no_failure_of_ours(log: Log) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        raise AssertionError("nobody is there to be answered")

    route = HotRouteApp(HOT, max_body_bytes=1024, render=problem_response)
    scope = scope_of(JSON) | {"method": "POST", "path": "/hot", "query_string": b"commit"}
    await RequestFrame(route, problem_response)(scope, receive, send)
    (line,) = log.requests()
    assert (line["route"], line["status"]) == ("/hot?commit", 499)


async def test_a_request_that_is_cancelled_is_counted_and_forgotten(log: Log) -> None:
    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    async def send(_message: Message) -> None: ...

    async def receive() -> Message:
        raise AssertionError

    request = asyncio.create_task(RequestFrame(never, problem_response)(scope_of(), receive, send))
    await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert [line["status"] for line in log.requests()] == [499]
    assert current_request.get() is None


async def test_what_is_no_http_passes_through() -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any: ...

    await RequestFrame(app, problem_response)({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


# ——— hot routes ———


async def test_a_hot_route_gets_its_whole_body_and_names_itself(client: httpx.AsyncClient, log: Log) -> None:
    async def crumbs() -> AsyncIterator[bytes]:
        for piece in b'["' + b"x" * 1020 + b'"]':
            yield bytes([piece])

    answer = await client.post("/hot?commit", content=crumbs(), headers=JSON)
    assert answer.json() == 1020
    assert answer.headers["X-Request-Id"]
    assert log.requests()[0]["route"] == "/hot?commit"


async def test_a_hot_route_takes_no_longer_body_than_the_others(client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    for content in (b"x" * 1025, pieces()):
        answer = await client.post("/hot?commit", content=content, headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


async def test_a_hot_route_is_of_one_method_and_one_path(client: httpx.AsyncClient) -> None:
    for method, path in (("POST", "/hot/"), ("POST", "/HOT"), ("POST", "//hot")):
        assert (await client.request(method, path)).status_code == 404
    for method in ("GET", "PUT", "HEAD", "BREW"):
        answer = await client.request(method, "/hot")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
