"""Vendors' settings. Connection first."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.tables import vendors


async def lock_hold_seconds(connection: AsyncConnection, tenant: str, vendor_id: str, default: int) -> int:
    """The hold time, which nobody else changes before this transaction ends; written, if it was never set."""
    statement = postgresql.insert(vendors).values(tenant=tenant, vendor_id=vendor_id, hold_seconds=default)
    await connection.execute(statement.on_conflict_do_nothing())
    locked: int = (
        await connection.execute(sa.select(vendors.c.hold_seconds).where(*_is(tenant, vendor_id)).with_for_update())
    ).scalar_one()
    return locked


async def set_hold_seconds(connection: AsyncConnection, tenant: str, vendor_id: str, hold_seconds: int) -> None:
    """Changes what `lock_hold_seconds` has locked."""
    await connection.execute(sa.update(vendors).where(*_is(tenant, vendor_id)).values(hold_seconds=hold_seconds))


async def read_hold_seconds(connection: AsyncConnection, tenant: str, vendor_id: str) -> int | None:
    seconds: int | None = await connection.scalar(sa.select(vendors.c.hold_seconds).where(*_is(tenant, vendor_id)))
    return seconds


def _is(tenant: str, vendor_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return vendors.c.tenant == tenant, vendors.c.vendor_id == vendor_id
