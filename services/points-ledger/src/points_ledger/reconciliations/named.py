"""Which transactions a list has named so far, on disk.

A list has any order and any length, so a service cannot remember it; and the ledger's database should not have to
write a million rows because somebody compares books. SQLite with an empty name keeps a few megabytes in memory and the
rest in a file without a name, which ends with the connection or the process.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Final

import orjson

_MEMORY_KIB: Final = 4096


class NamedTransactions:
    """One for each reconciliation. Its statements take whole slices and run in threads."""

    def __init__(self) -> None:
        # Used by one thread after another, never by two at once.
        self._rows = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (
            # Nothing here outlives the process.
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            f"PRAGMA cache_size = -{_MEMORY_KIB}",
            "CREATE TABLE named (id TEXT PRIMARY KEY, line INTEGER NOT NULL) WITHOUT ROWID",
        ):
            self._rows.execute(statement)

    async def add(self, lines: Sequence[tuple[str, int]]) -> dict[int, int]:
        """Notes ids with their lines; of each line whose id stood there before, the line in which it stood first."""
        return await asyncio.to_thread(self._add, orjson.dumps(lines).decode())

    async def missing(self, ids: Sequence[str]) -> set[str]:
        """Those that no line named."""
        return await asyncio.to_thread(self._missing, orjson.dumps(ids).decode())

    def close(self) -> None:
        self._rows.close()

    def _add(self, lines: str) -> dict[int, int]:
        self._rows.execute(
            "INSERT OR IGNORE INTO named"
            " SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)",
            (lines,),
        )
        rows = self._rows.execute(
            "SELECT json_extract(value, '$[1]') AS asked, named.line"
            " FROM json_each(?) JOIN named ON named.id = json_extract(value, '$[0]') WHERE named.line <> asked",
            (lines,),
        )
        return dict(rows.fetchall())

    def _missing(self, ids: str) -> set[str]:
        rows = self._rows.execute(
            "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM named WHERE named.id = value)", (ids,)
        )
        return {row[0] for row in rows}
