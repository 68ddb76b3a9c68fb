"""Records events in the transaction of the act: one row for all of an owner's.

The order of a tenant's rows is that of `batch`. Two transactions that change the same thing lock it, so that the later
one takes its `batch` after the earlier one has committed: events of one transaction id never change places.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.events.domain import NewEvent, new_key
from shared.events.tables import EventTables

#: The types of the five parameters of `recording`.
RECORDED: Final = ("text[]", "text[]", "text[]", "int[]", "text[]")
_NO_ROWS: Final[tuple[list[Any], ...]] = ([], [], [], [], [])


class _Row(NamedTuple):
    """A row of `event_batches`."""

    tenant: str
    key: str
    owner: str | None
    size: int
    events: str


async def record(connection: AsyncConnection, tables: EventTables, tenant: str, events: Sequence[NewEvent]) -> None:
    """Records `events` in the transaction of `connection`."""
    rows = [row._asdict() for row in _rows((tenant, event) for event in events)]
    if rows:
        await connection.execute(insert(tables.batches), rows)


def recording(schema: str, first: int = 1, *, tenant: str = "told.tenant") -> str:
    """The INSERT for a statement that goes past SQLAlchemy; its parameters from `first` on are `columns_of`.

    Args:
        tenant: what each row gets; a parameter if they are all of one tenant.
    """
    tenants, keys, owners, sizes, events = (f"${number}::{kind}" for number, kind in enumerate(RECORDED, start=first))
    return (
        f"INSERT INTO {schema}.event_batches (tenant, key, owner, size, events)"  # noqa: S608 — our own names
        f" SELECT {tenant}, told.key, told.owner, told.size, told.events"
        f" FROM unnest({tenants}, {keys}, {owners}, {sizes}, {events})"
        f" AS told (tenant, key, owner, size, events)"
    )


def columns_of(events: Iterable[tuple[str, NewEvent]]) -> tuple[list[Any], ...]:
    """The five parameters of `recording`.

    Args:
        events: tenant and event, in the order in which they happened.
    """
    rows = list(_rows(events))
    return tuple(list(column) for column in zip(*rows, strict=True)) if rows else _NO_ROWS


def text_of(event: NewEvent) -> str:
    """An event as it stands in the list of a row, for statements that make the list themselves."""
    return orjson.dumps(_told(event, datetime.now(UTC))).decode()


def _told(event: NewEvent, now: datetime) -> dict[str, Any]:
    return {"type": event.type, "at": event.happened_at or now, "data": event.data}


def _rows(events: Iterable[tuple[str, NewEvent]]) -> Iterator[_Row]:
    by_owner: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    now = datetime.now(UTC)
    for tenant, event in events:
        by_owner.setdefault((tenant, event.owner), []).append(_told(event, now))
    for (tenant, owner), told_of in by_owner.items():
        yield _Row(tenant, new_key(), owner, len(told_of), orjson.dumps(told_of).decode())
