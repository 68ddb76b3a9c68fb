"""The ledger as it runs for real: processes of its own, a register to ask, and ways to end them badly."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import httpx
import uvicorn
from local_platform.embedded_postgres import end_with_parent, free_port
from platform_testing.callers import FakeRegister, ServiceKeys
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

#: Only how long to wait before giving up: of a machine that is busy with other things, too.
PATIENCE_SECONDS = 120


@contextmanager
def onboarding(register: FakeRegister) -> Iterator[str]:
    """As much of partner-onboarding as the ledger asks: who a client is. Served from a thread; gives its address."""

    async def check(request: Request) -> JSONResponse:
        asked = await request.json()
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


class LedgerProcess:
    """`python -m points_ledger serve` on a port of its own, which it keeps when it is started again."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**environment, "LEDGER_PORT": str(self.port)}
        self._process: subprocess.Popen[bytes] | None = None

    async def keep_up(self) -> None:
        """Starts it if it has ended; returns when it is ready."""
        if self._process is None:
            self.launch()
        await self.ready()

    def launch(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "points_ledger", "serve"],
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509 — one system call, takes no lock
        )

    async def ready(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            while True:
                assert self._process.poll() is None, "the ledger has ended"
                try:
                    if (await client.get(f"{self.url}/readyz", timeout=5)).status_code == 200:
                        return
                except httpx.TransportError:
                    continue

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def stop(self) -> int:
        """SIGTERM; returns the status with which it has ended."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self._process.wait, PATIENCE_SECONDS)
        self._process = None
        return status


def environment(database_url: str, onboarding_url: str, service_keys: ServiceKeys, **more: str) -> dict[str, str]:
    """What the ledger reads at its start."""
    return {
        "LEDGER_MODE": "development",
        "LEDGER_DATABASE_URL": database_url,
        "LEDGER_PUBLIC_URL": "http://localhost",
        "LEDGER_SERVICE_KEY": service_keys.private("points-ledger"),
        "LEDGER_SERVICE_PEERS": service_keys.peers,
        "LEDGER_ONBOARDING_URL": onboarding_url,
        "LEDGER_ISSUER_URL": "http://127.0.0.1:9",
        "LEDGER_KEY_ENCRYPTION_KEYS": "1:" + base64.b64encode(bytes(range(32))).decode(),
        "LEDGER_LOG_LEVEL": "ERROR",
        **more,
    }


@asynccontextmanager
async def processes(number: int, settings: Mapping[str, str]) -> AsyncIterator[list[LedgerProcess]]:
    """So many ledgers over one database."""
    ledgers = [LedgerProcess(settings) for _ in range(number)]
    try:
        for ledger in ledgers:
            ledger.launch()
        await asyncio.gather(*(ledger.ready() for ledger in ledgers))
        yield ledgers
    finally:
        for ledger in ledgers:
            ledger.kill()


def network_client(url: str) -> httpx.AsyncClient:
    """Over the real network, with as many connections as there are requests at once."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, limits=limits, trust_env=False)
