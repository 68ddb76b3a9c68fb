"""A service as it runs for real: processes of its own, a register to ask, and ways to end them badly."""

import asyncio
import base64
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

import httpx
import uvicorn
from local_platform.embedded_postgres import free_port
from local_platform.parents import end_with_parent
from local_platform.services import SERVICES
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from platform_testing.callers import FakeRegister, ServiceKeys

#: Only how long to wait before giving up: of a machine that is busy with other things, too.
PATIENCE_SECONDS = 120


@contextmanager
def onboarding(register: FakeRegister) -> Iterator[str]:
    """As much of partner-onboarding as other services ask: who a client is. Served from a thread; gives its address."""

    async def check(request: Request) -> JSONResponse:
        try:
            asked = await request.json()
        except ClientDisconnect:
            # Tests kill those who ask.
            return JSONResponse({"code": "nobody_waits"}, 400)
        client = await register.check(asked["client_id"], asked["client_secret"])
        if client is None:
            return JSONResponse({"code": "invalid_client"}, 404)
        return JSONResponse(
            {
                "client_id": client.client_id,
                "tenant": client.tenant,
                "kind": client.kind,
                "scopes": sorted(client.scopes),
                "vendor_id": client.vendor_id,
                "ip_allow_list": list(client.ip_allow_list),
            }
        )

    app = Starlette(routes=[Route("/internal/clients/check", check, methods=["POST"])])
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)


class ServiceProcess:
    """`python -m <package> serve` on a port of its own, which it keeps when it is started again.

    Args:
        package: such as `points_ledger`.
        log: where its output goes; otherwise only its errors are shown.
    """

    def __init__(self, package: str, environment: Mapping[str, str], log: Path | None = None) -> None:
        (service,) = (service for service in SERVICES if service.package == package)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._package, self._log = package, log
        self._environment = {**environment, f"{service.prefix}PORT": str(self.port)}
        self._process: subprocess.Popen[bytes] | None = None

    async def keep_up(self) -> None:
        """Starts it if it has ended; returns when it is ready."""
        if self._process is None:
            self.launch()
        await self.ready()

    def launch(self) -> None:
        with self._log.open("ab") if self._log else nullcontext() as log:
            self._process = self._spawn(log)

    def _spawn(self, log: IO[bytes] | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 — a program of the project
            [sys.executable, "-m", self._package, "serve"],
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            stdout=log or subprocess.DEVNULL,
            stderr=log,
            preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509 — one system call, takes no lock
        )

    async def ready(self) -> None:
        assert self._process is not None
        # Without certificates, whose reading takes longer than all else.
        plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient(trust_env=False, verify=plain) as client:
            while True:
                assert self._process.poll() is None, f"{self._package} has ended"
                with suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/readyz", timeout=5)).status_code == 200:
                        return
                # It needs the processor that a caller which never pauses would take.
                await asyncio.sleep(0.2)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(which)

    async def stop(self) -> int:
        """SIGTERM; returns the status with which it has ended."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self._process.wait, PATIENCE_SECONDS)
        self._process = None
        return status


def environment(
    package: str, database_url: str, onboarding_url: str, service_keys: ServiceKeys, **more: str
) -> dict[str, str]:
    """What a service reads at its start.

    Args:
        more: settings without the service's prefix, such as `SWEEP_SECONDS`.
    """
    (service,) = (service for service in SERVICES if service.package == package)
    settings = {
        "MODE": "development",
        "DATABASE_URL": database_url,
        "PUBLIC_URL": "http://localhost",
        "SERVICE_KEY": service_keys.private(service.name),
        "SERVICE_PEERS": service_keys.peers,
        "ONBOARDING_URL": onboarding_url,
        "ISSUER_URL": "http://127.0.0.1:9",
        "KEY_ENCRYPTION_KEYS": "1:" + base64.b64encode(bytes(range(32))).decode(),
        "LOG_LEVEL": "ERROR",
        **more,
    }
    return {service.prefix + name: value for name, value in settings.items()}


@asynccontextmanager
async def processes(number: int, package: str, settings: Mapping[str, str]) -> AsyncIterator[list[ServiceProcess]]:
    """So many of a service over one database."""
    started = [ServiceProcess(package, settings) for _ in range(number)]
    try:
        for process in started:
            process.launch()
        await asyncio.gather(*(process.ready() for process in started))
        yield started
    finally:
        for process in started:
            process.kill()


def network_client(url: str) -> httpx.AsyncClient:
    """Over the real network, with as many connections as there are requests at once."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, limits=limits, trust_env=False)
