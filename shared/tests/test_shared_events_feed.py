"""The list of events: a reader misses none and sees none twice, whatever commits late."""

import asyncio
import json
import random
from datetime import timedelta

import pytest
import sqlalchemy as sa
from shared.db import Database
from shared.errors import Malformed
from shared.events import outbox
from shared.events.domain import EventNotFound, NewEvent
from shared.paging import InvalidCursor

from .events_world import TABLES, URL, Receiver, World, build, held


async def test_a_reader_who_follows_misses_none_and_sees_none_twice_while_many_write_and_commit_late(
    world: World, database: Database
) -> None:
    other = build(database, Receiver())
    writers, each = 8, 15
    done = asyncio.Event()

    async def write(writer: int) -> None:
        for turn in range(each):
            async with database.transaction() as connection:
                event = NewEvent("points.held", {"writer": writer, "turn": turn}, f"vendor-{writer % 2}")
                await outbox.record(connection, TABLES, world.tenant, [event])
                # The later the commit, the more lies behind a number that others have passed.
                await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311 — not a secret

    async def number() -> None:
        feeds = [world.events.feed, other.feed]
        while not done.is_set():
            await asyncio.gather(*(feed.number_recorded() for feed in feeds))
            await asyncio.sleep(0)

    async def follow() -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        after = None
        while len(seen) < writers * each:
            page = await world.events.feed.read(world.platform, after=after, types=(), limit=7)
            after = page.next_after
            seen += [(event.data["writer"], event.data["turn"]) for event in page.events]
            await asyncio.sleep(0)
        # Nothing comes after the last, and nothing comes again.
        assert (await world.events.feed.read(world.platform, after=after, types=(), limit=7)).events == []
        return seen

    numbering = asyncio.create_task(number())
    following = asyncio.create_task(follow())
    await asyncio.gather(*(write(writer) for writer in range(writers)))
    async with asyncio.timeout(30):
        seen = await following
    done.set()
    await numbering
    assert sorted(seen) == [(writer, turn) for writer in range(writers) for turn in range(each)]
    for writer in range(writers):
        assert [turn for one, turn in seen if one == writer] == list(range(each))
    await other.close()


async def test_a_transaction_that_stays_open_hides_nothing_of_others(world: World, database: Database) -> None:
    async with database.transaction() as connection:
        await outbox.record(connection, TABLES, world.tenant, [held("late")])
        await world.happen(held("early"))
        await world.events.feed.number_recorded()
        page = await world.events.feed.read(world.platform, after=None, types=(), limit=10)
        assert [event.owner for event in page.events] == ["early"]
    await world.events.feed.number_recorded()
    rest = await world.events.feed.read(world.platform, after=page.next_after, types=(), limit=10)
    assert [event.owner for event in rest.events] == ["late"]


async def test_what_was_rolled_back_never_happened(world: World, database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await outbox.record(connection, TABLES, world.tenant, [held("never")])
            raise Malformed("no")

    with pytest.raises(Malformed):
        await fail()
    await world.events.feed.number_recorded()
    assert (await world.events.feed.read(world.platform, after=None, types=(), limit=10)).events == []


async def test_a_vendor_sees_its_own_events_and_the_platform_all(world: World) -> None:
    await world.happen(held("a"), held("b"), NewEvent("points.confirmed", {}, None))
    await world.events.feed.number_recorded()

    async def seen(reader: object, *types: str) -> list[str | None]:
        page = await world.events.feed.read(reader, after=None, types=types, limit=10)  # type: ignore[arg-type]
        return [event.owner for event in page.events]

    assert await seen(world.vendor("a")) == ["a"]
    assert await seen(world.platform) == ["a", "b", None]
    assert await seen(world.platform, "points.confirmed") == [None]
    assert await seen(world.vendor("c")) == []


async def test_next_after_is_never_null_and_an_event_s_id_leads_on_as_well(world: World) -> None:
    empty = await world.events.feed.read(world.platform, after=None, types=(), limit=10)
    assert empty.next_after == "0"
    await world.happen(held("a"), held("a"))
    await world.events.feed.number_recorded()
    page = await world.events.feed.read(world.platform, after=empty.next_after, types=(), limit=1)
    by_id = await world.events.feed.read(world.platform, after=page.events[0].event_id, types=(), limit=10)
    by_number = await world.events.feed.read(world.platform, after=page.next_after, types=(), limit=10)
    assert by_id == by_number
    assert len(by_id.events) == 1


async def test_who_sees_little_of_much_does_not_look_through_it_again(world: World) -> None:
    """A short page leads behind everything that was numbered, a full one behind its last event."""
    await world.happen(held("a"), held("b"), NewEvent("points.confirmed", {}, "a"), held("b"))
    await world.events.feed.number_recorded()
    first = await world.events.feed.read(world.vendor("a"), after=None, types=(), limit=1)
    assert first.next_after == str(first.events[-1].number)
    rest = await world.events.feed.read(world.vendor("a"), after=first.next_after, types=(), limit=10)
    assert [event.type for event in rest.events] == ["points.confirmed"]
    assert rest.next_after == "4"
    confirmed = await world.events.feed.read(world.platform, after=None, types=("points.held",), limit=10)
    assert [event.type for event in confirmed.events] == ["points.held"] * 3
    nothing = await world.events.feed.read(world.vendor("c"), after=None, types=(), limit=10)
    assert (nothing.events, nothing.next_after) == ([], "4")


async def test_events_that_are_recorded_together_have_ids_of_their_own_that_lead_to_them(world: World) -> None:
    await world.happen(*(held("a", f"t-{n}") for n in range(12)))
    await world.events.feed.number_recorded()
    page = await world.events.feed.read(world.platform, after=None, types=(), limit=20)
    assert len({event.event_id for event in page.events}) == 12
    for place, event in enumerate(page.events):
        behind = await world.events.feed.read(world.platform, after=event.event_id, types=(), limit=20)
        assert behind.events == page.events[place + 1 :]


@pytest.mark.parametrize("after", ["", "x", "-1", "1.5", "9" * 19, "٣", "evt_unknown", f"evt_{'0' * 24}", "1 "])
async def test_a_made_up_place_is_refused(world: World, after: str) -> None:
    with pytest.raises(InvalidCursor):
        await world.events.feed.read(world.platform, after=after, types=(), limit=10)


async def test_another_vendor_s_event_leads_nowhere(world: World) -> None:
    await world.happen(held("a"))
    await world.events.feed.number_recorded()
    event = (await world.events.feed.read(world.platform, after=None, types=(), limit=1)).events[0]
    with pytest.raises(InvalidCursor):
        await world.events.feed.read(world.vendor("b"), after=event.event_id, types=(), limit=10)


async def test_after_thirty_days_an_event_and_its_deliveries_are_gone_in_bulk_and_younger_ones_stay(
    world: World, database: Database
) -> None:
    vendor = world.vendor("a")
    answer = await world.events.endpoints.add(vendor, None, url=URL, types=(), description="")
    endpoint_id = json.loads(answer.body)["endpoint_id"]
    await world.happen(*(held("a", f"old-{number}") for number in range(3)))
    await world.settle()
    first = await world.events.feed.read(vendor, after=None, types=(), limit=1)
    async with database.transaction() as connection:
        age = timedelta(days=30, minutes=1)
        batches, deliveries = TABLES.batches, TABLES.deliveries
        for table, column in ((batches, "recorded_at"), (deliveries, "attempted_at")):
            old = sa.update(table).where(table.c.tenant == world.tenant).values({column: sa.func.now() - age})
            await connection.execute(old)
    await world.happen(held("a", "young"))
    await world.settle()
    assert await world.events.feed.forget_old() > 0
    assert await world.events.deliveries.forget_old() > 0

    page = await world.events.feed.read(vendor, after=None, types=(), limit=10)
    assert [event.data["transactionid"] for event in page.events] == ["young"]
    # A reader that had stopped among the old ones goes on with the young one.
    assert (await world.events.feed.read(vendor, after=first.next_after, types=(), limit=10)).events == page.events
    left = await world.events.deliveries.page(vendor, endpoint_id, state=None, cursor=None, limit=10)
    assert [delivery.event_id for delivery in left.items] == [page.events[0].event_id]
    with pytest.raises(EventNotFound):
        await world.events.deliveries.replay(vendor, endpoint_id, event_id=first.events[0].event_id)
