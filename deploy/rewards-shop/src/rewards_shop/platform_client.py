"""Calls to the platform that survive a bad network: time-outs, retries with backoff and jitter, Retry-After."""

import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import Any
from uuid import uuid4

import httpx

log = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]
"""Seconds since 1970."""

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
TIMEOUT = httpx.Timeout(5.0, connect=2.0)


class NoAnswer(Exception):
    """The platform gave no usable answer: what was asked for may or may not have happened."""


@dataclass(frozen=True)
class Reply:
    """What the platform said, after `attempts` tries."""

    status: int
    body: dict[str, Any]
    attempts: int


class PlatformClient:
    """The platform as this vendor reaches it: by HTTPS with Basic authentication, through the gateway only."""

    def __init__(self, http: httpx.AsyncClient, *, sleep: Sleep, clock: Clock) -> None:
        self._http = http
        self._sleep = sleep
        self._clock = clock
        self._random = secrets.SystemRandom()

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
        attempts: int = 4,
        within: httpx.Timeout = TIMEOUT,
    ) -> Reply:
        """Asks until there is an answer below 500 with a JSON object in it.

        A 4xx is an answer and is never asked again. Raises NoAnswer when the attempts are used up. The same
        idempotency key goes with every attempt, so that the platform can tell a retry from a second wish.
        """
        request_id = str(uuid4())
        headers = {"Accept": "application/json", "X-Request-Id": request_id}
        if idempotency_key:
            headers["Idempotency-Key"] = f'"{idempotency_key}"'  # A structured string, as the draft has it.
        for attempt in range(1, attempts + 1):
            asked_wait = 0.0
            try:
                response = await self._http.request(method, path, json=body, headers=headers, timeout=within)
                reply = _usable(response, attempt)
                if reply is not None:
                    return reply
                trouble = f"status {response.status_code}"
                asked_wait = self._asked_wait_seconds(response)
            except httpx.TransportError as error:
                trouble = type(error).__name__
            log.warning("%s %s: %s (attempt %d, request %s)", method, path, trouble, attempt, request_id)
            if asked_wait > LONGEST_WAIT_SECONDS:
                break  # Never back sooner than asked; who cannot wait that long leaves it for later.
            if attempt < attempts:
                await self._sleep(max(asked_wait, self._backoff_seconds(attempt)))
        raise NoAnswer(f"{method} {path}: {trouble}")

    def _backoff_seconds(self, attempt: int) -> float:
        """Doubles from try to try; half of it is chance, so that many shops do not come back in one instant."""
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        return self._random.uniform(longest / 2, longest)

    def _asked_wait_seconds(self, response: httpx.Response) -> float:
        value = response.headers.get("Retry-After", "").strip()
        if value.isdecimal():
            return float(value)
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - self._clock())
        except ValueError:
            return 0.0


def _usable(response: httpx.Response, attempt: int) -> Reply | None:
    """The reply in it, or None for what has to be asked again (a proxy's page is no answer of the platform)."""
    status = response.status_code
    if status >= 500 or status in {408, 425, 429} or 300 <= status < 400:
        return None
    try:
        body = response.json()
    except (JSONDecodeError, UnicodeDecodeError):
        body = None
    if isinstance(body, dict):
        return Reply(status, body, attempt)
    return Reply(status, {}, attempt) if 400 <= status < 500 else None
