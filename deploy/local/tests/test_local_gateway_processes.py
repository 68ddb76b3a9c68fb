"""The gateway before several processes of one service: it asks those that are ready."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from local_platform.gateway import certificate_authority, gateway_command, gateway_environment
from local_platform.ports import Ports
from local_platform.processes import launch
from platform_testing.tried_gateway import Gateway, free_ports, wait_for


class Processes:
    """Two of points-ledger's, which say their port, and which can be made unready or stopped."""

    def __init__(self, ports: tuple[int, int]) -> None:
        self.ports = ports
        self.unready: set[int] = set()
        configs = [uvicorn.Config(self, port=port, log_config=None, lifespan="off", ws="none") for port in ports]
        self._servers = {config.port: uvicorn.Server(config) for config in configs}
        self._threads = [threading.Thread(target=server.run) for server in self._servers.values()]
        for thread in self._threads:
            thread.start()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        port = scope["server"][1]
        is_down = scope["path"] == "/readyz" and port in self.unready
        await send({"type": "http.response.start", "status": 503 if is_down else 200, "headers": []})
        await send({"type": "http.response.body", "body": str(port).encode()})

    def stop(self, *ports: int) -> None:
        for port in ports:
            self._servers[port].should_exit = True

    def end(self) -> None:
        self.stop(*self.ports)
        for thread in self._threads:
            thread.join()


@pytest.fixture
def ports() -> Ports:
    return free_ports()


@pytest.fixture
def processes(ports: Ports) -> Iterator[Processes]:
    running = Processes((ports.gateway + 40, ports.gateway + 41))
    yield running
    running.end()


@pytest.fixture
def gateway(ports: Ports, processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("gateway")
    log = directory / "gateway.log"
    environment = gateway_environment(ports, directory, directory / "developers") | {
        "GATEWAY_POINTS_LEDGER": " ".join(f"127.0.0.1:{port}" for port in processes.ports),
        "GATEWAY_PROCESSES": "watched",
    }
    process = launch(gateway_command(directory), environment, log)
    found = Gateway(ports, log, certificate_authority(directory))
    wait_for(found, "/v1/vendors", process)
    yield found
    process.terminate()
    process.wait(20)


def asked(gateway: Gateway, times: int = 20) -> set[int]:
    """Which processes answered so many requests; all of them must be answered."""
    answers = [gateway.get("/v1/vendors") for _ in range(times)]
    assert {answer.status_code for answer in answers} == {httpx.codes.OK}
    return {int(answer.text) for answer in answers}


async def until_asked(gateway: Gateway, expected: set[int]) -> None:
    async with asyncio.timeout(30):
        while await asyncio.to_thread(asked, gateway) != expected:
            pass


async def test_all_that_are_ready_are_asked_and_no_other(gateway: Gateway, processes: Processes) -> None:
    one, other = processes.ports
    await until_asked(gateway, {one, other})
    processes.unready.add(one)
    await until_asked(gateway, {other})
    assert asked(gateway, 50) == {other}
    processes.unready.clear()
    await until_asked(gateway, {one, other})


async def test_no_request_is_lost_when_one_of_them_ends(gateway: Gateway, processes: Processes) -> None:
    one, other = processes.ports
    await until_asked(gateway, {one, other})
    processes.stop(one)
    await until_asked(gateway, {other})
    assert asked(gateway, 50) == {other}


async def test_with_none_ready_the_refusal_is_the_gateway_s(gateway: Gateway, processes: Processes) -> None:
    processes.unready.update(processes.ports)
    async with asyncio.timeout(30):
        while (answer := await asyncio.to_thread(gateway.get, "/v1/vendors")).status_code == httpx.codes.OK:
            pass
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.json()["code"] == "service_unavailable"
    assert int(answer.headers["Retry-After"]) > 0
