"""The whole platform as `make run` starts it, one process of each service, for what needs several of them."""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from local_platform.embedded_postgres import free_port
from local_platform.ports import Ports, busy_ports
from local_platform.services import SERVICES

from benchmarks import servers

READY_SECONDS = 240.0
POSTGRESQL = "PostgreSQL"


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform: its `demo.json`, and its processes by their names."""

    demo: Mapping[str, Any]
    processes: Mapping[str, psutil.Process]

    def address(self, service: str) -> str:
        url: str = self.demo["services"][service]
        return url

    def processor_seconds(self) -> dict[str, float]:
        """The processor time that each service and PostgreSQL has used so far."""
        return {name: servers.processor_seconds(process) for name, process in self.processes.items()}


@contextlib.contextmanager
def running_platform(directory: Path) -> Iterator[Platform]:
    """Runs it until the block ends.

    Raises:
        SystemExit: it did not start; the message has the end of its log.
    """
    ports, state, log = _free_ports(), directory / "state", directory / "platform.log"
    command = [sys.executable, "-m", "local_platform", "run", "--port-base", str(ports.base), "--state-dir", str(state)]
    with log.open("wb") as output:
        started = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            demo = _wait_for(state / "demo.json", started, log)
            yield Platform(demo, _processes(ports))
        finally:
            started.terminate()
            started.wait()


@contextlib.contextmanager
def replica_of(platform: Platform, service: str, log: Path, **changes: str) -> Iterator[str]:
    """A second process of a service over the same database, with some settings changed; yields its address."""
    original, port = platform.processes[service], free_port()
    prefix = next(one.prefix for one in SERVICES if one.name == service)
    environment = original.environ() | {f"{prefix}PORT": str(port)} | changes
    with servers.process(original.cmdline(), port=port, environment=environment, log=log) as url:
        yield url


async def make_users(http: httpx.AsyncClient, names: Iterable[str], *, points: int) -> None:
    """Users with an account and points, over the gateway, by the platform's back end."""
    turns = asyncio.Semaphore(8)

    async def make(name: str) -> None:
        credit = {"points": points, "reference": "bench", "reason": "a benchmark"}
        async with turns:
            for method, path, body in (
                ("PUT", f"/v1/users/{name}", profile_of(name)),
                ("PUT", f"/v1/accounts/{name}", None),
                ("POST", f"/v1/accounts/{name}/credits", credit),
            ):
                (await http.request(method, path, json=body)).raise_for_status()

    await asyncio.gather(*map(make, names))


def profile_of(name: str) -> dict[str, str]:
    return {"email": f"{name}@example.com", "firstname": "Ada", "lastname": "Löwe"}


def _free_ports() -> Ports:
    while True:
        ports = Ports(random.randrange(20_000, 30_000, 100))
        if not busy_ports(ports.all()):
            return ports


def _wait_for(demo_json: Path, started: subprocess.Popen[bytes], log: Path) -> Any:
    deadline = time.monotonic() + READY_SECONDS
    while not demo_json.exists():
        if started.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the platform did not start:\n{log.read_text()[-2000:]}")
        time.sleep(servers.POLL_SECONDS)
    return json.loads(demo_json.read_text())


def _processes(ports: Ports) -> dict[str, psutil.Process]:
    listening = servers.listening()
    port_of = {service.name: ports.of(service) for service in SERVICES} | {POSTGRESQL: ports.postgres}
    return {name: listening[port] for name, port in port_of.items()}
