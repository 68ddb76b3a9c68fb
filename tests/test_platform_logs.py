"""What the platform writes down: who asked for what, and never what opens a door."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser

from .browsing import visiting
from .running_platform import RunningPlatform

JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}")
#: 32 lower-case hexadecimal characters by themselves, in an address or a field: a campaign token, but for the ids
#: of requests and traces, which say what they are.
NOT_SECRET = re.compile(rb'"(request_id|traceparent|trace_id)":\s*"[^"]*"')


async def test_no_secret_token_or_password_is_in_any_log(
    platform: RunningPlatform, http: httpx.AsyncClient, browser: Browser
) -> None:
    customer = await platform.new_customer(http, 500)
    forbidden = {"the customer's password": customer.password}
    async with visiting(browser, platform) as visitor:
        await visitor.open_account(customer)
        await visitor.press_redeem()
        await visitor.sees_shop(customer.firstname, 500)
        for cookie in await visitor.context.cookies():
            if "session" in cookie["name"]:
                forbidden[f"the cookie {cookie['name']}"] = cookie["value"]
    order = {"base_url": "https://campaign.example", "customer_id": "c", "campaign_id": "logs", "duration": 3600}
    campaign = platform.auth("campaign")
    token = (await http.post("/v1/tokens", auth=campaign, json=order)).json()["token"]
    forbidden["a campaign token"] = token
    for answer in (
        await http.get(f"/v1/tokens/{token}", auth=campaign),
        await http.post(f"/v1/tokens/{token}/verify", auth=campaign),
        await http.get(f"/v1/tokens/{'0' * 32}", auth=campaign),
        await http.get(f"/v1/tokens/{token}?again={token}", auth=("stranger", "a wrong secret")),
        await http.get("/login?email=somebody&password=a-typed-password"),
        await http.post("/login", data={"email": customer.email, "password": "a-wrong-password"}),
        await http.get("/v1/accounts/nobody", headers={"Authorization": "Bearer eyJhbGciOiJub25l.eyJzdWIi.c2lnbmVk"}),
    ):
        assert answer.status_code < 500
    forbidden |= {"what was typed": "a-typed-password", "what was wrong": "a-wrong-password"}
    forbidden |= dict(_secrets_of(platform.description)) | dict(_secrets_on_disk(platform.state / "secrets"))
    logs = {path.name: path.read_bytes() for path in (platform.state / "logs").iterdir()}
    assert {"points-ledger.log", "sso-issuer.log", "gateway.log", "rewards-shop.log", "postgresql.log"} <= set(logs)
    for name, text in logs.items():
        for what, secret in forbidden.items():
            assert secret.encode() not in text, f"{what} is in {name}"
        assert JWT.search(text) is None, f"a JWT is in {name}"
        lines = [line for line in NOT_SECRET.sub(b"", text).splitlines() if token.encode() in line]
        assert lines == []


async def test_every_line_of_a_service_is_json_that_says_when_and_who(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    await http.get("/v1/users/nobody", auth=platform.auth("platform"))
    for name in ("points-ledger", "sso-issuer", "partner-onboarding", "token-service"):
        lines = platform.log(name).splitlines()
        assert lines
        for line in lines:
            said = json.loads(line)
            assert said["event"]
            assert said["level"]
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", said["timestamp"])
        assert any(json.loads(line).get("service") == name for line in lines)


def _secrets_of(description: Any, path: str = "demo.json") -> Iterator[tuple[str, str]]:
    if isinstance(description, list):
        for number, member in enumerate(description):
            yield from _secrets_of(member, f"{path}[{number}]")
    elif isinstance(description, dict):
        for name, member in description.items():
            if name in {"client_secret", "password"}:
                yield f"{path}.{name}", member
            yield from _secrets_of(member, f"{path}.{name}")
        if "client_secret" in description:
            pair = f"{description['client_id']}:{description['client_secret']}".encode()
            yield f"{path} as Basic", base64.b64encode(pair).decode()


def _secrets_on_disk(directory: Path) -> Iterator[tuple[str, str]]:
    for file in directory.rglob("*"):
        if file.is_file():
            text = file.read_text().strip()
            # Of a private key only `d` is private, of key-encryption keys what follows the number.
            secret = json.loads(text)["d"] if text.startswith("{") else text.removeprefix("1:")
            assert len(secret) >= 20, f"{file.name} does not look like a secret"
            yield f"{directory.name}/{file.name}", secret
