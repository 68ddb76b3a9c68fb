"""Vendors' settings. Connection first."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.tables import vendors


async def set_hold_seconds(connection: AsyncConnection, tenant: str, vendor_id: str, hold_seconds: int) -> None:
    statement = postgresql.insert(vendors).values(tenant=tenant, vendor_id=vendor_id, hold_seconds=hold_seconds)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[vendors.c.tenant, vendors.c.vendor_id], set_={"hold_seconds": hold_seconds}
        )
    )


async def read_hold_seconds(connection: AsyncConnection, tenant: str, vendor_id: str) -> int | None:
    seconds: int | None = await connection.scalar(
        sa.select(vendors.c.hold_seconds).where(vendors.c.tenant == tenant, vendors.c.vendor_id == vendor_id)
    )
    return seconds
