"""In which order the blocks of an import are booked, and how many lines they have."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from points_ledger.accounts.turns import Turns


class Bookings:
    """Some that end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    def of(self, name: str) -> Callable[[], Awaitable[str]]:
        self.ends[name] = asyncio.Event()

        async def book() -> str:
            self.begun.append(name)
            await self.ends[name].wait()
            return name

        return book

    async def ended(self, *names: str) -> None:
        for name in names:
            self.ends[name].set()
        await settled()


async def settled() -> None:
    """All that can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_blocks_that_share_an_account_are_booked_one_after_the_other() -> None:
    bookings, turns = Bookings(), Turns(3)
    tasks = [
        turns.begin(users, bookings.of(name))
        for name, users in (("one", {"ann", "bob"}), ("two", {"bob", "eve"}), ("three", {"eve"}), ("four", {"joe"}))
    ]
    await settled()
    assert bookings.begun == ["one", "four"]
    await bookings.ended("one")
    assert bookings.begun == ["one", "four", "two"]
    await bookings.ended("two", "three", "four")
    assert await asyncio.gather(*tasks) == ["one", "two", "three", "four"]


async def test_no_more_blocks_are_booked_at_once_than_agreed() -> None:
    bookings, turns = Bookings(), Turns(2)
    tasks = [turns.begin({name}, bookings.of(name)) for name in ("one", "two", "three")]
    await settled()
    assert bookings.begun == ["one", "two"]
    await bookings.ended("two")
    assert bookings.begun == ["one", "two", "three"]
    await bookings.ended("one", "three")
    await asyncio.gather(*tasks)


async def test_a_booking_that_fails_keeps_none_waiting_that_shares_its_account() -> None:
    bookings, turns = Bookings(), Turns(2)

    async def fail() -> str:
        raise ValueError("as it may be")

    failing = turns.begin({"ann"}, fail)
    next_one = turns.begin({"ann"}, bookings.of("next"))
    bookings.ends["next"].set()
    assert await next_one == "next"
    with pytest.raises(ValueError, match="as it may be"):
        await failing


class Lists:
    """Lines that come when the test sends them."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[list[int] | Exception | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[list[int]]:
        while (said := await self.sent.get()) is not None:
            if isinstance(said, Exception):
                raise said
            yield said


async def test_lines_that_come_while_nothing_can_be_begun_make_whole_blocks() -> None:
    lists, bookings, turns = Lists(), Bookings(), Turns(1)
    blocks = turns.in_blocks(aiter(lists), 4)
    async with asyncio.timeout(10):
        lists.sent.put_nowait([1, 2, 3])
        # Nothing is under way, so they need not wait for a fourth.
        assert await anext(blocks) == [[1, 2, 3]]
        first = turns.begin({"ann"}, bookings.of("first"))
        coming = asyncio.ensure_future(anext(blocks))
        for lines in ([4], [5, 6]):
            lists.sent.put_nowait(lines)
            await settled()
        assert not coming.done()
        lists.sent.put_nowait([7, 8, 9])
        assert await coming == [[4, 5, 6, 7]]
        coming = asyncio.ensure_future(anext(blocks))
        await settled()
        assert not coming.done()
        # Nothing more comes, and now they can be booked.
        await bookings.ended("first")
        assert await coming == [[8, 9]]
        await first
        lists.sent.put_nowait(None)
        assert [block async for block in blocks] == []


@pytest.mark.parametrize("end", [None, ConnectionError("hung up")])
async def test_the_last_lines_are_a_block_too_whatever_ends_the_list(end: Exception | None) -> None:
    lists, bookings, turns = Lists(), Bookings(), Turns(1)
    blocks = turns.in_blocks(aiter(lists), 4)
    under_way = turns.begin({"ann"}, bookings.of("first"))
    for said in ([1, 2, 3, 4, 5], end):
        lists.sent.put_nowait(said)
    async with asyncio.timeout(10):
        assert await anext(blocks) == [[1, 2, 3, 4]]
        assert await anext(blocks) == [[5]]
        with pytest.raises(StopAsyncIteration if end is None else type(end)):
            await anext(blocks)
    await bookings.ended("first")
    await under_way
