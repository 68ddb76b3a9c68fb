"""Several workers behind one port: all are seen, all are ended, and one that dies costs only its own connections."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from platform_testing.callers import ServiceKeys
from platform_testing.collector import collecting
from prometheus_client.parser import text_string_to_metric_families
from shared.siblings import labelled, merged

SAMPLE = Path(__file__).with_name("served_sample.py")
WORKERS = 3
PATIENCE_SECONDS = 60


class Sample:
    """A service with several workers."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    async def get(self, path: str) -> httpx.Response:
        """The answer on a connection of its own, which may be any worker's."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False) as client:
            return await client.get(path)

    async def workers(self) -> dict[str, str]:
        shown: dict[str, str] = (await self.get("/readyz")).json()["workers"]
        return shown

    async def until_all(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    if set((await self.workers()).values()) == {"ready"}:
                        return
                except httpx.TransportError:
                    assert self.process.returncode is None

    async def figure(self, name: str) -> dict[str, float]:
        """By worker."""
        text = (await self.get("/metrics")).text
        families = text_string_to_metric_families(text)
        return {each.labels["worker"]: each.value for one in families for each in one.samples if each.name == name}

    @property
    def pids(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    async def end(self) -> list[str]:
        """Asks it to end; what it wrote until then."""
        self.process.send_signal(signal.SIGTERM)
        return await self.output()

    async def output(self) -> list[str]:
        """What it wrote, once it has ended."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await self.process.stdout.read()).decode().splitlines()


async def start(port: int, keys: ServiceKeys, *more: str, drain_seconds: float = 0) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, str(SAMPLE), str(port), keys.private("points-ledger"), keys.peers, str(drain_seconds)),
        *(str(WORKERS), *more),
        stdin=PIPE,
        stdout=PIPE,
    )


async def kill_all(process: Process) -> None:
    # Also one that has just ended by itself, which the event loop has not heard of yet.
    if process.returncode is None:
        children: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children()
        with suppress(ProcessLookupError):
            process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        await process.wait()


@pytest.fixture
async def sample(unused_tcp_port: int, service_keys: ServiceKeys) -> AsyncIterator[Sample]:
    sample = Sample(await start(unused_tcp_port, service_keys), unused_tcp_port)
    try:
        await sample.until_all()
        yield sample
    finally:
        await kill_all(sample.process)


def events(lines: list[str]) -> list[str]:
    return [json.loads(line)["event"] for line in lines if line.startswith("{")]


async def test_figures_and_readiness_are_those_of_all(sample: Sample) -> None:
    assert await sample.workers() == {"1": "ready", "2": "ready", "3": "ready"}
    assert await sample.figure("worker_up") == {"1": 1, "2": 1, "3": 1}
    assert await sample.figure("worker_restarts_total") == {"1": 0, "2": 0, "3": 0}
    # A gauge that asks its process: each has its own.
    starts = await sample.figure("process_start_time_seconds")
    assert len(starts) == WORKERS
    for _ in range(20):
        await sample.get("/peer")
    text = (await sample.get("/metrics")).text
    peers = [
        each.value
        for one in text_string_to_metric_families(text)
        for each in one.samples
        if each.name == "http_request_seconds_count" and each.labels["route"] == "/peer"
    ]
    assert sum(peers) == 20


async def test_connections_are_shared_out(sample: Sample) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        seen: set[int] = set()
        while seen != sample.pids:
            seen.add((await sample.get("/process")).json())


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
async def test_all_of_them_end_and_answer_before(sample: Sample, asked: signal.Signals) -> None:
    assert sample.process.stdin is not None
    pids = sample.pids
    slow = asyncio.create_task(sample.get("/slow"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while sum((await sample.figure("http_requests_in_flight")).values()) < 2:
            pass
    sample.process.send_signal(asked)
    sample.process.stdin.write(b"here you are\n")
    lines = await sample.output()
    assert (await slow).json() == "here you are"
    assert await sample.process.wait() == 0
    assert [line for line in lines if not line.startswith("{")].count("returned") == WORKERS
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_before_they_end_each_says_so(unused_tcp_port: int, service_keys: ServiceKeys) -> None:
    sample = Sample(await start(unused_tcp_port, service_keys, drain_seconds=3), unused_tcp_port)
    try:
        await sample.until_all()
        sample.process.send_signal(signal.SIGTERM)
        statuses = set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while statuses != {"draining"}:
                answer = await sample.get("/readyz")
                statuses = {answer.json()["status"], *answer.json()["workers"].values()}
        assert answer.status_code == 503
        assert await sample.process.wait() == 0
    finally:
        await kill_all(sample.process)


async def test_one_that_dies_is_started_anew_and_the_others_serve_on(sample: Sample) -> None:
    before = sample.pids
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    # The kernel closes a dead process's sockets before its parent hears of the death.
    async with asyncio.timeout(PATIENCE_SECONDS):
        while victim in sample.pids:
            pass
        assert (await sample.get("/peer")).status_code == 200
        while len(sample.pids) < WORKERS:
            assert (await sample.get("/peer")).status_code == 200
    await sample.until_all()
    assert before - sample.pids == {victim}
    assert sorted((await sample.figure("worker_restarts_total")).values()) == [0, 0, 1]
    assert "worker ended unasked" in events(await sample.end())
    assert await sample.process.wait() == 0


async def test_what_a_dead_worker_leaves_behind_is_buried(unused_tcp_port: int, service_keys: ServiceKeys) -> None:
    """In a container the parent is the first process, which inherits such children."""
    sample = Sample(await start(unused_tcp_port, service_keys, "inherits"), unused_tcp_port)
    try:
        await sample.until_all()
        child = psutil.Process((await sample.get("/child")).json())
        parent = child.parent()
        assert parent is not None
        os.kill(parent.pid, signal.SIGKILL)
        # One that nobody buries stays as a zombie.
        await asyncio.to_thread(child.wait, PATIENCE_SECONDS)
        await sample.until_all()
        assert len(sample.pids) == WORKERS
    finally:
        await kill_all(sample.process)


async def test_one_that_stands_still_makes_all_unready_and_is_replaced(
    unused_tcp_port: int, service_keys: ServiceKeys
) -> None:
    sample = Sample(await start(unused_tcp_port, service_keys, "is soon called hung"), unused_tcp_port)
    seen: set[tuple[object, ...]] = set()

    async def look() -> None:
        # A connection may be its own, which nobody answers until it is killed.
        with suppress(httpx.TransportError):
            answer = await sample.get("/readyz")
            seen.add((answer.status_code, *sorted(answer.json()["workers"].values())))

    try:
        await sample.until_all()
        victim = max(sample.pids)
        os.kill(victim, signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while victim in sample.pids:
                await asyncio.gather(*(look() for _ in range(12)))
        assert (503, "does not answer", "ready", "ready") in seen
        await sample.until_all()
        assert "worker stands still" in events(await sample.end())
        assert await sample.process.wait() == 0
    finally:
        await kill_all(sample.process)


async def test_one_that_ends_at_once_again_and_again_ends_all_with_its_status(
    unused_tcp_port: int, service_keys: ServiceKeys
) -> None:
    process = await start(unused_tcp_port, service_keys, "ends at once")
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        lines = (await process.stdout.read()).decode().splitlines()
        assert await process.wait() == 7
    assert "worker ends young again and again; all end" in events(lines)


async def test_each_sends_its_last_spans_before_it_ends(unused_tcp_port: int, service_keys: ServiceKeys) -> None:
    with collecting() as collector:
        sample = Sample(await start(unused_tcp_port, service_keys, f"sends traces to {collector.url}"), unused_tcp_port)
        try:
            await sample.until_all()
            asked = [f"{number:032x}" for number in range(1, 25)]
            async with httpx.AsyncClient(base_url=sample.url, timeout=30, trust_env=False) as client:
                for trace in asked:
                    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "Connection": "close"}
                    assert (await client.get("/peer", headers=headers)).status_code == 200
            await sample.end()
            assert await sample.process.wait() == 0
        finally:
            await kill_all(sample.process)
        spans = [span for span in collector.all() if span.name == "GET /peer"]
    assert sorted(span.trace for span in spans) == asked
    assert {span.service for span in spans} == {"sample"}


async def test_they_end_by_themselves_when_their_parent_is_gone(
    unused_tcp_port: int, service_keys: ServiceKeys
) -> None:
    """At once, however long they would drain: somebody wants to start the service anew at this port."""
    sample = Sample(await start(unused_tcp_port, service_keys, drain_seconds=600), unused_tcp_port)
    try:
        await sample.until_all()
        workers = [psutil.Process(pid) for pid in sample.pids]
        sample.process.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, workers, PATIENCE_SECONDS)
        assert alive == []
        await sample.process.wait()
    finally:
        await kill_all(sample.process)


async def test_a_second_service_at_the_same_port_does_not_start(sample: Sample, service_keys: ServiceKeys) -> None:
    second = await start(int(sample.url.rpartition(":")[2]), service_keys)
    assert second.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        lines = (await second.stdout.read()).decode().splitlines()
        assert await second.wait() == 3
    assert events(lines) == ["cannot listen"]
    assert await sample.workers() == {"1": "ready", "2": "ready", "3": "ready"}


async def test_long_lines_of_several_workers_stay_whole(sample: Sample) -> None:
    """A pipe takes 4096 bytes as one piece, and a traceback is longer."""
    output = asyncio.create_task(sample.output())
    await asyncio.gather(*(sample.get("/long-line") for _ in range(12)))
    sample.process.send_signal(signal.SIGTERM)
    lines = await output
    long = [json.loads(line) for line in lines if line.startswith("{") and '"long"' in line]
    assert [each["text"] for each in long] == ["x" * 20_000] * 240


def test_figures_of_several_keep_one_head_a_family() -> None:
    one = b'# HELP a_total A.\n# TYPE a_total counter\na_total 1.0\n# HELP b B.\n# TYPE b gauge\nb{x="a 1"} 2.0\n'
    two = b'# HELP b B.\n# TYPE b gauge\nb{x="y{"} 3.0\n# HELP a_total A.\n# TYPE a_total counter\na_total 4.0\n'
    text = merged([labelled(one, 1), labelled(two, 2)]).decode()
    assert text.count("# TYPE a_total") == text.count("# HELP b B.") == 1
    read = {
        (each.name, *sorted(each.labels.items())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }
    assert read == {
        ("a_total", ("worker", "1")): 1,
        ("a_total", ("worker", "2")): 4,
        ("b", ("worker", "1"), ("x", "a 1")): 2,
        ("b", ("worker", "2"), ("x", "y{")): 3,
    }
