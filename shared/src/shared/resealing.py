"""Moves what lies sealed to the newest key-encryption key, while the service runs.

Each sealed column says in its table under which context its values open: `Column(…, info=sealed_as(…))`. The command
`reseal` goes through all of them by their keys, a slice at a time, and may be stopped and started again at will.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
import typer

from shared.db import Database
from shared.idempotency import KEPT_FOR
from shared.sealed_columns import SealedColumn, sealed_columns
from shared.sealing import CannotOpen, Sealer, parse_key_encryption_keys
from shared.settings import ServiceSettings, load
from shared.times import iso

_SLICE: Final = 200
#: At the end it counts what lies under which key, over whole tables.
_STATEMENT_SECONDS: Final = 3600.0


@dataclass(slots=True)
class Outcome:
    """What was done, and which key-encryption keys are still needed."""

    newest: int
    #: Column → how many values were sealed anew.
    resealed: Counter[str] = field(default_factory=Counter)
    #: Column → how many values cannot be opened: changed by somebody, or their key is not configured.
    unopened: Counter[str] = field(default_factory=Counter)
    #: Key-encryption key → how many values need it now.
    in_use: Counter[int] = field(default_factory=Counter)

    def may_go(self, configured: Iterable[int]) -> list[int]:
        """The keys that no value needs any more."""
        return sorted(number for number in configured if number != self.newest and not self.in_use[number])


async def reseal(
    database: Database, metadata: sa.MetaData, sealer: Sealer, *, told: Callable[[str, int], None] = lambda *_: None
) -> Outcome:
    """Seals every value under the newest key that lies under a former one.

    A value that changes meanwhile is left to who changes it. A second call finds nothing to do.

    Args:
        told: hears after each slice of which column how many values were sealed anew so far.
    """
    outcome = Outcome(sealer.newest)
    for sealed in sealed_columns(metadata):
        await _reseal_column(database, sealed, sealer, outcome, told)
    for sealed in sealed_columns(metadata):
        number = sealed.number
        query = sa.select(number, sa.func.count()).where(sealed.column.is_not(None)).group_by(number)
        async with database.transaction() as connection:
            for used, count in await connection.execute(query):
                outcome.in_use[int(used)] += int(count)
    return outcome


async def _reseal_column(
    database: Database, sealed: SealedColumn, sealer: Sealer, outcome: Outcome, told: Callable[[str, int], None]
) -> None:
    column, table = sealed.column, sealed.column.table
    keys = list(table.primary_key.columns)
    former = (column.is_not(None), sealed.number != sealer.newest)
    after: tuple[Any, ...] | None = None
    while True:
        query = sa.select(table).where(*former).order_by(*keys).limit(_SLICE)
        if after is not None:
            query = query.where(sa.tuple_(*keys) > sa.tuple_(*after))
        async with database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
            for row in rows:
                value: bytes = row[column.name]
                try:
                    fresh = sealer.rewrapped(value, sealed.context(dict(row)))
                except CannotOpen:
                    outcome.unopened[sealed.name] += 1
                    continue
                same = [key == row[key.name] for key in keys]
                changed = await connection.execute(
                    sa.update(table).where(*same, column == value).values({column.name: fresh})
                )
                outcome.resealed[sealed.name] += changed.rowcount
        if not rows:
            return
        told(sealed.name, outcome.resealed[sealed.name])
        after = tuple(rows[-1][key.name] for key in keys)


def reseal_command(settings_class: type[ServiceSettings], metadata: sa.MetaData) -> Callable[[], None]:
    """`python -m <service> reseal`. It prints one JSON object; its progress goes to standard error."""

    def reseal_all() -> None:
        """Seal everything under the newest key-encryption key; says which former ones may go. May be repeated."""
        settings: Any = load(settings_class)
        keys = parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value())

        async def use() -> Outcome:
            database = Database.of(settings, statement_seconds=_STATEMENT_SECONDS)
            try:
                return await reseal(database, metadata, Sealer(keys), told=_tell)
            finally:
                await database.dispose()

        outcome = asyncio.run(use())
        typer.echo(
            json.dumps(
                {
                    "newest": outcome.newest,
                    "resealed": dict(outcome.resealed),
                    "unopened": dict(outcome.unopened),
                    "in_use": {str(number): count for number, count in sorted(outcome.in_use.items())},
                    "may_go": outcome.may_go(keys),
                    # Answers that are kept for repeats go by themselves.
                    "may_go_from": iso(datetime.now(UTC) + KEPT_FOR),
                }
            )
        )
        if outcome.unopened:
            raise typer.Exit(1)

    return reseal_all


def _tell(column: str, number: int) -> None:
    typer.echo(f"{column}: {number}", err=True)
