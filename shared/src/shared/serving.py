"""A service as a process: how it is served, and how it comes to an end without leaving anybody unanswered."""

import asyncio
import gc
import select
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Final, NamedTuple, cast

import uvicorn
from fastapi import FastAPI
from prometheus_client import Histogram
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from shared.logs import Sampling, configure_logging, request_lines
from shared.settings import ServiceSettings
from shared.siblings import Siblings
from shared.tracing import traces
from shared.whole_answers import WholeAnswers
from shared.whole_lines import share_output
from shared.workers import Worker, become_worker

#: Longer than any client keeps an idle connection (httpx 5 s, the gateway 3 s), so that a server never closes one on
#: which a request is under way.
_IDLE_SECONDS: Final = 30
#: Container objects more than there were after the last look for garbage.
_GARBAGE_THRESHOLD: Final = 50_000
#: After no connection is taken any more: how long requests that are on their way may take to come in.
_LAST_CALL_SECONDS: Final = 0.3
_POLL_SECONDS: Final = 0.05
#: uvicorn's own.
_TICK_SECONDS: Final = 0.1
_lag = Histogram(
    "event_loop_lag_seconds",
    "How much later than it was due the event loop came back to its server, ten times a second.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_CLOSE: Final = (b"connection", b"close")
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def serve(create: Callable[[], FastAPI], settings: ServiceSettings, *, service: str) -> None:
    """Serves until SIGTERM or SIGINT: says that it will end, ends what runs, and returns.

    Args:
        create: builds the application, once in each process that serves.

    Raises:
        SystemExit: it cannot serve; with several workers also in the process that started them, when they have ended.
    """
    worker = become_worker(settings, service=service) if settings.workers > 1 else None
    if worker is not None:
        share_output(worker.directory / "output")
    app = create()
    configure_logging(service, settings.log_level, Sampling(settings.log_one_of, settings.log_slow_seconds))
    # uvicorn raises the signal again at the end. SIGTERM would then end the process with status 143, as if it had been
    # killed; as Ctrl-C it lets uvicorn return.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # All that is loaded by now lives as long as the process, and the thousands of objects of a batch die with it. With
    # the default thresholds, garbage collection took an eighth of an import.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD, 20, 20)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=WholeAnswers,
        # No service speaks websockets, and uvicorn would hand over the connection.
        ws="none",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=2048,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    if settings.traces_url is not None:
        traces.begin(settings.traces_url, share=settings.traces_share, service=service, version=app.state.build)
    try:
        DrainingServer(config, app, settings, worker).run(sockets=None if worker is None else worker.listen())
    except KeyboardInterrupt:
        # As `uvicorn.run` does it: the signal that ended it, raised again.
        pass
    finally:
        traces.end()
        request_lines.flush()


class DrainingServer(uvicorn.Server):
    """uvicorn's server, with an end in three steps and a bound on connections that stall.

    At the first signal `/readyz` says 503 and every answer closes its connection, while all is served as before: so
    balancers look elsewhere. After `drain_seconds` no connection is taken any more; those that were taken are answered.
    A second signal ends it at once.
    """

    def __init__(
        self, config: uvicorn.Config, app: FastAPI, settings: ServiceSettings, worker: Worker | None = None
    ) -> None:
        super().__init__(config)
        self._app = app
        self._worker = worker
        self._drain_seconds = settings.drain_seconds
        self._head_seconds = settings.head_seconds
        self._ends_at: float | None = None
        self._body_seconds = settings.body_seconds
        self._waiting: dict[WholeAnswers, _Waiting] = {}
        self._ticked_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._worker is not None:
            self._app.state.siblings = siblings = Siblings(self._worker, self._app.state.own_readiness)
            await siblings.begin()
            asyncio.get_running_loop().add_reader(self._worker.lifeline, self._end_as_an_orphan, self._worker.lifeline)

    def _end_as_an_orphan(self, lifeline: int) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        self.handle_exit(signal.SIGTERM, None)
        # No drain: the next start of the service waits for the port.
        self._ends_at = time.monotonic()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._ends_at is not None:
            super().handle_exit(sig, frame)
            return
        self._captured_signals.append(sig)
        self._app.state.is_draining = True
        self._ends_at = time.monotonic() + self._drain_seconds
        self._close_after_answers()

    async def on_tick(self, counter: int) -> bool:
        self._tell_lag()
        ends = await super().on_tick(counter)
        if self._ends_at is not None:
            # Made anew once a second, for the date.
            self._close_after_answers()
            ends = ends or time.monotonic() >= self._ends_at
        if counter % 10 == 0:
            self._close_stalled_connections()
            if self._worker is not None:
                self._worker.beat()
        return ends

    def _tell_lag(self) -> None:
        """The server sleeps between two ticks; what comes on top is work that did not let go."""
        now = time.monotonic()
        if self._ticked_at is not None:
            _lag.observe(max(0.0, now - self._ticked_at - _TICK_SECONDS))
        self._ticked_at = now

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # What waits to be accepted would be refused with the closing of the socket.
        await asyncio.sleep(_POLL_SECONDS)
        await self._accept_what_waits()
        for server in self.servers:
            server.close()
        if not self.force_exit:
            await asyncio.sleep(_LAST_CALL_SECONDS)
        await super().shutdown(sockets)

    async def _accept_what_waits(self) -> None:
        """Lets the event loop accept all connections that wait: one at each turn, and no more than may wait at once.

        Time that has passed is no sign that it did: a process that was not run for so long finds its timers due first.
        """
        waiting = select.poll()
        for server in self.servers:
            for listening in server.sockets:
                waiting.register(listening.fileno(), select.POLLIN)
        for _ in range(self.config.backlog):
            if not waiting.poll(0):
                break
            await asyncio.sleep(0)

    def _close_after_answers(self) -> None:
        if _CLOSE not in self.server_state.default_headers:
            self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]

    def _close_stalled_connections(self) -> None:
        """Closes connections that have kept the server waiting for too long, and says so where nothing was said.

        Looked at from time to time, instead of a timer for every request: that costs a request nothing.
        """
        now = time.monotonic()
        waiting: dict[WholeAnswers, _Waiting] = {}
        for connection in cast(set[WholeAnswers], self.server_state.connections):
            seconds = self._patience_with(connection)
            if seconds is None or connection.transport.is_closing():
                continue
            since = _Waiting(connection.cycle, connection.is_idle, seconds, now)
            known = self._waiting.get(connection)
            if known is not None and known[:-1] == since[:-1]:
                since = known
            if now - since.since < seconds:
                waiting[connection] = since
                continue
            if connection.cycle is not None and not connection.cycle.response_started:
                connection.transport.write(_TOO_SLOW)
            connection.transport.close()
        self._waiting = waiting

    def _patience_with(self, connection: WholeAnswers) -> float | None:
        """How long what a connection is doing may take; None where it keeps nobody waiting."""
        # None before the first request, whatever its type says.
        cycle = cast(RequestResponseCycle | None, connection.cycle)
        if cycle is None:
            return self._head_seconds
        if cycle.response_complete:
            # The rest of an answered request, or half a head, unless nothing of a next request has come.
            return _IDLE_SECONDS if connection.is_idle and not cycle.more_body else self._head_seconds
        is_stream = cycle.scope["state"].get("is_stream", False)
        return self._body_seconds if cycle.more_body and not is_stream else None


class _Waiting(NamedTuple):
    cycle: object
    #: Half a head has a time of its own, even if it is as long as that of an idle connection.
    is_idle: bool
    seconds: float
    since: float
