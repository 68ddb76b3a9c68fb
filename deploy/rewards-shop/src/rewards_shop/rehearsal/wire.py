"""The network between a shop and the platform, as bad as a test wants it."""

from collections import defaultdict
from collections.abc import Awaitable, Callable

import httpx

Forward = Callable[[], Awaitable[httpx.Response]]
Fault = Callable[[httpx.Request, Forward], Awaitable[httpx.Response]]


async def unreachable(request: httpx.Request, forward: Forward) -> httpx.Response:
    """The call never arrives."""
    raise httpx.ConnectError("unreachable", request=request)


async def answer_lost(request: httpx.Request, forward: Forward) -> httpx.Response:
    """The call arrives and has its effect; its answer does not come back."""
    await forward()
    raise httpx.ReadTimeout("the answer was lost", request=request)


async def fine(request: httpx.Request, forward: Forward) -> httpx.Response:
    return await forward()


def answers(status: int, body: str = "", **headers: str) -> Fault:
    """Something on the way answers instead of the platform. Header names with underscores for hyphens."""

    async def answer(request: httpx.Request, forward: Forward) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.Response(status, headers=named, text=body, request=request)

    return answer


class Wire(httpx.AsyncBaseTransport):
    """Carries calls to an app in this process, unless a fault is lined up for that kind of call.

    `faults` are used up one a call; `always` stays. `calls` tells what was tried, in order: commit, confirm, rollback,
    look_up, redeem, keys, balance.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._inner = httpx.ASGITransport(app)
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.always: dict[str, Fault] = {}
        self.calls: list[str] = []
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = kind_of(request)
        self.calls.append(call)
        self.requests.append(request)
        line = self.faults[call]
        fault = line.pop(0) if line else self.always.get(call, fine)
        return await fault(request, lambda: self._inner.handle_async_request(request))


def kind_of(request: httpx.Request) -> str:
    path = request.url.path
    if path == "/eai/v1/points":
        return request.url.query.decode()
    for start, call in (
        ("/eai/v1/balances/", "balance"),
        ("/eai/", "look_up"),
        ("/sso/", "redeem"),
        ("/tenants/", "keys"),
    ):
        if path.startswith(start):
            return call
    return path
