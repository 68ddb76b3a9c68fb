"""Values move to the newest key-encryption key while others write, and the outcome says which key may go."""

import os
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from shared.db import Database
from shared.errors import Unavailable
from shared.resealing import reseal
from shared.sealed_columns import KeysCheck, sealed_columns
from shared.sealing import CannotOpen, Sealer
from shared.tables import NAMES, sealed_as

ROWS = 450
FIRST, SECOND = os.urandom(32), os.urandom(32)
metadata = sa.MetaData(naming_convention=NAMES)
vault = sa.Table(
    "vault",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("secret", sa.LargeBinary, info=sealed_as(lambda row: f"vault/{row['tenant']}/{row['n']}")),
    sa.Column("plain", sa.LargeBinary),
)


@pytest.fixture
async def filled(shared_url: str) -> AsyncIterator[Database]:
    """Rows under the first key; one without a value, and one that somebody changed."""
    former, database = Sealer({1: FIRST}), Database(shared_url)
    rows = [{"tenant": "t", "n": n, "secret": former.seal(b"text %d" % n, f"vault/t/{n}")} for n in range(ROWS)]
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        await connection.execute(sa.insert(vault), rows)
        await connection.execute(sa.insert(vault).values(tenant="t", n=ROWS, secret=None))
    yield database
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    await database.dispose()


async def _texts(database: Database, sealer: Sealer) -> list[bytes]:
    query = sa.select(vault.c.n, vault.c.secret).where(vault.c.secret.is_not(None)).order_by(vault.c.n)
    async with database.transaction() as connection:
        return [sealer.open(row.secret, f"vault/t/{row.n}") for row in await connection.execute(query)]


async def test_every_value_opens_with_the_newest_key_alone_and_the_former_may_go(filled: Database) -> None:
    told: list[tuple[str, int]] = []
    outcome = await reseal(filled, metadata, Sealer({1: FIRST, 2: SECOND}), told=lambda *step: told.append(step))
    assert await _texts(filled, Sealer({2: SECOND})) == [b"text %d" % n for n in range(ROWS)]
    assert outcome.resealed == {"vault.secret": ROWS}
    assert outcome.may_go([1, 2]) == [1]
    assert told[-1] == ("vault.secret", ROWS)
    assert len(told) > 1, "it says on the way how far it is"


async def test_a_second_call_finds_nothing_to_do_and_an_interrupted_one_is_taken_up(filled: Database) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    both = Sealer({1: FIRST, 2: SECOND})
    with pytest.raises(KeyboardInterrupt):
        await reseal(filled, metadata, both, told=stop)
    rest = await reseal(filled, metadata, both)
    assert 0 < rest.resealed["vault.secret"] < ROWS
    assert (await reseal(filled, metadata, both)).resealed == {}
    assert len(await _texts(filled, Sealer({2: SECOND}))) == ROWS


async def test_a_value_that_does_not_open_is_left_and_its_key_may_not_go(filled: Database) -> None:
    foreign = Sealer({1: FIRST}).seal(b"moved here", "vault/t/1")
    async with filled.transaction() as connection:
        await connection.execute(sa.update(vault).where(vault.c.n == 7).values(secret=foreign))
    outcome = await reseal(filled, metadata, Sealer({1: FIRST, 2: SECOND}))
    assert (outcome.resealed, outcome.unopened) == ({"vault.secret": ROWS - 1}, {"vault.secret": 1})
    assert outcome.may_go([1, 2]) == []
    with pytest.raises(CannotOpen):
        await _texts(filled, Sealer({2: SECOND}))


def test_only_columns_that_say_so_are_sealed_anew() -> None:
    assert [sealed.name for sealed in sealed_columns(metadata)] == ["vault.secret"]


# ——— do the configured keys open what lies there? ———


async def test_keys_that_open_the_rows_are_good_also_while_a_single_row_does_not_open(filled: Database) -> None:
    foreign = Sealer({1: FIRST}).seal(b"moved here", "vault/t/1")
    async with filled.transaction() as connection:
        await connection.execute(sa.update(vault).where(vault.c.n == 0).values(secret=foreign))
    await KeysCheck(filled, metadata, Sealer({1: FIRST})).check()


@pytest.mark.parametrize("configured", [{1: SECOND}, {2: SECOND}])
async def test_a_wrong_key_and_a_missing_one_are_named(filled: Database, configured: dict[int, bytes]) -> None:
    check = KeysCheck(filled, metadata, Sealer(configured))
    for _ in range(2):
        with pytest.raises(Unavailable, match="Key-encryption key 1 does not open"):
            await check.check()


async def test_a_good_outcome_holds_for_a_minute(filled: Database) -> None:
    """Probes come every second."""
    now = [100.0]
    check = KeysCheck(filled, metadata, Sealer({1: FIRST}), clock=lambda: now[0])
    await check.check()
    async with filled.transaction() as connection:
        await connection.execute(sa.update(vault).values(secret=b"\x01\x00\x07" + bytes(80)))
    await check.check()
    now[0] += 61
    with pytest.raises(Unavailable, match="key 7"):
        await check.check()
