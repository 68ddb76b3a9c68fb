"""Clients of the platform: `Points` waits, `AsyncPoints` awaits. Both do what the modules' exchanges say."""

import inspect
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import IO, Any, Final, Self

import httpx

from points_client import receipts, redemptions, tokens, webhooks
from points_client.exchanges import Act, Answer, Exchange, Pause, Request, T
from points_client.reconciliation import Entry, Reconciliation, reconcile
from points_client.redemptions import CanDeliver, Journal, Order
from points_client.schemas import ChangedTransaction, FoundTransaction, PlatformEvent, RedeemedToken, Transaction
from points_client.tokens import TokenVerifier, Visitor

TIMEOUT: Final = httpx.Timeout(5.0, connect=2.0)
_PIECE_BYTES: Final = 65_536


class Points:
    """Speaks with the platform by Basic authentication.

    Args:
        cloud_api: the cloud API URL.
        transport: for tests and proxies.
    """

    def __init__(
        self, cloud_api: str, client_id: str, client_secret: str, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = httpx.Client(
            base_url=cloud_api, auth=(client_id, client_secret), timeout=TIMEOUT, transport=transport
        )

    def run(self, exchange: Exchange[T]) -> T:
        """Carries out an exchange, such as those of `handshake` and `campaigns`."""
        answer: Any = None
        try:
            while True:
                answer = self._do(exchange.send(answer))
        except StopIteration as done:
            result: T = done.value
            return result

    def hold(self, order_id: str, user_id: str, points: int, description: str) -> ChangedTransaction:
        return self.run(redemptions.hold(order_id, user_id, points, description))

    def confirm(self, order_id: str, user_id: str, points: int | None = None) -> ChangedTransaction:
        return self.run(redemptions.confirm(order_id, user_id, points))

    def roll_back(self, order_id: str, user_id: str) -> ChangedTransaction:
        return self.run(redemptions.roll_back(order_id, user_id))

    def refund(self, order_id: str, user_id: str, refund_id: str, points: int) -> ChangedTransaction:
        return self.run(redemptions.refund(order_id, user_id, refund_id, points))

    def look_up(self, order_id: str) -> FoundTransaction:
        return self.run(redemptions.look_up(order_id))

    def balance(self, user_id: str) -> int:
        return self.run(redemptions.balance(user_id))

    def redeem(self, order: Order, journal: Journal, can_deliver: CanDeliver) -> Order:
        return self.run(redemptions.redeem(order, journal, can_deliver))

    def resume(self, order: Order, journal: Journal) -> Order:
        return self.run(redemptions.resume(order, journal))

    def transactions(self, **filters: str) -> Iterator[Transaction]:
        """Your transactions; filters are `state`, `since`, `updated_since`."""
        cursor = None
        while True:
            page = self.run(redemptions.page_of_transactions(cursor, **filters))
            yield from page["transactions"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def verify_token(self, verifier: TokenVerifier, token: str) -> Visitor:
        return self.run(verifier.verify(token))

    def redeem_token(self, token: str, key: str | None = None) -> RedeemedToken:
        return self.run(tokens.redeem(token, key))

    def receipt(self, order_id: str) -> str:
        return self.run(receipts.receipt(order_id))

    def reconcile(
        self, books: Iterable[Entry], *, since: str | None = None, until: str | None = None
    ) -> Reconciliation:
        """Where your books and the platform's differ; see `reconciliation`."""
        return self.run(reconcile(books, since=since, until=until))

    def events(self, topic: str, after: str | None = None) -> Iterator[PlatformEvent]:
        """The events that are there. Keep the `id` of the last one that you dealt with: it is `after` next time."""
        while True:
            page = self.run(webhooks.page_of_events(topic, after))
            yield from page["events"]
            if not page["events"]:
                return
            after = page["next_after"]

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, item: Request | Pause | Act) -> Any:
        match item:
            case Pause(seconds):
                time.sleep(seconds)
                return None
            case Act(call):
                return call()
        try:
            response = self._http.request(
                item.method,
                item.path,
                json=item.json,
                content=None if item.lines is None else _pieces(item.lines),
                headers=dict(item.headers),
                timeout=_timeout(item),
            )
        except (httpx.TransportError, httpx.DecodingError):
            return None
        return _answer(response)


class AsyncPoints:
    """The same for asyncio. `journal.save` and `can_deliver` may be coroutine functions."""

    def __init__(
        self, cloud_api: str, client_id: str, client_secret: str, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=cloud_api, auth=(client_id, client_secret), timeout=TIMEOUT, transport=transport
        )

    async def run(self, exchange: Exchange[T]) -> T:
        answer: Any = None
        try:
            while True:
                answer = await self._do(exchange.send(answer))
        except StopIteration as done:
            result: T = done.value
            return result

    async def hold(self, order_id: str, user_id: str, points: int, description: str) -> ChangedTransaction:
        return await self.run(redemptions.hold(order_id, user_id, points, description))

    async def confirm(self, order_id: str, user_id: str, points: int | None = None) -> ChangedTransaction:
        return await self.run(redemptions.confirm(order_id, user_id, points))

    async def roll_back(self, order_id: str, user_id: str) -> ChangedTransaction:
        return await self.run(redemptions.roll_back(order_id, user_id))

    async def refund(self, order_id: str, user_id: str, refund_id: str, points: int) -> ChangedTransaction:
        return await self.run(redemptions.refund(order_id, user_id, refund_id, points))

    async def look_up(self, order_id: str) -> FoundTransaction:
        return await self.run(redemptions.look_up(order_id))

    async def balance(self, user_id: str) -> int:
        return await self.run(redemptions.balance(user_id))

    async def redeem(self, order: Order, journal: Journal, can_deliver: CanDeliver) -> Order:
        return await self.run(redemptions.redeem(order, journal, can_deliver))

    async def resume(self, order: Order, journal: Journal) -> Order:
        return await self.run(redemptions.resume(order, journal))

    async def transactions(self, **filters: str) -> AsyncIterator[Transaction]:
        cursor = None
        while True:
            page = await self.run(redemptions.page_of_transactions(cursor, **filters))
            for one in page["transactions"]:
                yield one
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def verify_token(self, verifier: TokenVerifier, token: str) -> Visitor:
        return await self.run(verifier.verify(token))

    async def redeem_token(self, token: str, key: str | None = None) -> RedeemedToken:
        return await self.run(tokens.redeem(token, key))

    async def receipt(self, order_id: str) -> str:
        return await self.run(receipts.receipt(order_id))

    async def reconcile(
        self, books: Iterable[Entry], *, since: str | None = None, until: str | None = None
    ) -> Reconciliation:
        return await self.run(reconcile(books, since=since, until=until))

    async def events(self, topic: str, after: str | None = None) -> AsyncIterator[PlatformEvent]:
        while True:
            page = await self.run(webhooks.page_of_events(topic, after))
            for event in page["events"]:
                yield event
            if not page["events"]:
                return
            after = page["next_after"]

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _do(self, item: Request | Pause | Act) -> Any:
        match item:
            case Pause(seconds):
                await sleep(seconds)
                return None
            case Act(call):
                result = call()
                return await result if inspect.isawaitable(result) else result
        try:
            response = await self._http.request(
                item.method,
                item.path,
                json=item.json,
                content=None if item.lines is None else _awaited_pieces(item.lines),
                headers=dict(item.headers),
                timeout=_timeout(item),
            )
        except (httpx.TransportError, httpx.DecodingError):
            return None
        return _answer(response)


def _timeout(request: Request) -> httpx.Timeout:
    return TIMEOUT if request.timeout_seconds is None else httpx.Timeout(request.timeout_seconds, connect=2.0)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        yield piece


async def _awaited_pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    for piece in _pieces(file):
        yield piece


def _answer(response: httpx.Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content)
