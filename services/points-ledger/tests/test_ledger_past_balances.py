"""What was held at a past instant: exactly the holds that were open then, and without a look at all the others."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import NamedTuple

import asyncpg
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.databases import new_database, owner_url
from platform_testing.plans import as_sent, connected, rows_looked_at
from points_ledger.accounts import queries
from points_ledger.tables import LENGTHS

#: In Europe the clocks are put forward three days later.
INSTANT = datetime(2026, 3, 26, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
WEEK = timedelta(days=7)
FORMER_INDEX = (
    "CREATE INDEX transactions_ended_by_user_idx ON points_ledger.transactions (tenant, user_id, ended_at)"
    " WHERE state IN ('confirmed', 'rolled_back', 'expired')"
)
DROPPED = "DROP INDEX points_ledger.transactions_ended_by_length_idx"
#: What the database has: all that `migrate` builds, or what is there before it has built it.
INDEXES = {"built": "", "former": f"{DROPPED}; {FORMER_INDEX}", "none": DROPPED}


class Hold(NamedTuple):
    state: str
    created_at: datetime
    #: When it ended, or would end.
    ends_at: datetime


@pytest.fixture(scope="module")
def past_url(postgres: EmbeddedPostgres) -> str:
    """A database of its own, for books that do not add up."""
    new_database(postgres, "points_ledger", "points_ledger_past")
    return owner_url(postgres, "points_ledger_past")


@pytest.fixture(scope="module")
def statement(past_url: str) -> str:
    """What the reading sends: $1 is the tenant, $2 the account, $3 the instant."""
    return asyncio.run(as_sent(past_url, lambda one: queries.read_balance_at(one, "demo", "ada", INSTANT)))


@pytest.fixture
async def past(past_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Ada has an account. Nothing of what happens stays."""
    async with connected(past_url) as connection:
        begun = connection.transaction()
        await begun.start()
        await connection.execute("INSERT INTO points_ledger.accounts VALUES ('demo', 'ada', 0, 0, 0, $1)", INSTANT)
        yield connection
        await begun.rollback()


async def write(past: asyncpg.Connection, holds: list[Hold]) -> None:
    """Each holds a point more than the one before."""
    rows = []
    for points, (state, created_at, ends_at) in enumerate(holds, 1):
        # What was confirmed or rolled back could have lasted longer.
        expires_at = created_at + WEEK if state in {"confirmed", "rolled_back"} else ends_at
        deducted = points if state == "confirmed" else 0
        ended_at = None if state == "held" else ends_at
        named = ("demo", "shop", f"t-{points}", "ada", state, points, deducted, 0, "")
        rows.append((*named, created_at, expires_at, ended_at, ends_at))
    await past.copy_records_to_table("transactions", schema_name="points_ledger", records=rows)


def around_the_instant() -> list[Hold]:
    """Of each length, and a moment more and less: those that were open, just not yet, just no longer, and others."""
    lengths = {timedelta(0), TICK, *LENGTHS}
    lengths |= {each - TICK for each in LENGTHS} | {each + TICK for each in LENGTHS[:-1]}
    states = ("confirmed", "rolled_back", "expired", "held")
    return [
        Hold(state, ends_at - length, ends_at)
        for length in sorted(lengths)
        for after in (-TICK, timedelta(0), TICK, length / 2, length - TICK, length, length + TICK, 3 * length)
        for state in states
        for ends_at in [INSTANT + after]
    ]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("indexes", INDEXES)
async def test_the_holds_that_were_open_then_are_held_and_no_others(
    past: asyncpg.Connection, statement: str, indexes: str, zone: str
) -> None:
    """Whatever their length and state, whatever the server's time zone, and while indexes are missing."""
    holds = around_the_instant()
    await write(past, holds)
    was_open = [points for points, hold in enumerate(holds, 1) if hold.created_at < INSTANT <= hold.ends_at]
    assert len(was_open) > len(holds) / 4

    await past.execute(f"SET LOCAL TIME ZONE '{zone}'; {INDEXES[indexes]}")
    row = await past.fetchrow(statement, "demo", "ada", INSTANT)

    assert row["held"] == sum(was_open)


@pytest.mark.parametrize("length", [*LENGTHS[:9], timedelta(minutes=15), timedelta(days=1)])
async def test_redemptions_of_the_days_after_are_not_read(
    past: asyncpg.Connection, statement: str, length: timedelta
) -> None:
    """However many they are: they ended later than four times their length after the instant."""
    first, many = INSTANT + 4 * length, 2_000
    step = (INSTANT + WEEK - first) / many
    states = cycle(("confirmed", "rolled_back", "expired"))
    others = [Hold(next(states), first + number * step - length, first + number * step) for number in range(many)]
    opened = [Hold("confirmed", INSTANT - length / 2, INSTANT + length / 2) for _ in range(5)]
    await write(past, [*opened, *others])

    assert await rows_read(past, statement) == len(opened)


async def test_holds_of_later_weeks_are_not_read(past: asyncpg.Connection, statement: str) -> None:
    """Also those that are open still."""
    opened = [Hold("held", INSTANT - TICK, INSTANT + TICK)]
    await write(past, opened + [Hold("held", INSTANT + WEEK, INSTANT + WEEK + timedelta(1))] * 2_000)
    assert await rows_read(past, statement) == len(opened)


async def rows_read(past: asyncpg.Connection, statement: str) -> int:
    asked = f"'demo', 'ada', '{INSTANT.isoformat()}'"
    return await rows_looked_at(past, statement, asked, "transactions")
