"""The handshake's journey against a platform in memory: it succeeds, and notices whatever is wrong."""

import io
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from local_platform.console import Terminal
from local_platform.handshake_journey import HandshakeJourney
from local_platform.journey import JourneyFailed
from rich.console import Console

LANDING = "http://partner.example/welcome?campaign=demo"
DESCRIPTION = {
    "gateway": "http://platform.example",
    "clients": {"partner": {"client_id": "partner", "client_secret": "partner-secret", "landing_url": LANDING}},
}
ASSIGNMENT = {"months": 1, "assignedAt": "2026-11-21T08:00:00.000Z"}


class ToyPlatform:
    """As little of partner-onboarding as the journey needs. Everything is public, to be broken."""

    def __init__(self) -> None:
        self.codes = {"registerCode": "public", "authorizationCode": "private"}
        self.told = "private"
        self.redeemed = "nora"
        self.billed = [{"userId": "nora", **ASSIGNMENT}]
        self.form: dict[str, list[str]] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/user/partner/")
        if request.url.host == "partner.example":
            return httpx.Response(200, text="Welcome")
        if request.method == "POST" and path == "/registrieren/":
            self.form = parse_qs(request.content.decode())
            return httpx.Response(303, headers={"Location": f"{LANDING}&authorizationCode={self.told}&userId=nora"})
        answers: dict[str, Any] = {
            "init-register-handshake": self.codes,
            "redeem-handshake": {"userId": self.redeemed},
            "activate-user/nora": {"userId": "nora"},
            "event-list": {"nora": {"assignments": [ASSIGNMENT]}},
            "billing": {"month": f"{datetime.now(UTC):%Y-%m}", "assignments": self.billed, "sum": 1},
        }
        if path in answers:
            return httpx.Response(200, json=answers[path])
        page = '<input type="hidden" name="csrf_token" value="t&amp;k">n•••@example.com Hello, Nora'
        return httpx.Response(200, html=page)


async def play(platform: ToyPlatform) -> str:
    output = io.StringIO()
    terminal = Terminal(Console(file=output, soft_wrap=True, highlight=False))
    await HandshakeJourney(DESCRIPTION, terminal, httpx.MockTransport(platform)).make()
    return output.getvalue()


async def test_it_plays_partner_browser_and_landing_page() -> None:
    platform = ToyPlatform()
    shown = await play(platform)
    assert "GET /user/partner/activate-user/nora" in shown
    assert "partner-secret" not in shown
    assert platform.form["csrf_token"] == ["t&k"]
    assert platform.form["password"][0] not in shown


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("told", "another", "the code at the landing page must be private, but is another"),
        ("redeemed", "max", "the user behind the code must be nora, but is max"),
        ("billed", [], "what is billed must be"),
    ],
)
async def test_whatever_comes_out_differently_is_noticed(name: str, value: Any, said: str) -> None:
    platform = ToyPlatform()
    setattr(platform, name, value)
    with pytest.raises(JourneyFailed, match=said):
        await play(platform)
