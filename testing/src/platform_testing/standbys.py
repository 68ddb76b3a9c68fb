"""A PostgreSQL with a standby that shows what was, until a test lets it go on."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from local_platform.embedded_postgres import EmbeddedPostgres

_HAS_REPLAYED = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"


@dataclass(frozen=True)
class Pair:
    """Two servers; the standby follows the primary."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres

    def of_standby(self, url: str) -> str:
        """The same database as that of the primary, on the standby."""
        return url.replace(f":{self.primary.port}/", f":{self.standby.port}/")

    async def catch_up(self) -> None:
        """Returns when the standby shows all that the primary has written so far."""
        async with _connected(self.primary) as primary, _connected(self.standby) as standby:
            await _catch_up(primary, standby)

    @asynccontextmanager
    async def left_behind(self) -> AsyncIterator[None]:
        """The standby shows all that is written by now, and nothing newer until the block ends; then it has all."""
        async with _connected(self.primary) as primary, _connected(self.standby) as standby:
            await _catch_up(primary, standby)
            await standby.execute("SELECT pg_wal_replay_pause()")
            while await standby.fetchval("SELECT pg_get_wal_replay_pause_state()") != "paused":
                continue
            try:
                yield
            finally:
                await standby.execute("SELECT pg_wal_replay_resume()")
            await _catch_up(primary, standby)


@contextmanager
def primary_and_standby(directory: Path) -> Iterator[Pair]:
    """Both run until the block ends."""
    pair = Pair(*(EmbeddedPostgres(directory / name, settings={"fsync": "off"}) for name in ("primary", "standby")))
    try:
        pair.primary.start()
        pair.standby.follow(pair.primary)
        pair.standby.start()
        yield pair
    finally:
        pair.standby.stop()
        pair.primary.stop()


@asynccontextmanager
async def _connected(server: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.url())
    try:
        yield connection
    finally:
        await connection.close()


async def _catch_up(primary: asyncpg.Connection, standby: asyncpg.Connection) -> None:
    written = await primary.fetchval("SELECT pg_current_wal_lsn()::text")
    while not await standby.fetchval(_HAS_REPLAYED, written):
        continue
