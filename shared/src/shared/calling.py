"""Calls to another of the platform's services: time-outs, a service token, the request's id, and plain trouble.

Never call from inside a database transaction: the other side may take its time, or wait for us.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import httpx
import structlog

from shared.errors import Unavailable
from shared.request_frame import current_request
from shared.service_tokens import ServiceTokens

_log = structlog.get_logger("calling")
_SERVER_ERROR = 500
_TOO_MANY = 429


class ServiceClient:
    """Speaks to one other service.

    Args:
        base_url: its internal address.
        audience: its name, for the service token.
        transport: handed in by tests, `httpx.ASGITransport` of the other's real app.
    """

    def __init__(
        self,
        base_url: str,
        *,
        audience: str,
        service_tokens: ServiceTokens,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_seconds: float = 2.0,
    ) -> None:
        self._audience = audience
        self._tokens = service_tokens
        self._http = httpx.AsyncClient(
            base_url=base_url,
            transport=transport,
            timeout=httpx.Timeout(timeout_seconds, connect=min(1.0, timeout_seconds)),
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
            follow_redirects=False,
            trust_env=False,
        )

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> httpx.Response:
        """An answer below 500; tried once more after a passing trouble.

        Raises:
            Unavailable: the service does not answer, or not with sense.
        """
        return await self._call("GET", path, attempts=2, params=params)

    async def ask(self, path: str, json: Mapping[str, Any]) -> httpx.Response:
        """A POST that only asks (a secret has no place in a URL) and may therefore be tried again like a GET."""
        return await self._call("POST", path, attempts=2, json=json)

    async def post(self, path: str, json: Mapping[str, Any], *, idempotency_key: str | None = None) -> httpx.Response:
        """A POST that changes something: tried once, unless a key makes the repetition safe."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return await self._call("POST", path, attempts=1 if idempotency_key is None else 2, json=json, headers=headers)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        attempts: int,
        headers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self._tokens.mint(self._audience)}", **(headers or {})}
        context = current_request.get()
        if context is not None:
            sent |= {"X-Request-Id": context.request_id, "traceparent": context.traceparent}
        trouble = ""
        for attempt in range(attempts):
            if attempt:
                # Jitter, so that callers do not come back all at once.
                await asyncio.sleep(random.uniform(0.02, 0.1))  # noqa: S311 — not a secret
            try:
                response = await self._http.request(method, path, headers=sent, **arguments)
            except httpx.TimeoutException as error:
                # The time of this request is used up; a second wait would only hold its caller longer.
                trouble = repr(error)
                break
            except httpx.RequestError as error:
                trouble = repr(error)
                continue
            if response.status_code < _SERVER_ERROR and response.status_code != _TOO_MANY:
                return response
            trouble = f"status {response.status_code}"
        _log.warning("no answer from another service", callee=self._audience, method=method, trouble=trouble)
        raise Unavailable(log=f"{self._audience}: {trouble}")
