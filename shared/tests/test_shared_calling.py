"""Calls to another service: in time, as oneself, repeated only where that is safe, and trouble said plainly."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from platform_testing.callers import ServiceKeys
from pydantic import BaseModel
from shared.calling import ServiceClient, named
from shared.errors import Unavailable
from shared.request_frame import RequestContext, current_request

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Other:
    """The other service: gives its answers in turn, the last one for good."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception] = [httpx.Response(200, json={})]
        self.requests: list[httpx.Request] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def other() -> Other:
    return Other()


@pytest.fixture
async def client(other: Other, service_keys: ServiceKeys) -> AsyncIterator[ServiceClient]:
    client = ServiceClient(
        "http://ledger.invalid",
        audience="points-ledger",
        service_tokens=service_keys.tokens("sso-issuer"),
        transport=httpx.MockTransport(other.handle),
    )
    yield client
    await client.aclose()


Call = Callable[[ServiceClient], Any]
CALLS: dict[str, Call] = {
    "get": lambda client: client.get("/a", {"q": "1"}),
    "ask": lambda client: client.ask("/a", {"secret": "s"}),
    "post": lambda client: client.post("/a", {"n": 1}),
    "post with a key": lambda client: client.post("/a", {"n": 1}, idempotency_key="k-1"),
}
SAFE = ["get", "ask", "post with a key"]


@pytest.mark.parametrize("call", CALLS)
async def test_a_service_speaks_as_itself(
    client: ServiceClient, other: Other, service_keys: ServiceKeys, call: str
) -> None:
    await CALLS[call](client)
    scheme, _, token = other.requests[0].headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    assert service_keys.tokens("points-ledger").verify(token) == "sso-issuer"


async def test_the_requests_id_and_trace_go_along(client: ServiceClient, other: Other) -> None:
    token = current_request.set(RequestContext("request-7", TRACE, []))
    try:
        await client.get("/a")
    finally:
        current_request.reset(token)
    await client.get("/a")
    with_request, without = other.requests
    assert with_request.headers["X-Request-Id"] == "request-7"
    assert with_request.headers["traceparent"] == TRACE
    assert "X-Request-Id" not in without.headers


async def test_what_is_asked_arrives(client: ServiceClient, other: Other) -> None:
    await client.get("/a", {"q": "ü&x=1"})
    await client.ask("/b", {"secret": "s"})
    await client.post("/c", {"n": 1}, idempotency_key="k-1")
    get, ask, post = other.requests
    assert (get.method, get.url.path, dict(get.url.params)) == ("GET", "/a", {"q": "ü&x=1"})
    assert (ask.method, ask.url.path, ask.content) == ("POST", "/b", b'{"secret":"s"}')
    assert "Idempotency-Key" not in ask.headers
    assert (post.url.path, post.headers["Idempotency-Key"]) == ("/c", "k-1")


@pytest.mark.parametrize("status", [200, 201, 204, 303, 400, 401, 403, 404, 409])
async def test_every_answer_below_500_is_handed_on(client: ServiceClient, other: Other, status: int) -> None:
    other.answers = [httpx.Response(status, headers={"Location": "http://elsewhere.invalid/"}, json={"code": "x"})]
    for call in CALLS.values():
        assert (await call(client)).status_code == status
    assert len(other.requests) == len(CALLS)


TROUBLE: dict[str, httpx.Response | Exception] = {
    "500": httpx.Response(500),
    "502": httpx.Response(502, text="<html>bad gateway</html>"),
    "503": httpx.Response(503, headers={"Retry-After": "60"}),
    "429": httpx.Response(429),
    "refused": httpx.ConnectError("connection refused"),
    "reset": httpx.ReadError("connection reset"),
    "closed": httpx.RemoteProtocolError("server disconnected"),
}


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("call", SAFE)
async def test_a_passing_trouble_is_tried_once_more_where_that_is_safe(
    client: ServiceClient, other: Other, call: str, trouble: str
) -> None:
    other.answers = [TROUBLE[trouble], httpx.Response(200, json={"n": 7})]
    assert (await CALLS[call](client)).json() == {"n": 7}
    assert len(other.requests) == 2
    assert len({request.headers.get("Idempotency-Key") for request in other.requests}) == 1


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_what_may_have_happened_is_not_repeated(client: ServiceClient, other: Other, trouble: str) -> None:
    other.answers = [TROUBLE[trouble], httpx.Response(200, json={})]
    with pytest.raises(Unavailable):
        await CALLS["post"](client)
    assert len(other.requests) == 1


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("call", SAFE)
async def test_lasting_trouble_is_unavailable_and_said_to_the_log_only(
    client: ServiceClient, other: Other, call: str, trouble: str
) -> None:
    other.answers = [TROUBLE[trouble]]
    with pytest.raises(Unavailable) as refused:
        await CALLS[call](client)
    assert len(other.requests) == 2
    assert refused.value.log is not None
    assert refused.value.log.startswith("points-ledger: ")
    assert "points-ledger" not in refused.value.message
    assert refused.value.retry_after_seconds


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.ConnectTimeout, httpx.WriteTimeout, httpx.PoolTimeout])
@pytest.mark.parametrize("call", CALLS)
async def test_who_has_waited_in_vain_does_not_wait_again(
    client: ServiceClient, other: Other, call: str, error: type[httpx.TimeoutException]
) -> None:
    other.answers = [error("too late")]
    with pytest.raises(Unavailable):
        await CALLS[call](client)
    assert len(other.requests) == 1


async def test_a_body_that_cannot_be_decoded_is_trouble_of_the_other(client: ServiceClient, other: Other) -> None:
    other.answers = [
        httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip")),
        httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(gzip.compress(b"{}"))),
    ]
    assert (await client.get("/a")).json() == {}


# ——— over a real connection ———


@contextlib.asynccontextmanager
async def speaking(
    answer: bytes | None, keys: ServiceKeys, timeout_seconds: float = 2.0
) -> AsyncIterator[ServiceClient]:
    """A client of a server that reads a request and then says this, or nothing until the end."""
    the_end = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await the_end.wait()
        else:
            writer.write(answer)
        writer.close()
        done.release()

    done = asyncio.Semaphore(0)
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = ServiceClient(
        url,
        audience="points-ledger",
        service_tokens=keys.tokens("sso-issuer"),
        timeout_seconds=timeout_seconds,
    )
    try:
        yield client
    finally:
        the_end.set()
        await done.acquire()
        await client.aclose()
        server.close()


async def test_a_service_that_says_nothing_is_given_up_in_time(service_keys: ServiceKeys) -> None:
    async with speaking(None, service_keys, timeout_seconds=0.1) as client, asyncio.timeout(20):
        with pytest.raises(Unavailable):
            await client.get("/a")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b"SSH-2.0-x\r\n", b"\0" * 99]
)
async def test_a_service_that_talks_nonsense_is_unavailable(service_keys: ServiceKeys, answer: bytes) -> None:
    async with speaking(answer, service_keys) as client:
        with pytest.raises(Unavailable):
            await client.get("/a")


async def test_nobody_is_there(service_keys: ServiceKeys, unused_tcp_port: int) -> None:
    client = ServiceClient(
        f"http://127.0.0.1:{unused_tcp_port}",
        audience="points-ledger",
        service_tokens=service_keys.tokens("sso-issuer"),
    )
    with pytest.raises(Unavailable):
        await client.get("/a")
    await client.aclose()


async def test_proxies_of_the_environment_are_not_used(
    service_keys: ServiceKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would see the service tokens."""
    asked: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n"))
        writer.close()

    spy = await asyncio.start_server(proxy, "127.0.0.1", 0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{spy.sockets[0].getsockname()[1]}")
    async with speaking(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", service_keys) as client:
        assert (await client.get("/a")).json() == {}
    assert asked == []
    spy.close()


class Account(BaseModel):
    user_id: str
    available: int


_FINDING: dict[str, Callable[[ServiceClient], Any]] = {
    "find": lambda client: client.find(Account, "/a", absent="account_not_found"),
    "find by": lambda client: client.find_by(Account, "/a", {"secret": "s"}, absent="account_not_found"),
}
_NONSENSE = [
    httpx.Response(404, json={"code": "not_found"}),
    httpx.Response(404, json={}),
    httpx.Response(404, text="<html>"),
    httpx.Response(200, text="<html>"),
    httpx.Response(200, json=[]),
    httpx.Response(200, json={"user_id": "erika"}),
    httpx.Response(200, json={"user_id": "erika", "available": "many"}),
    httpx.Response(204),
    httpx.Response(301, headers={"Location": "/b"}),
    httpx.Response(400, json={"code": "account_not_found"}),
    httpx.Response(403, json={"code": "account_not_found"}),
]


@pytest.mark.parametrize("way", _FINDING)
async def test_what_is_there_and_what_the_service_itself_calls_absent(
    client: ServiceClient, other: Other, way: str
) -> None:
    other.answers = [
        httpx.Response(200, json={"user_id": "erika", "available": 7, "new": "field"}),
        httpx.Response(404, json={"code": "account_not_found"}),
    ]
    assert await _FINDING[way](client) == Account(user_id="erika", available=7)
    assert await _FINDING[way](client) is None


@pytest.mark.parametrize("answer", _NONSENSE, ids=lambda answer: f"{answer.status_code} {answer.text}")
@pytest.mark.parametrize("way", _FINDING)
async def test_an_answer_without_sense_is_never_read_as_absent(
    client: ServiceClient, other: Other, way: str, answer: httpx.Response
) -> None:
    other.answers = [answer]
    with pytest.raises(Unavailable) as refusal:
        await _FINDING[way](client)
    assert "erika" not in str(refusal.value.log)


async def test_what_must_be_there_and_is_not_is_trouble(client: ServiceClient, other: Other) -> None:
    other.answers = [httpx.Response(200, json={"user_id": "erika", "available": 7}), *_NONSENSE]
    assert await client.read(Account, "/a") == Account(user_id="erika", available=7)
    for _ in _NONSENSE:
        with pytest.raises(Unavailable):
            await client.read(Account, "/a")


async def test_what_is_malformed_may_count_as_absent(client: ServiceClient, other: Other) -> None:
    other.answers = [httpx.Response(400, json={"code": "malformed_request"})]
    found = await client.find_by(Account, "/a", {}, absent="account_not_found", malformed_is_absent=True)
    assert found is None


@pytest.mark.parametrize("identifier", ["a/b", "a?b#c", "ä b", "50%", "a%2Fb"])
async def test_an_identifier_is_one_segment_of_a_path(client: ServiceClient, other: Other, identifier: str) -> None:
    await client.get(f"/accounts/{named(identifier)}/entries")
    raw = other.requests[0].url.raw_path.decode()
    assert raw.count("/") == 3
    assert unquote(raw.split("/")[2]) == identifier
