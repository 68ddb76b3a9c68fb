"""One attempt to hand an event over, after Standard Webhooks."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
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
#: A receiver may close a connection that lies idle while a request is on its way. That is no failure of its own.
_CLOSED_WHILE_IDLE: Final = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


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
        self._transport = transport
        self._tls = httpx.create_ssl_context(trust_env=False)

    @asynccontextmanager
    async def conversation(self, url: str, secrets: Sequence[str]) -> AsyncIterator["Conversation"]:
        """Attempts at one address, one after the other over one connection, while the block runs.

        Two addresses never share a connection: its certificate was checked for one name.
        """
        # A pool of its own: httpcore looks at all connections of a pool with each request.
        network = self._transport or httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False)
        try:
            yield Conversation(self._destinations, self._topic, url, secrets, network, self._attempt_seconds)
        finally:
            if network is not self._transport:
                await network.aclose()

    async def send(self, url: str, secrets: Sequence[str], event: Event) -> Outcome:
        """One attempt. Every failure is an outcome; none is raised."""
        async with self.conversation(url, secrets) as conversation:
            return await conversation.send(event)


class Conversation:
    """Attempts at one address; made by `Sender.conversation`."""

    def __init__(
        self,
        destinations: Destinations,
        topic: Topic,
        url: str,
        secrets: Sequence[str],
        network: httpx.AsyncBaseTransport,
        attempt_seconds: float,
    ) -> None:
        self._destinations = destinations
        self._topic = topic
        self._url = url
        self._signing = [Webhook(secret) for secret in secrets]
        self._network = network
        self._attempt_seconds = attempt_seconds
        # Past httpx's client, whose redirects, cookies and proxies are not wanted. A handshake that is cut off from
        # outside would leave its socket open; this cut closes it.
        self._timeout = httpx.Timeout(attempt_seconds, connect=0.8 * attempt_seconds).as_dict()

    async def send(self, event: Event) -> Outcome:
        """One attempt. Every failure is an outcome; none is raised."""
        began = time.perf_counter()
        status, error = None, None
        try:
            async with asyncio.timeout(self._attempt_seconds):
                response = await self._post(event)
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

    async def _post(self, event: Event) -> httpx.Response:
        target = await self._destinations.target(self._url)
        body = orjson.dumps(body_of(event, self._topic))
        now = datetime.now(UTC)
        signatures = (signing.sign(event.event_id, now, body.decode()) for signing in self._signing)
        connection = _Connection()
        request = httpx.Request(
            "POST",
            target.url,
            content=body,
            headers={
                "Host": target.authority,
                "Accept": "*/*",
                "Content-Type": "application/json",
                "User-Agent": "points-platform-events/1",
                "webhook-id": event.event_id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": " ".join(signatures),
            },
            # The certificate must be of the name, although the connection goes to a number.
            extensions={"sni_hostname": target.host, "timeout": self._timeout, "trace": connection.note},
        )
        try:
            return await self._network.handle_async_request(request)
        except _CLOSED_WHILE_IDLE:
            if not connection.is_used_again:
                raise
        # That connection is gone, so this opens another one.
        return await self._network.handle_async_request(request)


class _Connection:
    """Notes whether a request goes out over a connection that an earlier one has opened."""

    def __init__(self) -> None:
        self._is_new = False
        self.is_used_again = False

    async def note(self, step: str, _: Any) -> None:
        if step == "connection.connect_tcp.started":
            self._is_new = True
        elif step == "http11.send_request_headers.started":
            self.is_used_again = not self._is_new


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
