"""Structured logs: one JSON object for each line, without secrets.

Whatever code logs, nothing that looks like a JWT and no field with a secret leaves the process.
"""

import asyncio
import json
import logging
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

#: Compared with the end of a name, so that `new_password` and `X-Session` match too.
_SECRET_FIELD = re.compile(
    r"(^|[_-])(authorization|cookie|passw(or)?d|pepper|secret|session|token|private_key|service_key"
    r"|authorization_code|register_code|key_encryption_keys)$",
    re.IGNORECASE,
)
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_CREDENTIALS = re.compile(r"\b(Basic|Bearer) +[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")
_PLAIN: Final = frozenset({int, float, bool, type(None), datetime, date, UUID})
#: How many lines of requests are written together.
_TOGETHER_SECONDS: Final = 0.005
_REFUSED: Final = 400
#: Anything nested deeper is left out of the log.
_MAX_DEPTH: Final = 6


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Removes secrets from an event, by the name of the field and by the form of the text, at any depth."""
    for name, value in event.items():
        # Names that begin with an underscore are structlog's own.
        if type(value) not in _PLAIN and not name.startswith("_"):
            event[name] = _redacted(name, value, _MAX_DEPTH)
    return event


def _redacted(name: str, value: Any, depth: int) -> Any:
    if _is_secret(name):
        return "[secret]"
    if isinstance(value, str):
        return without_secrets(str(value))
    if type(value) in _PLAIN:
        return value
    if depth and isinstance(value, Mapping):
        return {key: _redacted(str(key), inner, depth - 1) for key, inner in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", inner, depth - 1) for inner in value]
    # Formatted here, since the renderer runs after the last search for secrets.
    return without_secrets(repr(value)) if depth else "…"


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_FIELD.search(name) is not None


def without_secrets(text: str) -> str:
    """`text` without JWTs, credentials, and passwords in URLs."""
    # Search for a substring first: most texts hold no secret, and there is one text for each request.
    if "eyJ" in text:
        text = _JWT.sub("[token]", text)
    lower = text.lower()
    if "basic " in lower or "bearer " in lower:
        text = _CREDENTIALS.sub(r"\1 [secret]", text)
    return _PASSWORD_IN_URL.sub(r"\1[secret]@", text) if "://" in text else text


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which lines of requests are written.

    Args:
        one_of: so many ordinary ones have one line.
        slow_seconds: a request that takes longer is not ordinary, and neither is one that is refused, fails or is
            traced.
    """

    one_of: int = 1
    slow_seconds: float = 1.0

    def always(self, line: Mapping[str, Any]) -> bool:
        """Whether this line is written in any case."""
        return line["status"] >= _REFUSED or line["ms"] >= 1000 * self.slow_seconds or "trace_id" in line


class RequestLines:
    """Writes one line for each request.

    Through structlog's stages such a line took an eighth of a commit of points; written one by one, it took a twentieth
    more than in groups of a few milliseconds. (A process that is killed loses one group.) Until `configure_logging`
    runs, lines go through structlog.
    """

    def __init__(self) -> None:
        self._service: str | None = None
        self._log = structlog.get_logger("access")
        self._waiting: list[tuple[dict[str, Any], Mapping[str, Any]]] = []

    def configure(self, service: str, level: str, sampling: "Sampling") -> None:
        self._service = service
        self._sampling = sampling
        self._left_out = 0
        self._is_wanted = logging.getLevelNamesMapping()[level] <= logging.INFO
        self._output = sys.stdout.buffer

    def write(self, line: dict[str, Any], more: Mapping[str, Any]) -> None:
        """`line` holds numbers and texts without spaces; `more` may come from anywhere and is searched for secrets."""
        if self._service is None:
            self._log.info("request", **line, **more)
            return
        if not self._is_wanted:
            return
        if self._sampling.one_of > 1 and not self._sampling.always(line):
            self._left_out += 1
            if self._left_out < self._sampling.one_of:
                return
            self._left_out = 0
            line["one_of"] = self._sampling.one_of
        line["timestamp"] = datetime.now(UTC)
        self._waiting.append((line, more))
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(_TOGETHER_SECONDS, self.flush)
            except RuntimeError:
                # No event loop runs that could write it later.
                self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._output.write(b"".join([self._written(*each) for each in waiting]))
            self._output.flush()

    def _written(self, line: dict[str, Any], more: Mapping[str, Any]) -> bytes:
        for name, value in more.items():
            line[name] = _redacted(name, value, _MAX_DEPTH)
        line.update(event="request", level="info", service=self._service)
        written = _dumps(line)
        if b"eyJ" in written:
            # A caller may send a token as its request id. The values are searched before they become JSON, where the
            # `e` of `eyJ` may belong to an escape.
            written = _dumps({name: _redacted(name, value, _MAX_DEPTH) for name, value in line.items()})
        return written + b"\n"


request_lines: Final = RequestLines()
EVERY_LINE: Final = Sampling()


def log_to_standard_error() -> None:
    """For commands: their standard output is their result alone, which people save and programs read."""
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def configure_logging(service: str, level: str, sampling: Sampling = EVERY_LINE) -> None:
    """Sends the logs of structlog and of the standard library through one renderer to standard output."""
    request_lines.configure(service, level, sampling)
    stages: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*stages, structlog.processors.JSONRenderer(serializer=_dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *stages],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # httpx logs every URL at INFO.
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _dumps(event: Any, **_: Any) -> bytes:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)
    except TypeError:
        # A lone surrogate, or a number of more than 64 bits. A log line must not make its request fail.
        return json.dumps(event, default=repr).encode()
