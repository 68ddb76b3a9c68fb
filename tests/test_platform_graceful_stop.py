"""A service that is asked to end while it is busy answers whatever it has taken, and has taken nothing else."""

import asyncio
import secrets
import signal
from collections.abc import Awaitable, Callable

import httpx
import pytest

from .running_platform import PATIENCE_SECONDS, POLL_SECONDS, RunningPlatform, until

CALLERS = 12
#: How many calls are answered before the service is asked to end.
CALLS = 120
PRICE = 5

#: The status of the answer to a call, by the call's name; None where there was none.
Told = dict[str, int | None]


@pytest.mark.parametrize("way_in", ["the gateway", "its own port"])
async def test_the_ledger_asked_to_end_amid_orders_has_answered_each_that_it_kept(
    platform: RunningPlatform, http: httpx.AsyncClient, way_in: str
) -> None:
    customer = await platform.new_customer(http, 1_000_000)
    vendor = platform.auth("vendor")

    async def commit(client: httpx.AsyncClient, name: str) -> httpx.Response:
        body = {"userid": customer.user_id, "transactionid": name, "pointstodeduct": PRICE, "description": "a test"}
        return await client.post("/eai/v1/points?commit", json=body, auth=vendor)

    told = await _told_while_it_ends(platform, "points-ledger", way_in, commit)
    held = {name for name, status in told.items() if status == 200}
    for name, status in told.items():
        found = await _when_it_is_back(lambda name=name: http.get(f"/eai/v1/points/{name}", auth=vendor))
        state = found.json()["state"] if found.status_code == 200 else None
        assert state == ("held" if name in held else None), f"{name} was told {status}"
    assert await platform.balance(http, customer.user_id) == (1_000_000 - PRICE * len(held), PRICE * len(held))


@pytest.mark.parametrize("way_in", ["the gateway", "its own port"])
async def test_the_tokens_asked_to_end_amid_verifications_have_counted_each_that_they_answered(
    platform: RunningPlatform, http: httpx.AsyncClient, way_in: str
) -> None:
    """Plain counts are written a moment later: when a process ends in good order, none is forgotten."""
    campaign = platform.auth("campaign")
    order = {"base_url": "https://campaign.example", "customer_id": "c", "campaign_id": "stop", "duration": 3600}
    made = await http.post("/v1/tokens", auth=campaign, json=order)
    assert made.status_code == 201, made.text
    token = made.json()["token"]

    async def verify(client: httpx.AsyncClient, _name: str) -> httpx.Response:
        return await client.post(f"/v1/tokens/{token}/verify", auth=campaign)

    told = await _told_while_it_ends(platform, "token-service", way_in, verify)
    found = await _when_it_is_back(lambda: http.get(f"/v1/tokens/{token}", auth=campaign))
    assert found.json()["uses"] == sum(status == 200 for status in told.values())


async def _told_while_it_ends(
    platform: RunningPlatform,
    service: str,
    way_in: str,
    call: Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]],
) -> Told:
    """What callers are told who call without a pause until the service has ended. None of these calls is repeated."""
    process = platform.process_of(service)
    farewell = f"{service} ended with exit code 0"
    farewells = platform.output.read_text().count(farewell)
    told: Told = {}

    async def keep_calling(client: httpx.AsyncClient) -> None:
        while process.is_running():
            name = f"stop-{secrets.token_hex(8)}"
            try:
                told[name] = (await call(client, name)).status_code
            except httpx.TransportError:
                told[name] = None
                await asyncio.sleep(POLL_SECONDS)
            if len(told) == CALLS:
                process.send_signal(signal.SIGTERM)

    is_direct = way_in == "its own port"
    url = platform.description["services"][service] if is_direct else platform.gateway
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        httpx.AsyncClient(base_url=url, timeout=60.0, trust_env=False) as client,
    ):
        await asyncio.gather(*(keep_calling(client) for _ in range(CALLERS)))
    # The gateway breaks nothing off. It waits for a service that starts anew, and after a while says so with 503.
    assert set(told.values()) <= ({200, 503, None} if is_direct else {200, 503})
    if is_direct:
        assert None in told.values(), "it ended and refused nobody"
    until(lambda: platform.output.read_text().count(farewell) == farewells + 1, f"{service} to end by itself")
    return told


async def _when_it_is_back(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The first answer that is none of the gateway's."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await ask()
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer
            await asyncio.sleep(POLL_SECONDS)
