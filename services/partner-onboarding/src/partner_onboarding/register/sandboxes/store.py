"""Statements about sandbox tenants."""

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.tables import clients, tenants


async def lock_tenant(connection: AsyncConnection, tenant: str) -> None:
    """One change of a sandbox at a time."""
    await connection.execute(select(tenants.c.tenant).where(tenants.c.tenant == tenant).with_for_update(key_share=True))


async def live_clients(connection: AsyncConnection, tenant: str, prefix: str) -> int:
    """How many live clients have an id that begins with `prefix`."""
    statement = select(func.count()).select_from(clients)
    found: int | None = await connection.scalar(
        statement.where(
            clients.c.tenant == tenant, clients.c.client_id.startswith(prefix), clients.c.disabled_at.is_(None)
        )
    )
    return found or 0


async def old_clients(connection: AsyncConnection, tenant: str, prefix: str, age: timedelta) -> list[str]:
    """The live ones among them that are older than this."""
    statement = select(clients.c.client_id).where(
        clients.c.tenant == tenant,
        clients.c.client_id.startswith(prefix),
        clients.c.disabled_at.is_(None),
        clients.c.created_at < func.now() - age,
    )
    return list(await connection.scalars(statement))
