"""Every statement about tenants."""

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as insert_or_nothing
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.tables import sandboxes, tenants
from partner_onboarding.register.tenants.domain import Tenant


async def add_tenant(connection: AsyncConnection, tenant: Tenant) -> bool:
    """Adds a tenant. False if it exists, which stays unchanged."""
    result = await connection.execute(
        insert_or_nothing(tenants)
        .values(tenant=tenant.tenant, name=tenant.name, allowed_origins=list(tenant.allowed_origins))
        .on_conflict_do_nothing()
        .returning(tenants.c.tenant)
    )
    return result.one_or_none() is not None


async def find_tenant(connection: AsyncConnection, tenant: str) -> Tenant | None:
    is_sandbox = select(sandboxes.sandboxes).where(sandboxes.sandboxes.c.tenant == tenant).exists()
    query = select(tenants, is_sandbox.label("is_sandbox")).where(tenants.c.tenant == tenant)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Tenant(row.tenant, row.name, tuple(row.allowed_origins), row.is_sandbox)


async def find_named(connection: AsyncConnection, name: str) -> str | None:
    """The tenant with this id or name, in any case; None if there is none or several."""
    wanted = name.casefold()
    query = select(tenants.c.tenant).where((tenants.c.tenant == wanted) | (func.lower(tenants.c.name) == wanted))
    found = (await connection.execute(query.order_by(tenants.c.tenant != wanted).limit(2))).scalars().all()
    return found[0] if found and (len(found) == 1 or found[0] == wanted) else None


async def is_allowed_origin(connection: AsyncConnection, origin: str) -> bool:
    """Whether any tenant has configured this origin."""
    query = select(tenants.c.tenant).where(tenants.c.allowed_origins.any_() == origin).limit(1)
    return (await connection.execute(query)).one_or_none() is not None
