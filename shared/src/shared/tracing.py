"""OpenTelemetry traces, if a setting says where to send them.

    request ── span ──► waits in a line ── span ──► answer
                          └─ link ─► batch ── span ──► call of another service ── span ──► its request ── span ─► …

Without that setting nothing of OpenTelemetry is loaded, and a request pays for one look at `traces.is_on`. With it,
spans are kept in a bounded queue and sent by a thread; a collector that is away costs spans and no request.

A batch serves many requests. Its span belongs to the trace of the first one, and has links to all; each request's wait
has a link to the batch.
"""

from asyncio import Future
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanContext, Tracer

R = TypeVar("R")

#: How long the last spans may take to be sent when the process ends (milliseconds).
_FLUSH_MILLISECONDS: Final = 3000
_SEND_SECONDS: Final = 5
_EVERY_MILLISECONDS: Final = 1000
_SERVER_ERROR: Final = 500
_present: ContextVar["Span | None"] = ContextVar("present_span", default=None)


class Traces:
    """The traces of this process."""

    is_on = False

    def __init__(self) -> None:
        self._provider: TracerProvider | None = None
        self._waits: dict[Future[Any], Span] = {}

    def begin(self, url: str, *, share: float, service: str, version: str) -> None:
        """Sends spans to `url` from now on.

        Args:
            url: of a collector that takes OTLP over HTTP, such as `http://collector:4318/v1/traces`.
            share: of the traces that begin here. Of a trace that a caller began, the caller says whether it is kept.
        """
        # Only here, since it is an extra that need not be installed, and nobody pays for what is not used.
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

        resource = Resource.create({"service.name": service, "service.version": version})
        self._provider = TracerProvider(ParentBased(TraceIdRatioBased(share)), resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(url, timeout=_SEND_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_EVERY_MILLISECONDS))
        self._tracer: Tracer = self._provider.get_tracer("points-platform", version)
        self._api = trace
        self.is_on = True

    def end(self) -> None:
        """Sends what is left, as far as the collector takes it at once."""
        if self._provider is not None:
            self.is_on = False
            self._provider.force_flush(_FLUSH_MILLISECONDS)
            self._provider.shutdown()
            self._provider = None

    @contextmanager
    def request(self, traceparent: str | None) -> "Iterator[Span]":
        """A request; what begins within belongs to it. `end_request` ends its span.

        Args:
            traceparent: what the caller sent, whose form was checked; None if it sent none.
        """
        parent = None if traceparent is None else self._remote(traceparent)
        with _present_is(self._begin("request", "SERVER", parent=parent)) as span:
            yield span

    def end_request(self, span: "Span", method: str, route: str, status: int, attributes: dict[str, Any]) -> None:
        """Names the span by the route's template, since paths carry tokens and people."""
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        span.set_attributes({name: value for name, value in attributes.items() if value is not None})
        self._end(span, failed=status >= _SERVER_ERROR)

    async def wait(self, name: str, answer: Future[R]) -> R:
        """What comes of `answer`, for which the present request waits in the line of this name."""
        parent = _present.get()
        if parent is None or not parent.is_recording():
            return await answer
        self._waits[answer] = span = self._begin(f"wait {name}", "INTERNAL", parent=parent.get_span_context())
        failed = True
        try:
            result = await answer
            failed = False
        finally:
            del self._waits[answer]
            self._end(span, failed=failed)
        return result

    @contextmanager
    def batch(self, name: str, answers: Sequence[Future[Any]]) -> Iterator[None]:
        """Work for all who wait for these answers."""
        waits = [span for span in map(self._waits.get, answers) if span is not None]
        if not waits:
            yield
            return
        contexts = [wait.get_span_context() for wait in waits]
        span = self._begin(f"batch {name}", "INTERNAL", parent=contexts[0], links=contexts)
        span.set_attribute("batch.size", len(answers))
        for wait in waits:
            wait.add_link(span.get_span_context())
        with self._until_end_of(span):
            yield

    @contextmanager
    def call(self, callee: str, method: str) -> Iterator[str | None]:
        """A call to another service; gives the `traceparent` to send, None outside of a request."""
        parent = _present.get()
        if parent is None:
            yield None
            return
        span = self._begin(f"{method} {callee}", "CLIENT", parent=parent.get_span_context())
        span.set_attributes({"http.request.method": method, "peer.service": callee})
        with self._until_end_of(span):
            yield traceparent_of(span)

    def _begin(
        self, name: str, kind: str, *, parent: "SpanContext | None", links: "Sequence[SpanContext]" = ()
    ) -> "Span":
        api = self._api
        # A context of its own in any case, since OpenTelemetry would look for another present span.
        context = api.set_span_in_context(api.INVALID_SPAN if parent is None else api.NonRecordingSpan(parent))
        return self._tracer.start_span(name, context, api.SpanKind[kind], links=[api.Link(each) for each in links])

    @contextmanager
    def _until_end_of(self, span: "Span") -> Iterator[None]:
        failed = True
        try:
            with _present_is(span):
                yield
            failed = False
        finally:
            self._end(span, failed=failed)

    def _end(self, span: "Span", *, failed: bool) -> None:
        if failed:
            span.set_status(self._api.StatusCode.ERROR)
        span.end()

    def _remote(self, traceparent: str) -> "SpanContext":
        _, trace_id, span_id, flags = traceparent.split("-")
        flag = self._api.TraceFlags(int(flags, 16))
        return self._api.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flag)


@contextmanager
def _present_is(span: "Span") -> "Iterator[Span]":
    token = _present.set(span)
    try:
        yield span
    finally:
        _present.reset(token)


def can_trace() -> bool:
    """Whether the extra is installed."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def traceparent_of(span: "Span") -> str:
    """The W3C form of a span, for those who go on with its trace."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_id_of(span: "Span") -> str:
    """By which log lines and traces find each other."""
    return f"{span.get_span_context().trace_id:032x}"


traces: Final = Traces()
