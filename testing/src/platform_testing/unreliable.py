"""A network that loses requests, loses answers, says things twice and takes its time."""

import asyncio
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx

KINDS_OF_TROUBLE: Final = ("request lost", "answer lost", "doubled", "late", "unavailable")
_UNANSWERED: Final = frozenset({"request lost", "answer lost", "unavailable"})
_LATEST_SECONDS: Final = 0.05


class _Troubles:
    """What happens to which request.

    Args:
        share: of the requests that something happens to, 0 to 1.
        unanswered_in_a_row: at most so many; None for any number.
    """

    def __init__(self, seed: int, share: float, unanswered_in_a_row: int | None) -> None:
        self._random = random.Random(seed)  # noqa: S311 — not a secret
        self._share = share
        self._most = unanswered_in_a_row
        self._in_a_row = 0
        #: Trouble → how often it came.
        self.counted: Counter[str] = Counter()

    def next(self) -> str | None:
        trouble = self._random.choice(KINDS_OF_TROUBLE) if self._random.random() < self._share else None
        if trouble not in _UNANSWERED:
            self._in_a_row = 0
        elif self._in_a_row == self._most:
            trouble, self._in_a_row = None, 0
        else:
            self._in_a_row += 1
        if trouble is not None:
            self.counted[trouble] += 1
        return trouble

    def one_of(self, first: httpx.Response, second: httpx.Response) -> httpx.Response:
        return self._random.choice((first, second))

    def delay_seconds(self) -> float:
        return self._random.uniform(0, _LATEST_SECONDS)


class UnreliableTransport(httpx.AsyncBaseTransport):
    """Wraps a transport. The seed decides the order of the troubles; how calls fall into it depends on the run.

    Args:
        share: of the requests that something happens to, 0 to 1.
        unanswered_in_a_row: at most so many, for a client that gives up after more; None for any number.
    """

    def __init__(
        self,
        within: httpx.AsyncBaseTransport,
        *,
        seed: int,
        share: float = 0.5,
        unanswered_in_a_row: int | None = None,
    ) -> None:
        self._within = within
        self._troubles = _Troubles(seed, share, unanswered_in_a_row)

    @property
    def troubles(self) -> Counter[str]:
        """Trouble → how often it came."""
        return self._troubles.counted

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        match self._troubles.next():
            case None:
                return await self._within.handle_async_request(request)
            case "request lost":
                raise httpx.ConnectError("the request was lost", request=request)
            case "answer lost":
                await self._ask(request)
                raise httpx.ReadError("the answer was lost", request=request)
            case "doubled":
                return self._troubles.one_of(*await asyncio.gather(self._ask(request), self._ask(request)))
            case "late":
                answer = await self._ask(request)
                await asyncio.sleep(self._troubles.delay_seconds())
                return answer
            case _:
                return _unavailable(request)

    async def aclose(self) -> None:
        await self._within.aclose()

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = await self._within.handle_async_request(request)
        await answer.aread()
        return answer


class UnreliableWaitingTransport(httpx.BaseTransport):
    """The same for clients without asyncio."""

    def __init__(
        self, within: httpx.BaseTransport, *, seed: int, share: float = 0.5, unanswered_in_a_row: int | None = None
    ) -> None:
        self._within = within
        self._troubles = _Troubles(seed, share, unanswered_in_a_row)
        self._pool = ThreadPoolExecutor(2)

    @property
    def troubles(self) -> Counter[str]:
        """Trouble → how often it came."""
        return self._troubles.counted

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        match self._troubles.next():
            case None:
                return self._within.handle_request(request)
            case "request lost":
                raise httpx.ConnectError("the request was lost", request=request)
            case "answer lost":
                self._ask(request)
                raise httpx.ReadError("the answer was lost", request=request)
            case "doubled":
                first, second = self._pool.map(self._ask, (request, request))
                return self._troubles.one_of(first, second)
            case "late":
                answer = self._ask(request)
                time.sleep(self._troubles.delay_seconds())
                return answer
            case _:
                return _unavailable(request)

    def close(self) -> None:
        self._pool.shutdown()
        self._within.close()

    def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = self._within.handle_request(request)
        answer.read()
        return answer


def _unavailable(request: httpx.Request) -> httpx.Response:
    return httpx.Response(503, headers={"Retry-After": "0"}, request=request)
