"""Once a day: the shop's books against the platform's, in one request however many orders there are."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from rewards_shop.orders import Order, OrderState
from rewards_shop.platform_client import NoAnswer
from rewards_shop.store import Store

PATH = "/eai/v1/reconciliations"
SETTLED_AFTER_SECONDS = 3600.0
"""Younger orders may be under way; the next day looks at them."""
DAY_SECONDS = 86_400.0

_STATES = {
    OrderState.FULFILLED: "confirmed",
    OrderState.OUT_OF_STOCK: "rolled_back",
    OrderState.CANCELLED: "rolled_back",
    OrderState.EXPIRED: "expired",
}


@dataclass(frozen=True)
class Books:
    """What came of it: the findings that somebody must look at, and the platform's summary."""

    findings: list[dict[str, Any]]
    summary: dict[str, Any]


async def reconcile(http: httpx.AsyncClient, store: Store, *, now: float, days: int) -> Books:
    """Compares the orders of the last days. Raises NoAnswer if the platform's answer is missing or not whole."""
    until = now - SETTLED_AFTER_SECONDS
    since = until - days * DAY_SECONDS
    findings: list[dict[str, Any]] = []
    try:
        async with http.stream(
            "POST",
            PATH,
            params={"since": _iso(since), "until": _iso(until)},
            content=_lines(store, since, until),
            headers={"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"},
            # The platform may think for a while after the last line.
            timeout=httpx.Timeout(60.0),
        ) as response:
            if response.status_code != httpx.codes.OK:
                raise NoAnswer(f"POST {PATH}: status {response.status_code}")
            async for line in response.aiter_lines():
                said = json.loads(line)
                if "summary" in said:
                    return Books(findings, said["summary"])
                if matters(said):
                    findings.append(said)
    except (httpx.TransportError, ValueError) as error:
        raise NoAnswer(f"POST {PATH}: {type(error).__name__}") from None
    raise NoAnswer(f"POST {PATH}: the answer broke off")


def stated(order: Order) -> tuple[str, int] | None:
    """Where the order's transaction stands by the shop's books; None where the platform has no transaction of it."""
    if order.state is OrderState.REFUSED:
        return ("rejected", 0) if order.reason == "insufficient_points" else None
    return (_STATES[order.state], order.taken) if order.state in _STATES else None


def matters(finding: dict[str, Any]) -> bool:
    """Whether points are in it: to the shop, rolled back, cancelled, expired and rejected all say that none are."""
    if finding["finding"] == "malformed":
        return True
    sides = [finding[side] for side in ("yours", "ours") if side in finding]
    return any(side["points"] or side["state"] == "held" for side in sides)


async def _lines(store: Store, since: float, until: float) -> AsyncIterator[bytes]:
    async for order in store.finished_orders(since, until):
        stand = stated(order)
        if stand is not None:
            state, points = stand
            line = {"transactionid": order.order_id, "state": state, "points": points}
            yield json.dumps(line).encode() + b"\n"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
