"""A service that is nothing but its frame.

`python served_sample.py <port> <key> <peers> <seconds to drain> [<workers> [<what a worker does>]]`
"""

import asyncio
import contextlib
import ctypes
import os
import sys
import time
from collections.abc import AsyncIterator

import shared.serving as serving_module
import shared.workers as workers_module
import structlog
from fastapi import FastAPI, Request
from pydantic import BaseModel, SecretStr
from shared.callers import Caller
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute
from shared.line_exchange import CallerGone, body_of, lines_of
from shared.service_app import create_service_app
from shared.serving import serve
from shared.settings import Mode, ServiceSettings
from starlette.responses import JSONResponse, Response


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    sys.stdout.write("closed\n")


class Parcel(BaseModel):
    weight: int


async def anybody(_request: Request) -> Caller:
    return Caller("ann", "demo", frozenset())


async def weigh(call: HotCall[Parcel]) -> Response:
    return JSONResponse(call.body.weight)


PR_SET_CHILD_SUBREAPER = 36
SENDS_TRACES = "sends traces to "
kept: list[int] = []
HOT = HotRoute(
    method="POST",
    path="/hot",
    name="weigh",
    summary="Weigh a parcel",
    tag="parcels",
    scopes=(),
    authorize=anybody,
    operations=HotOperation(weigh, answers={200: Answered("Its weight", int)}, body=Parcel),
)


def main(port: int, key: str, peers: str, drain_seconds: float, workers: int = 1, does: str = "") -> None:
    settings = ServiceSettings(
        mode=Mode.DEVELOPMENT,
        port=port,
        workers=workers,
        database_url=SecretStr("postgresql://nobody:nothing@127.0.0.1:9/nowhere"),
        public_url="http://127.0.0.1",
        service_key=SecretStr(key),
        service_peers=peers,
        shutdown_seconds=1,
        drain_seconds=drain_seconds,
        body_idle_seconds=0.5,
        head_seconds=1,
        body_seconds=2,
        traces_url=does.removeprefix(SENDS_TRACES) if does.startswith(SENDS_TRACES) else None,
    )
    if does == "is soon called hung":
        workers_module._HUNG_SECONDS = 3
    if does == "finds its timers due":
        # As a process does that was not run while they were on their way.
        serving_module._POLL_SECONDS = serving_module._LAST_CALL_SECONDS = 0
    if does == "inherits":
        # What dies without a parent becomes its child, as in a container whose first process it is.
        assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    serve(lambda: create(settings, does), settings, service="sample")
    sys.stdout.write("returned\n")


def create(settings: ServiceSettings, does: str) -> FastAPI:
    if does == "ends at once":
        os._exit(7)
    app = create_service_app(
        settings, title="sample", description="", lifespan=lifespan, readiness={}, hot_routes=[HOT]
    )

    @app.get("/slow")
    async def slow() -> str:
        """Answers when the test says so."""
        line: str = await asyncio.to_thread(sys.stdin.readline)
        return line.strip()

    @app.get("/never")
    async def never() -> None:
        await asyncio.Event().wait()

    @app.get("/busy")
    async def busy() -> None:
        """Lets the event loop do nothing else until the process was asked to end and its server's timer is due."""
        sys.stdout.write("busy\n")
        sys.stdout.flush()
        due = time.monotonic() + 2 * serving_module._TICK_SECONDS
        while not app.state.is_draining or time.monotonic() < due:
            pass

    @app.get("/peer")
    async def peer(request: Request) -> str | None:
        client = request.client
        return None if client is None else client.host

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    @app.post("/lines", max_body_size=sys.maxsize)
    async def lines(request: Request) -> None:
        """Tells which lines came, and whether all did; it reads when the test says so."""
        await asyncio.to_thread(sys.stdin.readline)
        try:
            async for line in lines_of(body_of(request)):
                sys.stdout.write(f"came {line.decode()}\n")
            sys.stdout.write("came whole\n")
        except CallerGone:
            sys.stdout.write("came in part\n")
        sys.stdout.flush()

    @app.post("/stream", max_body_size=sys.maxsize)
    async def stream(request: Request) -> int:
        return len([line async for line in lines_of(body_of(request))])

    @app.get("/child")
    async def child() -> int:
        """Ends when this process does."""
        reads, writes = os.pipe()
        os.set_inheritable(reads, True)
        kept.append(writes)
        return (await asyncio.create_subprocess_exec("head", "-c1", stdin=reads)).pid

    @app.get("/process")
    async def process() -> int:
        return os.getpid()

    @app.get("/long-line")
    async def long_line() -> None:
        for _ in range(20):
            structlog.get_logger("sample").info("long", text="x" * 20_000)

    return app


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), *map(int, sys.argv[5:6]), *sys.argv[6:])
