"""The journey against a platform in memory: it succeeds again and again, and notices whatever is wrong."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from local_platform.console import Terminal
from local_platform.journey import Journey, JourneyFailed
from rich.console import Console

DESCRIPTION = {
    "gateway": "http://platform.example",
    "clients": {
        "platform": {"client_id": "platform", "client_secret": "platform-secret"},
        "vendor": {"client_id": "vendor", "client_secret": "vendor-secret", "vendor_id": "rewards-shop"},
    },
    "users": [{"user_id": "somebody"}, {"user_id": "tilda", "firstname": "Tilda"}],
}


class ToyPlatform:
    """As little of a ledger, an issuer and a shop as the journey needs. Everything is public, to be broken."""

    def __init__(self) -> None:
        self.available, self.held = 800, 0
        self.is_down = False
        self.references: set[str] = set()
        self.transactions: dict[str, tuple[str, int]] = {}
        self.points_in_token: Callable[[int], int] = lambda points: points
        self.credited: Callable[[int], int] = lambda points: points

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or b"null")
        if request.url.host == "shop.example":
            return httpx.Response(200, json={"user": {"userid": "tilda"}, "points": self.available})
        if self.is_down and request.method == "POST":
            return httpx.Response(503, json={"code": "service_unavailable"})
        if request.url.path == "/eai/v1/points":
            return self.eai(request.url.query.decode(), body)
        if request.url.path == "/sso/v1/redirects":
            claims = {"userid": body["user_id"], "points": self.points_in_token(self.available)}
            token = f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()}.x"
            return httpx.Response(201, json={"url": f"http://shop.example/redeem?token={token}", "token": token})
        if request.method == "POST":
            known = body["reference"] in self.references
            self.references.add(body["reference"])
            self.available += 0 if known else self.credited(body["points"])
            return httpx.Response(200 if known else 201, json={})
        return httpx.Response(
            200, json={"available": self.available, "held": self.held, "total": self.available + self.held}
        )

    def eai(self, operation: str, body: dict[str, Any]) -> httpx.Response:
        name = body["transactionid"]
        state, points = self.transactions.get(name, ("", 0))
        if operation == "commit":
            points = body["pointstodeduct"]
            if state:
                return httpx.Response(409, json={"status": "failed", "code": f"transaction_{state}"})
            if points > self.available:
                return httpx.Response(400, json={"status": "failed", "code": "insufficient_points"})
            self.move(available=-points, held=points)
            state = "held"
        elif operation == "confirm":
            self.move(held=-points)
            state = "confirmed"
        else:
            self.move(available=points, held=-points)
            state = "rolled_back"
        self.transactions[name] = state, points
        return httpx.Response(200, json={"status": "success", "state": state})

    def move(self, available: int = 0, held: int = 0) -> None:
        self.available += available
        self.held += held


@pytest.fixture
def platform() -> ToyPlatform:
    return ToyPlatform()


async def travel(platform: ToyPlatform) -> str:
    output = io.StringIO()
    terminal = Terminal(Console(file=output, soft_wrap=True, highlight=False))
    await Journey(DESCRIPTION, terminal, httpx.MockTransport(platform)).make()
    return output.getvalue()


async def test_it_can_be_made_any_number_of_times_and_shows_the_balance_before_and_after(
    platform: ToyPlatform,
) -> None:
    assert "Tilda: available 800 → 1000, held 0 → 0, total 800 → 1000" in await travel(platform)
    assert "Tilda: available 1000 → 1200, held 0 → 0, total 1000 → 1200" in await travel(platform)


async def test_it_shows_requests_and_answers_but_no_whole_token_and_no_secret(platform: ToyPlatform) -> None:
    shown = await travel(platform)
    assert 'POST /eai/v1/points?commit  {"userid": "tilda", "pointstodeduct": 300' in shown
    assert "→ 409" in shown
    assert "-secret" not in shown


async def test_points_that_went_astray_are_noticed(platform: ToyPlatform) -> None:
    platform.credited = lambda points: points - 1
    with pytest.raises(JourneyFailed, match=r"the balance after the credit must be .*1300.* but is .*1299"):
        await travel(platform)


async def test_a_token_with_other_points_is_noticed(platform: ToyPlatform) -> None:
    platform.points_in_token = lambda points: points + 1
    with pytest.raises(JourneyFailed, match="the points in the token must be 1300, but is 1301"):
        await travel(platform)


async def test_an_answer_of_another_kind_is_noticed(platform: ToyPlatform) -> None:
    platform.is_down = True
    with pytest.raises(JourneyFailed, match="/v1/accounts/tilda/credits must answer 201, but answered 503"):
        await travel(platform)


async def test_a_platform_that_is_not_there_is_said_in_words(platform: ToyPlatform) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(JourneyFailed, match="GET /v1/accounts/tilda gave no answer that can be read: ConnectError"):
        await Journey(DESCRIPTION, Terminal(Console(file=io.StringIO())), httpx.MockTransport(refuse)).make()
