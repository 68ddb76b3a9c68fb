"""The journey of an event against a platform in memory: it shows the delivery, and notices one that does not come."""

import io
from typing import Any

import httpx
import pytest
from local_platform import event_journey
from local_platform.console import Terminal
from local_platform.event_journey import EventJourney
from local_platform.journey import JourneyFailed
from rich.console import Console

DESCRIPTION = {
    "gateway": "http://platform.example",
    "clients": {
        "platform": {"client_id": "platform", "client_secret": "platform-secret"},
        "vendor": {"client_id": "vendor", "client_secret": "vendor-secret", "vendor_id": "rewards-shop"},
    },
    "users": [{"user_id": "tilda"}],
}
EVENT = {"step": "event", "call": "webhook points.rolled_back", "answer": "evt_1"}


class ToyPlatform:
    """As little of a ledger, an issuer and a shop as the journey needs. Everything is public, to be broken."""

    def __init__(self) -> None:
        self.endpoints: list[dict[str, Any]] = [{"endpoint_id": "ep_1", "url": "http://shop.example/webhooks/points"}]
        self.steps: list[list[dict[str, Any]]] = [[], [EVENT]]
        self.deliveries = [{"event_id": "evt_1", "state": "delivered", "status": 204}]
        self.outcome = "out_of_stock"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/orders/o-1":
            return httpx.Response(200, json={"steps": self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]})
        answers: dict[str, Any] = {
            "/events/v1/points/endpoints": {"endpoints": self.endpoints},
            "/events/v1/points/endpoints/ep_1/deliveries": {"deliveries": self.deliveries},
            "/sso/v1/redirects": {"url": "http://shop.example/redeem?token=secret-token"},
            "/redeem": {"csrf_token": "secret-form"},
            "/orders": {"order_id": "o-1", "points": 900, "outcome": self.outcome},
        }
        return httpx.Response(200, json=answers[path])


async def play(platform: ToyPlatform) -> str:
    output = io.StringIO()
    terminal = Terminal(Console(file=output, soft_wrap=True, highlight=False))
    await EventJourney(DESCRIPTION, terminal, httpx.MockTransport(platform), poll_seconds=0).make()
    return output.getvalue()


async def test_it_shows_the_delivery_and_no_secret() -> None:
    shown = await play(ToyPlatform())
    assert "webhook points.rolled_back" in shown
    assert '"state": "delivered", "status": 204' in shown
    assert "secret-" not in shown


async def test_a_platform_without_endpoints_is_said_in_words() -> None:
    platform = ToyPlatform()
    platform.endpoints = []
    assert "nothing is sent into a private network" in await play(platform)


async def test_an_event_that_does_not_come_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_journey, "_PATIENCE_SECONDS", 0.05)
    platform = ToyPlatform()
    platform.steps = [[]]
    with pytest.raises(JourneyFailed, match="the shop must hear of its order"):
        await play(platform)


async def test_a_list_that_does_not_say_so_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_journey, "_PATIENCE_SECONDS", 0.05)
    platform = ToyPlatform()
    platform.deliveries = [{"event_id": "evt_2", "state": "delivered", "status": 204}]
    with pytest.raises(JourneyFailed, match="must list the event"):
        await play(platform)
