"""Periodic work goes on whatever happens to a round of it, and never stands in the way of the end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from prometheus_client import REGISTRY
from shared.chores import Chore, Chores
from shared.errors import Unavailable

from shared import chores as chores_module

_SOON = 0.001


class Rounds:
    """A chore that does, round by round, what it is told; `until` waits for a number of rounds."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.begun = 0
        self._news = asyncio.Condition()

    async def __call__(self) -> object:
        self.begun += 1
        async with self._news:
            self._news.notify_all()
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, BaseException):
            raise outcome
        if callable(outcome):
            outcome = await outcome()
        return outcome

    async def until(self, rounds: int) -> None:
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: self.begun >= rounds)


def _metric(name: str, chore: str) -> float:
    return REGISTRY.get_sample_value(name, {"chore": chore}) or 0.0


@pytest.mark.parametrize(
    "error",
    [
        Unavailable(log="the database is away"),
        RuntimeError("a mistake"),
        ValueError("another one"),
        ExceptionGroup("several", [OSError("one")]),
        asyncio.CancelledError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_ends_the_round_and_not_the_chore(error: BaseException) -> None:
    rounds = Rounds(error, error)
    name = f"fails with {type(error).__name__}"
    chores = Chores()
    async with chores.running(Chore(name, rounds, every_seconds=_SOON)):
        await rounds.until(4)
    assert _metric("chore_failures_total", name) == 2
    assert _metric("chore_runs_total", name) == rounds.begun
    assert chores.freshness()[name]["failures_since"] == 0


async def test_one_that_hangs_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores_module, "GRACE_SECONDS", 0.01)
    hangs, works = Rounds(asyncio.Event().wait), Rounds()
    async with Chores().running(
        Chore("hangs", hangs, every_seconds=_SOON, timeout_seconds=60), Chore("works", works, every_seconds=_SOON)
    ):
        await works.until(3)
        assert hangs.begun == 1


async def test_a_round_that_hangs_is_cut_off_and_counted_as_a_failure() -> None:
    rounds = Rounds(asyncio.Event().wait)
    async with Chores().running(Chore("hung once", rounds, every_seconds=_SOON, timeout_seconds=0.01)):
        await rounds.until(2)
    assert _metric("chore_failures_total", "hung once") == 1


async def test_a_full_slice_is_followed_at_once_by_the_next_round() -> None:
    rounds = Rounds(500, 500, 500, 499)
    async with Chores().running(Chore("slices", rounds, every_seconds=3600, full_slice=500)):
        await rounds.until(4)
        # Not full: the fifth comes in an hour.
        for _ in range(20):
            await asyncio.sleep(0)
    assert rounds.begun == 4


async def test_freshness_is_told_by_name() -> None:
    now = 1000.0
    rounds = Rounds(None, *[RuntimeError("a mistake")] * 10_000)
    chores = Chores(clock=lambda: now)
    async with chores.running(Chore("fresh", rounds, every_seconds=_SOON)):
        await rounds.until(2)
        assert _metric("chore_last_success_timestamp_seconds", "fresh") == 1000.0
        now = 1025.0
        told = chores.freshness()["fresh"]
        assert (told["seconds_since_success"], told["is_late"]) == (25.0, False)
        now = 1031.0
        assert chores.freshness()["fresh"]["is_late"] is True


async def test_the_end_lets_a_round_end_by_itself() -> None:
    go, ended = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        await go.wait()
        ended.set()

    rounds = Rounds(slowly)
    async with Chores().running(Chore("slow", rounds, every_seconds=_SOON)):
        await rounds.until(1)
        asyncio.get_running_loop().call_later(0.01, go.set)
    assert ended.is_set()
    assert rounds.begun == 1


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _for_ever_and_deaf() -> None:
    waited = asyncio.Event()
    for _ in range(2):
        try:
            await asyncio.wait_for(waited.wait(), 1)
        except (asyncio.CancelledError, TimeoutError):
            continue


@pytest.mark.parametrize("outcome", [_for_ever, _for_ever_and_deaf, RuntimeError("a mistake")])
async def test_whatever_a_chore_does_what_comes_after_it_is_closed(
    outcome: BaseException | Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores_module, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(chores_module, "CANCEL_SECONDS", 0.01)
    closed: list[str] = []
    rounds = Rounds(outcome)
    async with asyncio.timeout(10), AsyncExitStack() as closing:
        closing.callback(closed.append, "database")
        closing.callback(closed.append, "tally")
        await closing.enter_async_context(Chores().running(Chore("in the way", rounds, every_seconds=_SOON)))
        await rounds.until(1)
    assert closed == ["tally", "database"]


async def test_the_pause_is_not_the_same_for_every_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def drawn(low: float, high: float) -> float:
        pauses.append(low)
        assert (low, high) == (0.8, 1.2)
        return 0.0

    monkeypatch.setattr("shared.chores.random.uniform", drawn)
    rounds = Rounds()
    async with Chores().running(Chore("jitters", rounds, every_seconds=3600)):
        await rounds.until(3)
    assert len(pauses) >= 2
