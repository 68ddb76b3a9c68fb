"""One attempt to hand an event over, after Standard Webhooks."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import orjson
from standardwebhooks import Webhook

from shared.errors import Refusal
from shared.events.destinations import Destinations
from shared.events.domain import OWN_TYPES, Event, Outcome, Topic
from shared.times import iso

#: A receiver that has not answered by then counts as silent.
ATTEMPT_SECONDS: Final = 10.0
#: What is read of an answer's body; nobody looks at it.
_READ_BYTES: Final = 1024


class Sender:
    """Sends events over the network. One a process.

    Args:
        transport: handed in by tests.
        attempt_seconds: the bound on a whole attempt.
    """

    def __init__(
        self,
        destinations: Destinations,
        topic: Topic,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self._destinations = destinations
        self._topic = topic
        self._attempt_seconds = attempt_seconds
        self._http = httpx.AsyncClient(
            transport=transport,
            # A handshake that is cut off from outside would leave its socket open; this cut closes it.
            timeout=httpx.Timeout(attempt_seconds, connect=0.8 * attempt_seconds),
            # Used once, since the next delivery looks at the name's addresses again. Lanes bound their number:
            # to wait for a connection here would count as a failure of the receiver.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
        )

    async def send(self, url: str, secrets: Sequence[str], event: Event) -> Outcome:
        """One attempt. Every failure is an outcome; none is raised."""
        began = time.perf_counter()
        status, error = None, None
        try:
            async with asyncio.timeout(self._attempt_seconds):
                response = await self._post(url, secrets, event)
                status = response.status_code
                await _read_a_little(response)
        except TimeoutError:
            error = "timeout"
        except Refusal as refusal:
            error = refusal.stable_code
        except httpx.HTTPError as trouble:
            error = type(trouble).__name__
        except OSError:
            error = "unknown_host"
        # An answer has come, however its body ends.
        return Outcome(status, None if status is not None else error, round((time.perf_counter() - began) * 1000))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _post(self, url: str, secrets: Sequence[str], event: Event) -> httpx.Response:
        target = await self._destinations.target(url)
        body = orjson.dumps(body_of(event, self._topic)).decode()
        now = datetime.now(UTC)
        request = self._http.build_request(
            "POST",
            target.url,
            content=body,
            headers={
                "Host": target.authority,
                "Content-Type": "application/json",
                "User-Agent": "points-platform-events/1",
                "webhook-id": event.event_id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": " ".join(Webhook(secret).sign(event.event_id, now, body) for secret in secrets),
            },
            # The certificate must be of the name, although the connection goes to a number.
            extensions={"sni_hostname": target.host},
        )
        return await self._http.send(request, stream=True)


async def _read_a_little(response: httpx.Response) -> None:
    """So that a receiver that writes a word does not meet a closed door."""
    try:
        read = 0
        async for piece in response.aiter_raw():
            read += len(piece)
            if read >= _READ_BYTES:
                break
    finally:
        await response.aclose()


def body_of(event: Event, topic: Topic) -> dict[str, Any]:
    """An event as callers and receivers see it."""
    # The service's own events are the same in every topic.
    data = event.data if event.type in OWN_TYPES else topic.body(event.data)
    return {"id": event.event_id, "type": event.type, "timestamp": iso(event.happened_at), "data": data}
