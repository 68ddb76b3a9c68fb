"""A network that loses requests, loses answers, says things twice and takes its time."""

import asyncio
import random
from collections import Counter

import httpx


class UnreliableTransport(httpx.AsyncBaseTransport):
    """Wraps a transport. The seed decides the order of the troubles; how calls fall into it depends on the run.

    Args:
        share: of the requests that something happens to, 0 to 1.
    """

    def __init__(self, within: httpx.AsyncBaseTransport, *, seed: int, share: float = 0.5) -> None:
        self._within = within
        self._random = random.Random(seed)  # noqa: S311 — not a secret
        self._share = share
        #: Trouble → how often it came.
        self.troubles: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        if self._random.random() >= self._share:
            return await self._within.handle_async_request(request)
        trouble = self._random.choice(("request lost", "answer lost", "doubled", "late", "unavailable"))
        self.troubles[trouble] += 1
        match trouble:
            case "request lost":
                raise httpx.ConnectError("the request was lost", request=request)
            case "answer lost":
                await self._send_away(request)
                raise httpx.ReadError("the answer was lost", request=request)
            case "doubled":
                first, second = await asyncio.gather(self._ask(request), self._ask(request))
                return self._random.choice((first, second))
            case "late":
                answer = await self._ask(request)
                await asyncio.sleep(self._random.uniform(0, 0.05))
                return answer
            case _:
                return httpx.Response(503, headers={"Retry-After": "0"}, request=request)

    async def aclose(self) -> None:
        await self._within.aclose()

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = await self._within.handle_async_request(request)
        await answer.aread()
        return answer

    async def _send_away(self, request: httpx.Request) -> None:
        await self._ask(request)
