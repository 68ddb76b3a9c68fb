"""An event on its way, through the real interfaces: the shop gives points back, and the platform tells it so.

A person orders a reward that is sold out. The shop rolls back, and `points.rolled_back` is signed and delivered to the
shop's endpoint. The page of the order shows it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from local_platform.console import Terminal
from local_platform.journey import JourneyFailed

SOLD_OUT = "lamp"
#: An event is seen within two seconds; the rest is for a machine that has much to do.
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.2
_ENDPOINTS = "/events/v1/points/endpoints"


class EventJourney:
    """One delivery to the shop of a running platform, of which `description` (`demo.json`) tells all."""

    def __init__(
        self,
        description: Mapping[str, Any],
        terminal: Terminal,
        transport: httpx.AsyncBaseTransport | None = None,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._transport = transport
        self._gateway = description["gateway"]
        self._platform = description["clients"]["platform"]
        self._vendor = description["clients"]["vendor"]
        self._user_id = description["users"][-1]["user_id"]
        self._terminal = terminal
        self._poll_seconds = poll_seconds

    async def make(self) -> None:
        """Plays all of it; in containers, whose network is private, it says that there is no delivery.

        Raises:
            JourneyFailed: an answer is not what it must be, or the event does not come.
        """
        async with httpx.AsyncClient(timeout=30.0, trust_env=False, transport=self._transport) as http:
            self._http = http
            self._terminal.step("The shop has an endpoint; what is sent there is signed with a secret of its own")
            present = (await self._ask(self._vendor, "GET", _ENDPOINTS))["endpoints"]
            of_shop = [one["endpoint_id"] for one in present if one["url"].endswith("/webhooks/points")]
            if not of_shop:
                self._terminal.say("    none: nothing is sent into a private network such as that of containers")
                return
            order = await self._order()
            self._terminal.step("The event is signed and delivered. The shop verifies it, and its page shows it")
            heard = await self._until(lambda: self._step_of(order), "the shop must hear of its order")
            self._terminal.call("GET /orders/{order_id}", None, 200, heard)
            self._terminal.step("The platform's list of deliveries says the same")
            path = f"{_ENDPOINTS}/{of_shop[0]}/deliveries?state=delivered&limit=20"
            delivery = await self._until(lambda: self._delivery(path, heard["answer"]), f"{path} must list the event")
            self._terminal.call(f"GET {path}", None, 200, delivery)

    async def _order(self) -> str:
        """Enters the shop and orders what is sold out. Returns the order's address."""
        self._terminal.step("A person orders what turns out to be sold out, so the shop gives the points back")
        body = {"user_id": self._user_id, "vendor_id": self._vendor["vendor_id"]}
        redirect = await self._ask(self._platform, "POST", "/sso/v1/redirects", body, shown=lambda _: None)
        inside = await self._send("GET", redirect["url"])
        shop = redirect["url"].partition("/redeem")[0]
        fields = {"reward_id": SOLD_OUT, "csrf_token": inside["csrf_token"]}
        order = await self._send("POST", f"{shop}/orders", data=fields)
        shown = {name: order[name] for name in ("order_id", "points", "outcome")}
        self._terminal.call("POST /orders", {"reward_id": SOLD_OUT}, 201, shown)
        if order["outcome"] != "out_of_stock":
            raise JourneyFailed(f"the order must be out_of_stock, but is {order['outcome']}")
        return f"{shop}/orders/{order['order_id']}"

    async def _step_of(self, order: str) -> dict[str, Any] | None:
        """The step of the order's story that came by the event."""
        steps: list[dict[str, Any]] = (await self._send("GET", order))["steps"]
        return next((step for step in steps if step["step"] == "event"), None)

    async def _delivery(self, path: str, event_id: str) -> dict[str, Any] | None:
        deliveries: list[dict[str, Any]] = (await self._ask(self._vendor, "GET", path, shown=lambda _: None))[
            "deliveries"
        ]
        return next((one for one in deliveries if one["event_id"] == event_id), None)

    async def _until(self, look: Callable[[], Awaitable[dict[str, Any] | None]], must: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    found = await look()
                    if found is not None:
                        return found
                    await asyncio.sleep(self._poll_seconds)
        except TimeoutError:
            raise JourneyFailed(f"{must} within {_PATIENCE_SECONDS:.0f} s, but did not") from None

    async def _ask(
        self, client: Mapping[str, Any], method: str, path: str, body: Any = None, *, shown: Any = None
    ) -> Any:
        """A call through the gateway; `shown` picks what of the answer is printed, None for nothing."""
        auth = client["client_id"], client["client_secret"]
        answer = await self._send(method, self._gateway + path, json=body, auth=auth)
        printed = answer if shown is None else shown(answer)
        if printed is not None:
            self._terminal.call(f"{method} {path}", body, 200, printed)
        return answer

    async def _send(self, method: str, url: str, **arguments: Any) -> Any:
        shown = f"{method} {url.partition('?')[0]}"
        try:
            response = await self._http.request(method, url, headers={"Accept": "application/json"}, **arguments)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise JourneyFailed(f"{shown} gave no answer that can be read: {type(error).__name__}") from None
        if not response.is_success:
            raise JourneyFailed(f"{shown} must succeed, but answered {response.status_code}: {answer}")
        return answer
