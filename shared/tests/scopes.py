"""Requests as a server hands them to an application."""

from collections.abc import Iterable, Mapping
from typing import Any


def scope_of(
    headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]] = (),
    *,
    peer: str | None = "203.0.113.9",
    scheme: str = "http",
) -> dict[str, Any]:
    pairs = (
        [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        if isinstance(headers, Mapping)
        else [(name.lower(), value) for name, value in headers]
    )
    return {
        "type": "http",
        "method": "GET",
        "path": "/",
        "scheme": scheme,
        "headers": pairs,
        "client": None if peer is None else (peer, 50000),
    }
