"""Structured logs, one JSON object a line, without secrets.

Nothing that looks like a JWT and no field that carries a secret leaves the process, whoever logged it.
"""

import logging
import re
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

_SECRET_FIELDS = frozenset(
    {"authorization", "cookie", "client_secret", "password", "secret", "session", "token", "set_cookie"}
)
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_CREDENTIALS = re.compile(r"\b(Basic|Bearer) [A-Za-z0-9+/=._~-]{8,}")
_PASSWORD_IN_URL = re.compile(r"(://[^:/@\s]+:)[^@\s]+@")


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Takes secrets out of an event, by the name of the field and by the look of the text."""
    for name, value in event.items():
        if name in _SECRET_FIELDS:
            event[name] = "[secret]"
        elif isinstance(value, str) and len(value) > 16:
            event[name] = without_secrets(value)
    return event


def without_secrets(text: str) -> str:
    """`text` with JWTs, credentials and passwords in URLs blotted out."""
    # Looking for a substring first: most texts hold none of these, and there is one for each request.
    if "eyJ" in text:
        text = _JWT.sub("[token]", text)
    if "Basic " in text or "Bearer " in text:
        text = _CREDENTIALS.sub(r"\1 [secret]", text)
    return _PASSWORD_IN_URL.sub(r"\1[secret]@", text) if "://" in text else text


def configure_logging(service: str, level: str) -> None:
    """Sends structlog and the standard library's logging through the same renderer to standard output."""
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
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS)
