"""How tenants share a line of commands, and its lanes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from shared.fair_line import FairLine
from shared.group_commit import GroupCommit

Line = GroupCommit[str, str]


def tenant_of(command: str) -> str:
    return command[0]


class Writer:
    """Notes its batches; one with a command in `hanging` waits until `go`."""

    def __init__(self, *hanging: str) -> None:
        self.hanging = set(hanging)
        self.batches: list[list[str]] = []
        self.go = asyncio.Event()

    async def __call__(self, commands: Sequence[str]) -> Sequence[str | Exception]:
        self.batches.append(list(commands))
        if self.hanging & set(commands):
            await self.go.wait()
        return list(commands)


async def begun(line: Line, *commands: str) -> list[asyncio.Task[str]]:
    """They wait in line, in this order."""
    tasks = [asyncio.create_task(line.submit(command)) for command in commands]
    await asyncio.sleep(0)
    return tasks


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 — the condition is the line's, which has no event for it
            await asyncio.sleep(0.001)


def test_tenants_take_turns_and_each_keeps_its_order() -> None:
    line = FairLine[str]()
    for command in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        line.add(command[0], command)

    assert [line.take(3), line.take(3), line.take(3)] == [["a1", "b1", "c1"], ["a2", "b2", "a3"], ["a4"]]
    assert len(line) == 0


def test_who_was_served_comes_after_all_others() -> None:
    line = FairLine[str]()
    for command in ("a1", "a2", "a3", "b1", "c1"):
        line.add(command[0], command)

    assert line.take_of("a", 2) == ["a1", "a2"]
    assert list(line.tenants()) == ["b", "c", "a"]
    assert line.take_of("c", 5) == ["c1"]
    assert line.take(5) == ["b1", "a3"]


async def test_a_crowd_of_one_tenant_keeps_no_other_waiting_for_all_of_it() -> None:
    writer = Writer()
    line = Line(writer, name="t", lanes=1, batch_size=4, tenant_of=tenant_of)

    await asyncio.gather(*await begun(line, *(f"a{number}" for number in range(8)), "b0", "c0"))

    assert writer.batches[0] == ["a0", "b0", "c0", "a1"]


@pytest.mark.parametrize("lanes", [1, 2])
async def test_a_batch_is_of_one_tenant_where_it_must_be(lanes: int) -> None:
    writer = Writer()
    line = Line(writer, name="t", lanes=lanes, tenant_of=tenant_of, is_of_one_tenant=True)
    commands = [f"{tenant}{number}" for number in range(5) for tenant in "abc"]

    answers = await asyncio.gather(*await begun(line, *commands))

    assert answers == commands
    assert all(len({tenant_of(command) for command in batch}) == 1 for batch in writer.batches)
    for tenant in "abc":
        own = [command for batch in writer.batches for command in batch if tenant_of(command) == tenant]
        assert own == sorted(own)


async def test_the_only_tenant_has_all_lanes() -> None:
    writer = Writer("a0", "a1")
    line = Line(writer, name="t", lanes=2, tenant_of=tenant_of, is_of_one_tenant=True)

    first = await begun(line, "a0")
    await until(lambda: len(writer.batches) == 1)
    second = await begun(line, "a1")
    await until(lambda: len(writer.batches) == 2)

    writer.go.set()
    await asyncio.gather(*first, *second)


async def test_no_tenant_gets_a_second_lane_while_another_waits_without_one() -> None:
    writer = Writer("a0")
    line = Line(writer, name="t", lanes=2, batch_size=1, tenant_of=tenant_of, is_of_one_tenant=True)

    hanging = await begun(line, "a0", "a1", "a2", "b0", "c0", "b1")
    await until(lambda: ["b1"] in writer.batches)

    before = writer.batches[: writer.batches.index(["b1"])]
    assert before[0] == ["a0"]
    assert ["b0"] in before
    assert ["c0"] in before
    assert ["a1"] not in before
    writer.go.set()
    await asyncio.gather(*hanging)


async def test_a_tenant_whose_server_is_dead_keeps_no_other_waiting() -> None:
    """Even if it had all lanes when the server died."""
    writer = Writer("a0", "a1", "a2", "a3")
    line = Line(writer, name="t", lanes=2, batch_size=1, tenant_of=tenant_of, is_of_one_tenant=True, slow_seconds=0.01)
    dead = await begun(line, "a0", "a1", "a2", "a3")
    await until(lambda: len(writer.batches) == 2)

    others = await asyncio.gather(*await begun(line, "b0", "c0", "b1"))

    assert others == ["b0", "c0", "b1"]
    assert not any(task.done() for task in dead)
    assert ["a2"] not in writer.batches, "it has two lanes already, which do not come back"
    writer.go.set()
    assert await asyncio.gather(*dead) == ["a0", "a1", "a2", "a3"]


async def test_slow_tenants_share_one_lane_until_they_are_quick_again() -> None:
    writer = Writer("a0", "b0", "a1")
    line = Line(writer, name="t", lanes=2, batch_size=1, tenant_of=tenant_of, is_of_one_tenant=True, slow_seconds=0.01)
    slow = await begun(line, "a0", "b0")
    await until(lambda: len(line._slow) == 2)
    writer.go.set()
    await asyncio.gather(*slow)
    writer.go.clear()

    hanging = await begun(line, "a1")
    await until(lambda: ["a1"] in writer.batches)
    waiting = await begun(line, "b1")
    quick = await asyncio.gather(*await begun(line, "c0", "d0", "c1", "d1"))

    assert quick == ["c0", "d0", "c1", "d1"]
    assert ["b1"] not in writer.batches
    writer.go.set()
    assert await asyncio.gather(*hanging, *waiting) == ["a1", "b1"]
    assert "b" not in line._slow


async def test_no_more_lanes_than_agreed_stay_after_the_slow_ones_are_done() -> None:
    writer = Writer("a0", "b0", "c0", "d0")
    at_once: list[int] = []
    now = 0

    async def write(commands: Sequence[str]) -> Sequence[str | Exception]:
        nonlocal now
        now += 1
        at_once.append(now)
        await asyncio.sleep(0)
        try:
            return await writer(commands)
        finally:
            now -= 1

    line = Line(write, name="t", lanes=2, batch_size=1, tenant_of=tenant_of, is_of_one_tenant=True, slow_seconds=0.01)
    slow = await begun(line, "a0", "b0")
    await until(lambda: len(line._slow) == 2)
    slow += await begun(line, "c0", "d0", "e0")
    await until(lambda: now == 4)

    writer.go.set()
    await asyncio.gather(*slow)
    assert max(at_once) == 4
    at_once.clear()
    await asyncio.gather(*await begun(line, *(f"{tenant}{number}" for number in range(5) for tenant in "abcdef")))
    assert max(at_once) == 2


async def test_close_finishes_what_waits_for_a_slow_tenant_too() -> None:
    writer = Writer("a0")
    line = Line(writer, name="t", lanes=1, batch_size=1, tenant_of=tenant_of, is_of_one_tenant=True, slow_seconds=0.01)
    tasks = await begun(line, "a0", "a1", "b0")
    await until(lambda: ["b0"] in writer.batches)

    closing: Awaitable[None] = asyncio.create_task(line.close())
    writer.go.set()
    await closing

    assert [task.result() for task in tasks] == ["a0", "a1", "b0"]
