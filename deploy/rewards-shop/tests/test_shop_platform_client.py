"""Calls over a bad network: what is asked again, how often, after how long."""

from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from rewards_shop.platform_client import NoAnswer, PlatformClient
from rewards_shop.rehearsal.wire import Wire, answer_lost, answers, unreachable


@pytest.fixture
async def platform(wire: Wire, clock: Any, waits: list[float]) -> AsyncIterator[PlatformClient]:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    auth = httpx.BasicAuth("rehearsal-shop", "only-for-rehearsals")
    async with httpx.AsyncClient(transport=wire, base_url="http://localhost:8611", auth=auth) as http:
        yield PlatformClient(http, sleep=sleep, clock=clock)


async def ask(platform: PlatformClient) -> int:
    return (await platform.call("GET", "/eai/v1/balances/ada")).attempts


@pytest.mark.parametrize(
    "fault",
    [
        unreachable,
        answer_lost,
        *map(answers, (500, 502, 503, 504, 429, 408, 302)),
        answers(200, "<html>a proxy</html>"),
    ],
)
async def test_what_is_no_answer_is_asked_again(platform: PlatformClient, wire: Wire, fault: Any) -> None:
    wire.faults["balance"] = [fault, fault]
    assert await ask(platform) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413])
async def test_a_refusal_is_never_asked_again(platform: PlatformClient, wire: Wire, status: int) -> None:
    wire.faults["balance"] = [answers(status, '{"code": "because"}')]
    reply = await platform.call("GET", "/eai/v1/balances/ada")
    assert (reply.status, reply.body, reply.attempts) == (status, {"code": "because"}, 1)


async def test_waits_double_with_chance_in_them_and_an_end(
    platform: PlatformClient, wire: Wire, waits: list[float]
) -> None:
    wire.always["balance"] = unreachable
    for _ in range(20):
        with pytest.raises(NoAnswer):
            await ask(platform)
    assert len(wire.calls) == 80
    for nth, longest in enumerate((0.2, 0.4, 0.8)):
        of_this_attempt = waits[nth::3]
        assert all(longest / 2 <= wait <= longest for wait in of_this_attempt)
        assert len(set(of_this_attempt)) > 1


async def test_retry_after_in_seconds_is_honoured(platform: PlatformClient, wire: Wire, waits: list[float]) -> None:
    wire.faults["balance"] = [answers(429, Retry_After="3"), answers(503, Retry_After="2")]
    assert await ask(platform) == 3
    assert waits == [3, 2]


async def test_retry_after_as_a_date_is_honoured(
    platform: PlatformClient, wire: Wire, waits: list[float], clock: Any
) -> None:
    wire.faults["balance"] = [answers(503, Retry_After=formatdate(clock.now + 4, usegmt=True))]
    await ask(platform)
    assert waits == [4]


async def test_who_is_asked_to_stay_away_for_long_does_not_come_back_sooner(
    platform: PlatformClient, wire: Wire, waits: list[float]
) -> None:
    wire.faults["balance"] = [answers(503, Retry_After="120")]
    with pytest.raises(NoAnswer):
        await ask(platform)
    assert (len(wire.calls), waits) == (1, [])


async def test_nonsense_in_retry_after_is_passed_over(platform: PlatformClient, wire: Wire, waits: list[float]) -> None:
    wire.faults["balance"] = [answers(503, Retry_After="soon")]
    assert await ask(platform) == 2
    assert 0.1 <= waits[0] <= 0.2


async def test_every_attempt_carries_the_same_idempotency_key_and_request_id(
    platform: PlatformClient, wire: Wire
) -> None:
    wire.faults["rollback"] = [unreachable, answer_lost, answers(503)]
    body = {"userid": "ada", "transactionid": "never-seen"}
    reply = await platform.call("POST", "/eai/v1/points?rollback", body=body, idempotency_key="one-wish")
    assert (reply.status, reply.attempts) == (404, 4)
    assert {request.headers["Idempotency-Key"] for request in wire.requests} == {'"one-wish"'}
    assert len({request.headers["X-Request-Id"] for request in wire.requests}) == 1
