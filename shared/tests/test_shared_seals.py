"""Rows that are sealed: what was changed afterwards is found, and nothing is passed that commits late."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import sqlalchemy as sa
from shared.db import Database
from shared.seals.checking import Checked, Checking, Head
from shared.seals.rows import SealedTable
from shared.seals.sealing import ROWS, Sealing
from shared.seals.tables import define_seals_table
from sqlalchemy.dialects.postgresql import JSONB

metadata = sa.MetaData()
LINES = sa.Table(
    "sealed_lines",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("words", sa.Text),
    sa.Column("data", JSONB),
    sa.Column("raw", sa.LargeBinary),
    sa.Index("sealed_lines_by_time_idx", "tenant", "written_at"),
)
SEALS = define_seals_table(metadata)
WHEN = datetime(2026, 11, 1, 8, 0, 0, 123456, tzinfo=UTC)


def sealed_lines(kept: timedelta | None = None) -> SealedTable:
    return SealedTable(
        table=LINES, at=LINES.c.written_at, columns={1: tuple(LINES.columns)}, margin=timedelta(0), kept=kept
    )


@dataclass
class House:
    database: Database
    rows: asyncpg.Connection
    url: str

    async def write(self, *names: str, at: datetime | None = None, words: str = "first") -> None:
        """By default each row gets the time of the moment."""
        for name in names:
            await self.rows.execute(
                "INSERT INTO sealed_lines VALUES ('demo', $1, 1, coalesce($2, clock_timestamp()), $3, $4, $5)",
                *(name, at, words, '{"b": [1], "a": "ü"}', b"\x00\xff"),
            )

    async def seal(self) -> int:
        # Up to the whole millisecond before this one.
        await self.rows.execute("SELECT pg_sleep(0.002)")
        return await Sealing(self.database, SEALS, [sealed_lines()]).seal()

    async def check(self, *heads: Head, kept: timedelta | None = None) -> Checked:
        return await Checking(self.database.engine, SEALS, [sealed_lines(kept)], heads=heads).check()


@pytest.fixture(params=[False, True], ids=["on one server", "distributed"])
async def house(shared_url: str, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with AsyncExitStack() as closing:
        database = Database(shared_url, is_distributed=request.param)
        closing.push_async_callback(database.dispose)
        rows = await asyncpg.connect(shared_url)
        closing.push_async_callback(rows.close)
        async with database.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
        yield House(database, rows, shared_url)


async def test_anybody_with_a_copy_of_the_rows_can_compute_the_chain(house: House) -> None:
    await house.write("a", "ä", "z", words='tab\t, "quoted" \\ \u2028 \x7f\u001f')
    assert await house.seal() == 3
    await house.write("later")
    await house.seal()

    previous = None
    for number, names in ((1, ("a", "ä", "z")), (2, ("later",))):
        digests = []
        for name in names:
            row = await house.rows.fetchrow("SELECT * FROM sealed_lines WHERE name = $1", name)
            assert row is not None
            told = [
                *("sealed_lines", row["tenant"], row["name"], row["number"]),
                row["written_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                *(row["words"], row["data"], row["raw"].hex()),
            ]
            digests.append(hashlib.sha256(json.dumps(told, ensure_ascii=False).encode()).digest())
        seal = await house.rows.fetchrow("SELECT * FROM seals WHERE number = $1", number)
        assert seal is not None
        content = hashlib.sha256(b"".join(digests)).hexdigest()
        at = seal["sealed_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        until = seal["until"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        link = [1, "demo", "sealed_lines", number, len(names), until, at, previous, content]
        previous = hashlib.sha256(json.dumps(link, ensure_ascii=False).encode()).hexdigest()
        assert seal["hash"].hex() == previous
    assert (await house.check()).differences == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE sealed_lines SET words = 'other' WHERE name = 'b'", "name b, number 1, of {b} was changed"),
        ("UPDATE sealed_lines SET words = NULL WHERE name = 'b'", "name b, number 1, of {b} was changed"),
        ("UPDATE sealed_lines SET data = '{}' WHERE name = 'b'", "name b, number 1, of {b} was changed"),
        ("UPDATE sealed_lines SET raw = '' WHERE name = 'b'", "name b, number 1, of {b} was changed"),
        ("UPDATE sealed_lines SET number = 2 WHERE name = 'b'", "name b, number 2, of {b} was changed"),
        (
            "UPDATE sealed_lines SET written_at = '2026-11-01Z' WHERE name = 'a'",
            "name a, number 1, of 2026-11-01T00:00:00+00:00 was changed",
        ),
        ("DELETE FROM sealed_lines WHERE name = 'a'", "a row is missing at its beginning"),
        ("DELETE FROM sealed_lines WHERE name = 'b'", "a row is missing behind name a, number 1"),
        ("DELETE FROM sealed_lines WHERE name = 'c'", "a row is missing behind name b, number 1"),
        (
            "INSERT INTO sealed_lines SELECT tenant, 'bb', 1, written_at FROM sealed_lines WHERE name = 'b'",
            "name bb, number 1, of {b} was inserted",
        ),
        (
            "INSERT INTO sealed_lines SELECT tenant, '0', 1, '2020-01-01Z' FROM sealed_lines WHERE name = 'b'",
            "name 0, number 1, of 2020-01-01T00:00:00+00:00 was inserted",
        ),
    ],
)
async def test_a_row_that_was_changed_removed_or_inserted_is_named(house: House, change: str, told: str) -> None:
    await house.write("a", "b", "c")
    await house.seal()
    await house.write("d")
    await house.seal()
    assert (await house.check()).differences == []

    at = await house.rows.fetchval("SELECT written_at FROM sealed_lines WHERE name = 'b'")
    await house.rows.execute(change)

    expected = told.format(b=at.isoformat())
    (difference,) = (await house.check()).differences
    assert difference.startswith("sealed_lines of tenant demo, seal 1: ")
    assert expected in difference


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE seals SET content = decode(repeat('00', 32), 'hex') WHERE number = 2", "seal 2: it was changed after"),
        ("UPDATE seals SET sealed_at = sealed_at - interval '1 s' WHERE number = 2", "seal 2: it was changed after"),
        ("UPDATE seals SET hash = previous WHERE number = 2", "seal 2: it was changed after"),
        ("DELETE FROM seals WHERE number = 2", "seal 3: seal 2 is missing before it"),
        ("UPDATE seals SET previous = hash WHERE number = 3", "seal 3: it does not follow the seal before it"),
    ],
)
async def test_the_first_broken_link_is_named(house: House, change: str, told: str) -> None:
    for name in "abcd":
        await house.write(name)
        await house.seal()
    assert (await house.check()).seals == 4

    await house.rows.execute(change)

    (difference,) = (await house.check()).differences
    assert told in difference


async def test_a_chain_that_was_written_anew_is_noticed_by_a_head_that_was_kept_outside(house: House) -> None:
    await house.write("a")
    await house.seal()
    await house.write("b")
    await house.seal()
    (head,) = (await house.check()).heads
    assert Head.read(str(head), ["sealed_lines"]) == head
    assert (await house.check(head)).differences == []

    await house.rows.execute("UPDATE sealed_lines SET words = 'other' WHERE name = 'a'")
    await house.rows.execute("DELETE FROM seals")
    await house.seal()

    assert (await house.check()).differences == []
    (shorter,) = (await house.check(head)).differences
    assert "ends with seal 1, but seal 2 was noted" in shorter
    await house.write("c")
    await house.seal()
    (other,) = (await house.check(head)).differences
    assert "seal 2: its hash is" in other
    assert "the chain was written anew" in other
    await house.rows.execute("DELETE FROM seals")
    assert len((await house.check(head)).differences) == 1


async def test_a_row_that_commits_late_is_in_a_later_seal(house: House) -> None:
    """Its time is earlier than that of a row which was committed before it."""
    await house.write("early")
    late = await asyncpg.connect(house.url)
    try:
        await late.execute("SELECT pg_sleep(0.002)")
        await late.execute("BEGIN")
        await late.execute("INSERT INTO sealed_lines VALUES ('demo', 'late', 1, clock_timestamp())")
        await house.write("young")
        assert await house.seal() == 1
        assert await house.rows.fetchval("SELECT last_key FROM seals") == '["early", 1]'
        await late.execute("COMMIT")
    finally:
        await late.close()
    assert await house.seal() == 2
    assert (await house.check()).differences == []


async def test_a_long_transaction_elsewhere_hides_nothing(house: House) -> None:
    stranger = await asyncpg.connect(house.url)
    try:
        await stranger.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await stranger.execute("CREATE TEMP TABLE something (n int)")
        await stranger.fetch("SELECT * FROM sealed_lines")
        await house.write("a")
        assert await house.seal() == 1
    finally:
        await stranger.close()


async def test_a_row_that_is_dated_back_is_inserted_however_long_nothing_was_written(house: House) -> None:
    """A seal covers the time up to its writing, and not only up to its last row."""
    await house.write("a", at=WHEN)
    await house.seal()
    await house.write("b", at=WHEN + timedelta(days=1))
    assert await house.seal() == 0
    (difference,) = (await house.check()).differences
    assert "name b, number 1" in difference
    assert "was inserted" in difference


async def test_several_replicas_write_one_chain(house: House) -> None:
    await house.write(*(f"n{number}" for number in range(30)))
    for round_ in range(5):
        await house.write(*(f"r{round_}-{number}" for number in range(5)))
        await house.rows.execute("SELECT pg_sleep(0.002)")
        replicas = [Sealing(house.database, SEALS, [sealed_lines()]) for _ in range(6)]
        await asyncio.gather(*(replica.seal() for replica in replicas))
    checked = await house.check()
    assert checked.differences == []
    assert checked.rows == 55
    assert checked.seals == await house.rows.fetchval("SELECT count(*) FROM seals")


async def test_a_backlog_is_sealed_in_slices_and_within_one_instant(house: House) -> None:
    await house.rows.execute(
        "INSERT INTO sealed_lines SELECT t, 'n' || n, n, $1, 'w' FROM generate_series(1, $2::int) n, "
        "unnest('{demo,other}'::text[]) t",
        WHEN,
        2 * ROWS + 1,
    )
    assert [await house.seal() for _ in range(4)] == [ROWS, ROWS, 1, 0]
    checked = await house.check()
    assert (checked.seals, checked.rows, checked.differences) == (6, 2 * (2 * ROWS + 1), [])
    assert {head.tenant for head in checked.heads} == {"demo", "other"}


async def test_rows_that_retention_deleted_break_nothing_and_others_do(house: House) -> None:
    now = await house.rows.fetchval("SELECT now()")
    for name, days in (("a", 10), ("b", 9), ("c", 2), ("d", 1)):
        await house.write(name, at=now - timedelta(days=days))
    await house.seal()
    await house.rows.execute("DELETE FROM sealed_lines WHERE name IN ('a', 'b')")
    kept = timedelta(days=5)
    assert (await house.check(kept=kept)).differences == []
    (both,) = (await house.check()).differences
    assert "2 rows are missing" in both

    await house.rows.execute("UPDATE sealed_lines SET words = 'other' WHERE name = 'c'")
    (changed,) = (await house.check(kept=kept)).differences
    assert "name c, number 1" in changed
    await house.rows.execute("UPDATE sealed_lines SET words = 'first' WHERE name = 'c'")
    await house.rows.execute("DELETE FROM sealed_lines WHERE name = 'd'")
    (removed,) = (await house.check(kept=kept)).differences
    assert "behind name c, number 1" in removed


@pytest.mark.parametrize("text", ["", "demo", "demo:1", "demo:x:" + "a" * 64, "demo:1:abc", "other:demo:1:" + "a" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no head of a chain"):
        Head.read(text, ["sealed_lines"])
