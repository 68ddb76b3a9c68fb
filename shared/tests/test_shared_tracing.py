"""Traces: one from the first caller through services, calls and batches; and nothing at all unless it is asked for."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence

import httpx
import pytest
import structlog
from fastapi import FastAPI
from platform_testing.callers import ServiceKeys
from platform_testing.collector import Collector, Span, collecting
from platform_testing.serving import running
from pydantic import ValidationError
from shared.calling import ServiceClient
from shared.errors import Unavailable
from shared.group_commit import GroupCommit
from shared.service_app import create_service_app
from shared.tracing import traces

from .conftest import Lifespan, MakeSettings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GIVEN = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Takes what this process traces."""
    with collecting() as collector:
        traces.begin(collector.url, share=0.0, service="sample", version="7.8.9")
        try:
            yield collector
        finally:
            traces.end()


class Line:
    """A batch waits until it is let go."""

    def __init__(self) -> None:
        self.may_go = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.commits = GroupCommit[str, str](self._write, name="orders", lanes=1)

    async def _write(self, commands: Sequence[str]) -> Sequence[str | Exception]:
        self.has_begun.set()
        await self.may_go.wait()
        return [Unavailable("No.") if command == "refuse" else command for command in commands]


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
async def client(
    make_settings: MakeSettings, lifespan: Lifespan, service_keys: ServiceKeys, line: Line
) -> AsyncIterator[httpx.AsyncClient]:
    """A service that asks another one, which writes in batches."""
    behind = create_service_app(make_settings(), title="behind", description="", lifespan=lifespan, readiness={})

    @behind.get("/internal/orders/{order}")
    async def order(order: str) -> str:
        return await line.commits.submit(order)

    asks = ServiceClient(
        "http://behind.invalid",
        audience="points-ledger",
        service_tokens=service_keys.tokens("sso-issuer"),
        transport=httpx.ASGITransport(behind),
    )
    front: FastAPI = create_service_app(make_settings(), title="front", description="", lifespan=lifespan, readiness={})

    @front.get("/orders/{order}")
    async def ask(order: str) -> str:
        return (await asks.get(f"/internal/orders/{order}")).content.decode()

    async with running(front) as client:
        yield client
    await line.commits.close()
    await asks.aclose()


def one(spans: list[Span], name: str) -> Span:
    (found,) = [span for span in spans if span.name == name]
    return found


async def trace(collector: Collector, name: str, spans: int) -> list[Span]:
    return await asyncio.to_thread(collector.trace, name, spans)


async def test_one_trace_leads_from_the_caller_through_a_call_to_the_batch(
    client: httpx.AsyncClient, collector: Collector, line: Line
) -> None:
    line.may_go.set()
    answer = await client.get("/orders/secret-7", headers=GIVEN)
    assert answer.status_code == 200
    spans = await trace(collector, TRACE, 5)
    front = one(spans, "GET /orders/{order}")
    call = one(spans, "GET points-ledger")
    behind = one(spans, "GET /internal/orders/{order}")
    wait = one(spans, "wait orders")
    batch = one(spans, "batch orders")
    assert [span.parent for span in (front, call, behind, wait, batch)] == [SPAN, front.id, call.id, behind.id, wait.id]
    assert [span.kind for span in (front, call, behind, wait)] == ["server", "client", "server", "internal"]
    assert (batch.links, wait.links) == ({wait.id}, {batch.id})
    assert front.attributes["http.response.status_code"] == 200
    assert front.attributes["request_id"] == answer.headers["X-Request-Id"]
    assert {span.service for span in spans} == {"sample"}
    assert not any(span.failed for span in spans)
    # Paths carry tokens and people.
    assert "secret-7" not in repr(spans)
    assert answer.headers["traceparent"] == GIVEN["traceparent"]


async def test_a_batch_leads_to_all_whom_it_serves(client: httpx.AsyncClient, collector: Collector, line: Line) -> None:
    traces_of = [f"{number:032x}" for number in range(1, 5)]
    asking = [
        asyncio.create_task(client.get(f"/orders/{trace}", headers={"traceparent": f"00-{trace}-{SPAN}-01"}))
        for trace in traces_of
    ]
    async with asyncio.timeout(30):
        await line.has_begun.wait()
    line.may_go.set()
    assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}
    waits = []
    for name in traces_of:
        spans = await trace(collector, name, 4)
        waits.append(one(spans, "wait orders"))
    batches = [span for span in collector.all() if span.name == "batch orders"]
    assert sum(int(batch.attributes["batch.size"]) for batch in batches) == len(traces_of)
    assert frozenset().union(*(batch.links for batch in batches)) == {wait.id for wait in waits}
    assert all(wait.links <= {batch.id for batch in batches} for wait in waits)


async def test_failures_are_marked(client: httpx.AsyncClient, collector: Collector, line: Line) -> None:
    line.may_go.set()
    answer = await client.get("/orders/refuse", headers=GIVEN)
    assert answer.status_code == 503
    # The call is tried twice.
    spans = await trace(collector, TRACE, 8)
    assert one(spans, "GET /orders/{order}").failed
    assert one(spans, "GET points-ledger").failed
    assert one(spans, "GET /orders/{order}").attributes["refusal"] == "temporarily_unavailable"


@pytest.mark.parametrize("traceparent", [None, f"00-{TRACE}-{SPAN}-00", "nonsense"])
async def test_what_is_not_to_be_traced_is_not(
    client: httpx.AsyncClient, collector: Collector, line: Line, traceparent: str | None
) -> None:
    """The share is 0 here, and a caller may say that it does not keep its trace."""
    line.may_go.set()
    headers = {} if traceparent is None else {"traceparent": traceparent}
    answer = await client.get("/orders/7", headers=headers)
    assert answer.status_code == 200
    is_kept = int(answer.headers["traceparent"][-2:], 16) & 1
    assert not is_kept
    traces.end()
    assert collector.all() == []


async def test_log_lines_and_traces_find_each_other(
    client: httpx.AsyncClient, collector: Collector, line: Line
) -> None:
    line.may_go.set()
    with structlog.testing.capture_logs() as logs:
        await client.get("/orders/7", headers=GIVEN)
    assert {each["trace_id"] for each in logs if each["event"] == "request"} == {TRACE}


async def test_a_collector_that_is_away_harms_nobody(
    client: httpx.AsyncClient, line: Line, unused_tcp_port: int
) -> None:
    line.may_go.set()
    traces.begin(f"http://127.0.0.1:{unused_tcp_port}/v1/traces", share=1.0, service="sample", version="7.8.9")
    try:
        answers = await asyncio.gather(*(client.get("/orders/7", headers=GIVEN) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
    finally:
        await asyncio.to_thread(traces.end)


def test_without_it_nothing_of_it_is_loaded() -> None:
    script = (
        "import sys, shared.serving, shared.group_commit, shared.calling; "
        "unwanted = ('opentelemetry.sdk', 'opentelemetry.exporter', 'google'); "
        "print([name for name in sys.modules if name.startswith(unwanted)])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize("url", ["collector:4318", "ftp://collector/v1/traces", ""])
def test_an_address_that_is_none_is_refused(make_settings: MakeSettings, url: str) -> None:
    with pytest.raises(ValidationError, match="must be http"):
        make_settings(traces_url=url)
