"""Who asks too often is told when to come again, wherever the counts are kept, and also while those are away."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from limits.aio.storage import MemoryStorage
from pydantic import SecretStr, TypeAdapter, ValidationError
from shared.errors import TooManyRequests
from shared.problems import headers_of
from shared.rate_limits import BoundedMemory, Counts, CountsUrl, RateLimit
from shared.request_frame import RequestContext, current_request


class Away(MemoryStorage):
    """Redis or Valkey, which may be away, or there and silent; `asked` counts."""

    is_away = False
    is_silent = False
    asked = 0

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        self.asked += 1
        if self.is_silent:
            await asyncio.Event().wait()
        if self.is_away:
            raise ConnectionError("nobody there")
        return await super().incr(key, expiry, amount)


async def _passes(asking: Callable[[], Awaitable[None]], times: int) -> None:
    for _ in range(times):
        await asking()
    with pytest.raises(TooManyRequests) as refusal:
        await asking()
    assert 0 < (refusal.value.retry_after_seconds or 0) <= 60


@pytest.mark.parametrize("sliding", [False, True])
async def test_so_many_times_within_a_window_for_each_name_and_purpose(sliding: bool) -> None:
    counts = Counts()
    limit = RateLimit(counts, 3, 60, "one", sliding=sliding)
    await _passes(lambda: limit.count("erika"), 3)
    await limit.count("greta")
    await RateLimit(counts, 3, 60, "another", sliding=sliding).count("erika")


@pytest.mark.parametrize("sliding", [False, True])
async def test_the_answer_says_how_many_are_left_and_a_refusal_names_the_limit(sliding: bool) -> None:
    limit = RateLimit(Counts(), 2, 60, "requests", sliding=sliding)
    context = RequestContext("request-7", "trace", [])
    token = current_request.set(context)
    try:
        await limit.count("erika")
        await limit.count("erika")
        with pytest.raises(TooManyRequests) as refusal:
            await limit.count("erika")
    finally:
        current_request.reset(token)
    assert [(one.policy.name, one.remaining) for one in context.standings] == [("requests", 1), ("requests", 0)]
    assert all(0 < one.seconds <= 60 for one in context.standings)
    assert headers_of(refusal.value)["RateLimit-Policy"] == '"requests";q=2;w=60'


@pytest.mark.parametrize("sliding", [False, True])
async def test_what_is_counted_only_when_it_fails(sliding: bool) -> None:
    limit = RateLimit(Counts(), 2, 60, "failures", sliding=sliding)
    for _ in range(2):
        await limit.check("erika")
        await limit.check("erika")
        await limit.note("erika")
    with pytest.raises(TooManyRequests):
        await limit.check("erika")
    await limit.forget("erika")
    await limit.check("erika")


@pytest.mark.parametrize("sliding", [False, True])
async def test_names_that_somebody_makes_up_take_bounded_memory(sliding: bool) -> None:
    memory = BoundedMemory(at_most=1000)
    limit = RateLimit(Counts(memory), 3, 60, "requests", sliding=sliding)
    await limit.note("erika")
    for number in range(20_000):
        await limit.note(f"made up {number}")
        if number % 200 == 0:
            with contextlib.suppress(TooManyRequests):
                await limit.count("erika")
    assert await memory.reset() == 1000
    # Beside the counts it keeps nothing: no lock, no time, no event of a name.
    assert not memory.locks
    assert not memory.expirations
    assert not memory.events


@pytest.mark.parametrize("sliding", [False, True])
async def test_who_is_counted_again_and_again_is_not_forgotten_for_those_who_are_made_up(sliding: bool) -> None:
    limit = RateLimit(Counts(BoundedMemory(at_most=1000)), 3, 60, "requests", sliding=sliding)
    for number in range(3):
        await limit.count("erika")
        for other in range(900):
            await limit.note(f"made up {number} {other}")
    with pytest.raises(TooManyRequests):
        await limit.count("erika")


async def test_a_window_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    limit = RateLimit(Counts(), 1, 60, "requests")
    await limit.count("erika")
    with pytest.raises(TooManyRequests):
        await limit.count("erika")
    now += 60
    await limit.count("erika")


async def test_while_the_shared_counts_are_away_each_replica_counts_by_itself() -> None:
    moment = 0.0
    shared = Away()
    counts = Counts(shared, clock=lambda: moment)
    limit = RateLimit(counts, 2, 60, "requests")
    shared.is_away = True
    await _passes(lambda: limit.count("erika"), 2)
    # Asked once, and then not for a while: requests meanwhile do not wait for a server that is away.
    assert shared.asked == 1
    moment, shared.is_away = 6.0, False
    await _passes(lambda: limit.count("erika"), 2)
    assert shared.asked == 4


async def test_nobody_waits_long_for_counts_that_do_not_answer() -> None:
    shared = Away()
    shared.is_silent = True
    limit = RateLimit(Counts(shared), 2, 60, "requests")
    async with asyncio.timeout(20):
        await _passes(lambda: limit.count("erika"), 2)
    assert shared.asked == 1


@pytest.mark.parametrize("url", ["redis://counts.example", "valkeys://:secret@counts.example/1"])
def test_counts_of_several_replicas_need_their_client(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    setting = TypeAdapter(CountsUrl)
    monkeypatch.setattr("shared.rate_limits.find_spec", lambda _name: object())
    assert setting.validate_python(SecretStr(url)).get_secret_value() == url
    monkeypatch.setattr("shared.rate_limits.find_spec", lambda _name: None)
    with pytest.raises(ValidationError, match="needs the extra"):
        setting.validate_python(SecretStr(url))


@pytest.mark.parametrize("url", ["", "memory", "http://counts.example", "async+redis://counts.example"])
def test_an_address_of_something_else_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(CountsUrl).validate_python(SecretStr(url))
