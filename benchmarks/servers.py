"""Servers under measurement: each a process of its own, ready when it answers."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import uvicorn
from local_platform.embedded_postgres import free_port
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

READY_SECONDS = 60.0
POLL_SECONDS = 0.05

#: PostgreSQL's settings for a database of some GB: docs/operate/capacity.md. With the default ones the memory holds a
#: thirtieth of it, and under load a checkpoint begins every few minutes.
LARGE_DATABASE = {"shared_buffers": "4GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}


@contextlib.contextmanager
def process(
    command: list[str], *, port: int, environment: Mapping[str, str], log: Path, directory: Path | None = None
) -> Iterator[str]:
    """Runs `command` until the block ends; yields its base URL once it answers at all."""
    url = f"http://127.0.0.1:{port}"
    with log.open("ab") as output:
        started = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=output, cwd=directory
        )
        try:
            _wait_until_it_answers(url, started, log)
            yield url
        finally:
            started.terminate()
            started.wait()


@contextlib.contextmanager
def uvicorn_process(app: str, *, environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """One uvicorn process with the same event loop and parser as our services, and no access log."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--no-access-log"]
    command += ["--loop", "uvloop", "--http", "httptools"]
    with process(command, port=port, environment=environment, log=log) as url:
        yield url


@contextlib.contextmanager
def register_of_clients(clients: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """A register that knows `clients` (client_id → what it answers), for services measured alone."""

    async def check(request: Request) -> JSONResponse:
        asked = await request.json()
        return JSONResponse(clients[asked["client_id"]])

    port = free_port()
    app = Starlette(routes=[Route("/internal/clients/check", check, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def listening() -> dict[int, psutil.Process]:
    """Which process listens at which port of TCP."""
    return {
        connection.laddr.port: psutil.Process(connection.pid)
        for connection in psutil.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and connection.pid is not None
    }


def processor_seconds(process: psutil.Process) -> float:
    """The processor time of a process and its children, also of those that have ended."""
    seconds = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            seconds += times.user + times.system
    ended = process.cpu_times()
    return float(seconds + ended.children_user + ended.children_system)


def _wait_until_it_answers(url: str, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            httpx.get(f"{url}/healthz", timeout=1)
            return
        except httpx.TransportError:
            if started.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"a server did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(POLL_SECONDS)
