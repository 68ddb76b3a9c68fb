"""Structured logs, one JSON object a line, without secrets.

Nothing that looks like a JWT and no field that carries a secret leaves the process, whoever logged it.
"""

import asyncio
import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

#: By its end, so that `new_password` and `X-Session` are found as well.
_SECRET_FIELD = re.compile(
    r"(^|[_-])(authorization|cookie|passw(or)?d|pepper|secret|session|token|private_key|service_key"
    r"|authorization_code|register_code|key_encryption_keys)$",
    re.IGNORECASE,
)
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_CREDENTIALS = re.compile(r"\b(Basic|Bearer) +[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")
_PLAIN: Final = frozenset({int, float, bool, type(None), datetime, date, UUID})
#: Lines of requests that are written together.
_TOGETHER_SECONDS: Final = 0.005
#: The deeper rest of what is logged is left out, not searched.
_MAX_DEPTH: Final = 6


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Takes secrets out of an event, by the name of the field and by the look of the text, however deep they lie."""
    for name, value in event.items():
        # Names with an underscore before them are structlog's own, on their way to the renderer.
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
    # Written here and not by the renderer, which comes after the last look at it.
    return without_secrets(repr(value)) if depth else "…"


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_FIELD.search(name) is not None


def without_secrets(text: str) -> str:
    """`text` with JWTs, credentials and passwords in URLs blotted out."""
    # Looking for a substring first: most texts hold none of these, and there is one for each request.
    if "eyJ" in text:
        text = _JWT.sub("[token]", text)
    lower = text.lower()
    if "basic " in lower or "bearer " in lower:
        text = _CREDENTIALS.sub(r"\1 [secret]", text)
    return _PASSWORD_IN_URL.sub(r"\1[secret]@", text) if "://" in text else text


class RequestLines:
    """Writes the line that each request leaves.

    There is one for every request: through the stages of all the others it took an eighth of a commit of points, and
    written one by one still a twentieth more than those of a few milliseconds together. (A process that is killed takes
    so many with it.) Until `configure_logging` it goes the others' way.
    """

    def __init__(self) -> None:
        self._service: str | None = None
        self._log = structlog.get_logger("access")
        self._waiting: list[tuple[dict[str, Any], Mapping[str, Any]]] = []

    def configure(self, service: str, level: str) -> None:
        self._service = service
        self._is_wanted = logging.getLevelNamesMapping()[level] <= logging.INFO
        self._output = sys.stdout.buffer

    def write(self, line: dict[str, Any], more: Mapping[str, Any]) -> None:
        """`line` has texts without spaces and numbers; `more`, from wherever it comes, is searched for secrets."""
        if self._service is None:
            self._log.info("request", **line, **more)
            return
        if not self._is_wanted:
            return
        line["timestamp"] = datetime.now(UTC)
        self._waiting.append((line, more))
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(_TOGETHER_SECONDS, self.flush)
            except RuntimeError:
                # Nothing runs that would write it later.
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
            # What the caller calls its request may be its token. Looked for in the values: as JSON, the e may belong
            # to an escaped character.
            written = _dumps({name: _redacted(name, value, _MAX_DEPTH) for name, value in line.items()})
        return written + b"\n"


request_lines: Final = RequestLines()


def configure_logging(service: str, level: str) -> None:
    """Sends structlog and the standard library's logging through the same renderer to standard output."""
    request_lines.configure(service, level)
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
    # httpx tells every URL it calls at INFO.
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _dumps(event: Any, **_: Any) -> bytes:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)
    except TypeError:
        # Half a surrogate pair, or a number of more than 64 bits: no line is worth failing the request it tells of.
        return json.dumps(event, default=repr).encode()
