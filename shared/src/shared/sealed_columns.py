"""The columns of a service in which something lies sealed, and whether its key-encryption keys open them."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from shared.db import Database
from shared.errors import Unavailable
from shared.sealing import CannotOpen, Sealer
from shared.tables import ContextOf, context_of

#: Of each end of a table. More than one, since a single row that somebody changed says nothing of the keys.
_SAMPLE: Final = 3
#: For so long a good outcome holds: the keys of a process do not change, and probes come every second.
_GOOD_FOR_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column with sealed values."""

    column: sa.Column[bytes]
    context: ContextOf

    @property
    def name(self) -> str:
        return f"{self.column.table.name}.{self.column.name}"

    @property
    def number(self) -> sa.ColumnElement[int]:
        """The number of the key-encryption key, from the head of the value."""
        return sa.func.get_byte(self.column, 1) * 256 + sa.func.get_byte(self.column, 2)

    def samples(self) -> list[sa.Select[tuple[object, ...]]]:
        """The rows at both ends of the table; by its primary key, so that nothing else is read."""
        keys = list(self.column.table.primary_key.columns)
        orders = (keys, [key.desc() for key in keys])
        return [sa.select(self.column.table).order_by(*order).limit(_SAMPLE) for order in orders]


def sealed_columns(metadata: sa.MetaData) -> list[SealedColumn]:
    """All columns of a service that say how they are sealed."""
    return [
        SealedColumn(column, context)
        for table in metadata.sorted_tables
        for column in table.columns
        if (context := context_of(column.info)) is not None
    ]


class KeysCheck:
    """Whether the configured key-encryption keys open what lies in the database."""

    def __init__(
        self,
        database: Database,
        metadata: sa.MetaData,
        sealer: Sealer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._columns = sealed_columns(metadata)
        self._sealer = sealer
        self._clock = clock
        self._good_until: float | None = None

    async def check(self) -> None:
        """Opens a few values of each column.

        Raises:
            Unavailable: a key-encryption key that rows need opens none of them, or is not configured.
        """
        if self._good_until is not None and self._clock() < self._good_until:
            return
        opened, failed = await self._try()
        useless = sorted(number for number in failed if not opened[number])
        if useless:
            named = ", ".join(map(str, useless))
            raise Unavailable(f"Key-encryption key {named} does not open what was sealed under it.")
        self._good_until = self._clock() + _GOOD_FOR_SECONDS

    async def _try(self) -> tuple[Counter[int], Counter[int]]:
        """Key-encryption key → how many values it opened, and how many it did not."""
        opened: Counter[int] = Counter()
        failed: Counter[int] = Counter()
        async with self._database.transaction() as connection:
            for sealed in self._columns:
                for sample in sealed.samples():
                    for row in (await connection.execute(sample)).mappings():
                        value: bytes | None = row[sealed.column.name]
                        if value is None:
                            continue
                        number = int.from_bytes(value[1:3], "big")
                        try:
                            self._sealer.open(value, sealed.context(dict(row)))
                        except CannotOpen:
                            failed[number] += 1
                        else:
                            opened[number] += 1
        return opened, failed
