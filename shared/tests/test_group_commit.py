"""What holds of a line of commands before one writer, whatever the writer or a caller does."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from shared.database_failures import OutcomeUnknown
from shared.errors import Conflict, NotFound, Unavailable
from shared.group_commit import GroupCommit

Line = GroupCommit[str, str]


class Writer:
    """Writes by noting; `before` runs first in every transaction and may fail it."""

    def __init__(self, before: Callable[[Sequence[str]], Awaitable[None] | None] | None = None) -> None:
        self._before = before
        self.tried: list[list[str]] = []
        self.written: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self, commands: Sequence[str]) -> Sequence[str | Exception]:
        self.tried.append(list(commands))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            waiting = None if self._before is None else self._before(commands)
            if waiting is not None:
                await waiting
        finally:
            self.at_once -= 1
        self.written += commands
        return [f"{command} done" for command in commands]


async def submit_all(line: Line, *commands: str) -> list[str | BaseException]:
    return await asyncio.gather(*(line.submit(command) for command in commands), return_exceptions=True)


async def _wait(gate: asyncio.Event) -> None:
    await gate.wait()


async def turns(condition: Callable[[], bool]) -> None:
    """Gives the loop turns until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 — turns of the loop are what passes here, not time
            await asyncio.sleep(0)


async def test_what_waits_together_is_written_together_and_answered_in_order() -> None:
    writer = Writer()
    line = Line(writer, name="t", lanes=1)

    assert await submit_all(line, "a", "b", "c") == ["a done", "b done", "c done"]
    assert writer.tried == [["a", "b", "c"]]


async def test_a_batch_is_never_longer_than_agreed() -> None:
    writer = Writer()
    line = Line(writer, name="t", lanes=1, batch_size=2)

    await submit_all(line, *"abcde")

    assert writer.tried == [["a", "b"], ["c", "d"], ["e"]]


async def test_two_lanes_share_a_crowd_that_comes_back_again_and_again() -> None:
    """Each writes a half, also when the halves are answered at different times."""
    gates = [asyncio.Event() for _ in range(40)]
    writer = Writer(lambda commands: _wait(gates[len(writer.tried) - 1]))
    line = Line(writer, name="t", lanes=2)

    async def call(caller: int) -> None:
        for number in range(6):
            await line.submit(f"{caller}-{number}")

    callers = asyncio.gather(*(call(caller) for caller in range(8)))
    while len(writer.written) < 48:
        # One batch after the other, the older one first; its callers are back before the younger is done.
        await turns(lambda: writer.at_once == 2 or len(writer.written) >= 40)
        gates[len(writer.tried) - writer.at_once].set()
        done = len(writer.written)
        await turns(lambda done=done: len(writer.written) > done)  # type: ignore[misc] — the count as it is now
    await callers

    assert [len(batch) for batch in writer.tried] == [4] * 12


async def test_a_lane_takes_more_than_its_share_of_old_when_the_crowd_grows() -> None:
    gate = asyncio.Event()
    writer = Writer(lambda commands: _wait(gate) if "slow" in commands else None)
    line = Line(writer, name="t", lanes=2)
    slow = asyncio.create_task(line.submit("slow"))
    await turns(lambda: writer.at_once == 1)

    await submit_all(line, *(f"c{number}" for number in range(99)))
    gate.set()
    await slow

    assert [len(batch) for batch in writer.tried] == [1, 50, 49]


@pytest.mark.parametrize("bad", [0, 3, 7])
async def test_one_bad_command_harms_no_other(bad: int) -> None:
    commands = [f"c{number}" for number in range(8)]

    def fail(batch: Sequence[str]) -> None:
        if commands[bad] in batch:
            raise ValueError("nobody had thought of this")

    writer = Writer(fail)
    answers = await submit_all(Line(writer, name="t", lanes=1), *commands)

    assert isinstance(answers.pop(bad), ValueError)
    good = [command for command in commands if command != commands[bad]]
    assert answers == [f"{command} done" for command in good]
    assert writer.written == good, "each written once, in order"


async def test_every_second_command_may_be_bad() -> None:
    def fail(batch: Sequence[str]) -> None:
        if any(int(command) % 2 for command in batch):
            raise ValueError

    writer = Writer(fail)
    answers = await submit_all(Line(writer, name="t", lanes=1), *(str(number) for number in range(16)))

    assert [isinstance(answer, ValueError) for answer in answers] == [False, True] * 8
    assert writer.written == [str(number) for number in range(0, 16, 2)]


async def test_a_result_that_is_an_exception_goes_to_its_caller_alone() -> None:
    async def write(commands: Sequence[str]) -> Sequence[str | Exception]:
        return [NotFound("no such thing") if command == "b" else command for command in commands]

    answers = await submit_all(Line(write, name="t"), "a", "b", "c")

    assert [type(answer) for answer in answers] == [str, NotFound, str]


async def test_passing_trouble_is_tried_again_until_it_has_passed() -> None:
    troubles: list[Exception] = [ConnectionResetError(), Unavailable(), TimeoutError()]

    def fail(_: Sequence[str]) -> None:
        if troubles:
            raise troubles.pop()

    writer = Writer(fail)

    assert await submit_all(Line(writer, name="t", lanes=1), "a", "b") == ["a done", "b done"]
    assert writer.tried == [["a", "b"]] * 4


@pytest.mark.parametrize("trouble", [ConnectionResetError(), Unavailable()])
async def test_passing_trouble_that_does_not_pass_ends_as_unavailable(trouble: Exception) -> None:
    def fail(_: Sequence[str]) -> None:
        raise trouble

    writer = Writer(fail)
    answers = await submit_all(Line(writer, name="t", lanes=1, attempts=3), "a", "b")

    assert writer.tried == [["a", "b"]] * 3, "tried whole, never in halves"
    for answer in answers:
        assert isinstance(answer, Unavailable)
        assert not isinstance(answer, OutcomeUnknown)
        assert answer.retry_after_seconds is not None


async def test_a_refusal_of_the_whole_batch_is_final() -> None:
    def fail(_: Sequence[str]) -> None:
        raise Conflict("not like this")

    writer = Writer(fail)
    answers = await submit_all(Line(writer, name="t", lanes=1), "a", "b")

    assert [type(answer) for answer in answers] == [Conflict, Conflict]
    assert len(writer.tried) == 1


async def test_a_lost_commit_is_never_repeated() -> None:
    def fail(_: Sequence[str]) -> None:
        raise OutcomeUnknown

    writer = Writer(fail)
    answers = await submit_all(Line(writer, name="t", lanes=1), "a", "b", "c")

    assert writer.tried == [["a", "b", "c"]]
    assert all(isinstance(answer, OutcomeUnknown) for answer in answers)


async def test_a_lost_commit_of_one_half_is_never_repeated() -> None:
    def fail(batch: Sequence[str]) -> None:
        if len(batch) > 1:
            raise ValueError
        if batch == ["a"]:
            raise OutcomeUnknown

    writer = Writer(fail)
    answers = await submit_all(Line(writer, name="t", lanes=1), "a", "b")

    assert isinstance(answers[0], OutcomeUnknown)
    assert answers[1] == "b done"
    assert writer.tried == [["a", "b"], ["a"], ["b"]]


async def test_a_full_line_refuses_at_once_and_takes_again_when_there_is_room() -> None:
    gate = asyncio.Event()
    writer = Writer(lambda _: _wait(gate))
    line = Line(writer, name="t", lanes=1, batch_size=1, line_length=3)
    in_hand = asyncio.create_task(line.submit("in hand"))
    await turns(lambda: writer.at_once == 1)
    waiting = [asyncio.create_task(line.submit(f"w{number}")) for number in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(Unavailable) as refused:
        await line.submit("one too many")
    assert refused.value.retry_after_seconds is not None

    gate.set()
    assert await in_hand == "in hand done"
    assert await asyncio.gather(*waiting) == ["w0 done", "w1 done", "w2 done"]
    assert await line.submit("later") == "later done"
    assert "one too many" not in writer.written


async def test_no_new_attempt_is_begun_when_the_time_for_attempts_is_over() -> None:
    """A database that does not answer at all takes its time with every single attempt."""
    now = 0.0

    def fail(_: Sequence[str]) -> None:
        nonlocal now
        now += 4
        raise TimeoutError

    writer = Writer(fail)
    answers = await submit_all(Line(writer, name="t", lanes=1, attempts_seconds=10, clock=lambda: now), "a", "b")

    assert len(writer.tried) == 3
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]


async def test_nobody_stands_in_line_for_longer_than_patience_lasts() -> None:
    now = 0.0
    gate = asyncio.Event()
    writer = Writer(lambda _: _wait(gate))
    line = Line(writer, name="t", lanes=1, patience_seconds=10, clock=lambda: now)
    in_hand = asyncio.create_task(line.submit("in hand"))
    await turns(lambda: writer.at_once == 1)
    early = asyncio.create_task(line.submit("early"))
    await asyncio.sleep(0)
    now = 11.0
    late = asyncio.create_task(line.submit("late"))
    await asyncio.sleep(0)
    gate.set()

    assert await in_hand == "in hand done", "what was begun is finished, however long it takes"
    with pytest.raises(Unavailable):
        await early
    assert await late == "late done"
    assert writer.written == ["in hand", "late"]


async def test_lanes_overlap_and_are_no_more_than_agreed() -> None:
    gate = asyncio.Event()
    writer = Writer(lambda _: _wait(gate))
    line = Line(writer, name="t", lanes=2, batch_size=1)

    callers = [asyncio.create_task(line.submit(str(number))) for number in range(6)]
    await turns(lambda: writer.at_once == 2)
    gate.set()
    await asyncio.gather(*callers)

    assert writer.most_at_once == 2


async def test_close_finishes_what_was_taken_and_takes_no_more() -> None:
    gate = asyncio.Event()
    writer = Writer(lambda _: _wait(gate))
    line = Line(writer, name="t", lanes=1, batch_size=1)
    taken = [asyncio.create_task(line.submit(str(number))) for number in range(5)]
    await turns(lambda: writer.at_once == 1)

    closing = asyncio.create_task(line.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await line.submit("too late")
    assert not closing.done()
    gate.set()
    await closing

    assert await asyncio.gather(*taken) == [f"{number} done" for number in range(5)]
    assert writer.written == ["0", "1", "2", "3", "4"]


async def test_close_finishes_what_was_taken_in_the_very_same_turn() -> None:
    writer = Writer()
    line = Line(writer, name="t", lanes=1)
    taken = asyncio.create_task(line.submit("a"))
    await asyncio.sleep(0)

    await line.close()

    assert await taken == "a done"


async def test_a_caller_that_hangs_up_does_not_cut_the_batch_short() -> None:
    gate = asyncio.Event()
    writer = Writer(lambda _: _wait(gate))
    line = Line(writer, name="t", lanes=1)
    gone, stays = (asyncio.create_task(line.submit(name)) for name in ("gone", "stays"))
    await turns(lambda: writer.at_once == 1)

    gone.cancel()
    await asyncio.wait([gone])
    gate.set()

    assert await stays == "stays done"
    assert gone.cancelled()
    assert writer.written == ["gone", "stays"]


async def test_nothing_is_begun_for_a_caller_that_hung_up_in_line() -> None:
    gate = asyncio.Event()
    writer = Writer(lambda _: _wait(gate))
    line = Line(writer, name="t", lanes=1)
    first = asyncio.create_task(line.submit("first"))
    await turns(lambda: writer.at_once == 1)
    gone = asyncio.create_task(line.submit("gone"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    gate.set()
    await first
    await line.close()

    assert writer.written == ["first"]


async def test_nobody_waits_for_ever_when_the_writer_is_wrong_about_its_results() -> None:
    async def write(commands: Sequence[str]) -> Sequence[str | Exception]:
        return ["one result too few"] * (len(commands) - 1)

    line = Line(write, name="t", lanes=1)
    async with asyncio.timeout(10):
        answers = await submit_all(line, "a", "b")
        assert isinstance(answers[1], ValueError)
        assert isinstance((await submit_all(line, "c"))[0], Exception), "and the line still moves"


async def test_nobody_waits_for_ever_when_a_lane_is_cancelled() -> None:
    """As at the end of a process: what was under way may have happened, and nobody is told that it did."""
    gate = asyncio.Event()
    writer = Writer(lambda _: _wait(gate))
    line = Line(writer, name="lane-to-cancel", lanes=1)
    caller = asyncio.create_task(line.submit("a"))
    await turns(lambda: writer.at_once == 1)

    lane = next(task for task in asyncio.all_tasks() if task.get_name() == "group-commit-lane-to-cancel")
    lane.cancel()

    async with asyncio.timeout(10):
        answer = (await asyncio.gather(caller, return_exceptions=True))[0]
        await line.close()
    assert isinstance(answer, OutcomeUnknown)
