"""Vendors and their secrets in the database."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from shared.sandboxes.domain import TEST_CLIENT_PATTERN
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.tables import vendor_secrets, vendors
from sso_issuer.vendors.domain import (
    SECRET_SLOTS,
    Agreement,
    ClaimSpelling,
    Delivery,
    Secret,
    Vendor,
    VendorAlgorithm,
    VendorPlace,
)

_BY_AUDIENCE: Final = "SELECT * FROM sso_issuer.vendors WHERE tenant = $1 AND audience = $2"


async def put_vendor(
    connection: AsyncConnection, tenant: str, vendor_id: str, agreement: Agreement
) -> tuple[Vendor, bool]:
    """Writes the agreement; returns the vendor and whether it is new.

    Raises:
        sqlalchemy.exc.IntegrityError: another vendor of the tenant has this audience.
    """
    now = sa.func.clock_timestamp()
    statement = postgresql.insert(vendors).values(
        tenant=tenant, vendor_id=vendor_id, **asdict(agreement), created_at=now, updated_at=now
    )
    statement = statement.on_conflict_do_update(
        index_elements=[vendors.c.tenant, vendors.c.vendor_id],
        set_={**asdict(agreement), "updated_at": statement.excluded.updated_at},
    )
    # `xmax` is 0 for a row that this statement inserted.
    is_new = sa.literal_column("xmax = 0", sa.Boolean).label("is_new")
    row = (await connection.execute(statement.returning(*vendors.c, is_new))).one()
    return vendor_of(row._mapping), bool(row.is_new)


async def read_vendor(connection: AsyncConnection, tenant: str, vendor_id: str, *, lock: bool = False) -> Vendor | None:
    """The vendor, or None. `lock` keeps others from adding secrets meanwhile."""
    query = sa.select(vendors).filter_by(tenant=tenant, vendor_id=vendor_id)
    if lock:
        query = query.with_for_update(key_share=True)
    row = (await connection.execute(query)).first()
    return None if row is None else vendor_of(row._mapping)


async def find_by_audience(connection: asyncpg.Connection, tenant: str, audience: str) -> Vendor | None:
    """The vendor that has this audience now."""
    row = await connection.fetchrow(_BY_AUDIENCE, tenant, audience)
    return None if row is None else vendor_of(row)


async def list_vendors(
    connection: AsyncConnection, tenant: str, *, after: VendorPlace | None, limit: int
) -> list[Vendor]:
    """The tenant's vendors in the order of their ids, those behind `after`."""
    query = sa.select(vendors).filter_by(tenant=tenant)
    if after is not None:
        query = query.where(vendors.c.vendor_id > after.vendor_id)
    return [
        vendor_of(row._mapping) for row in await connection.execute(query.order_by(vendors.c.vendor_id).limit(limit))
    ]


async def read_secrets(connection: AsyncConnection, tenant: str, vendor_id: str) -> list[Secret]:
    """The vendor's secrets, oldest first, with recently ended ones."""
    query = sa.select(vendor_secrets).filter_by(tenant=tenant, vendor_id=vendor_id).order_by(vendor_secrets.c.n)
    return [secret_of(row._mapping) for row in await connection.execute(query)]


async def add_secret(
    connection: AsyncConnection, tenant: str, vendor_id: str, secret: Secret, *, former_expires_at: datetime
) -> None:
    """Adds a secret in the slot of the last but one, and sets the end of the last one."""
    place = {"tenant": tenant, "vendor_id": vendor_id}
    slot = secret.n % SECRET_SLOTS
    await connection.execute(sa.delete(vendor_secrets).filter_by(**place, slot=slot))
    await connection.execute(
        sa.update(vendor_secrets).filter_by(**place, expires_at=None).values(expires_at=former_expires_at)
    )
    await connection.execute(
        sa.insert(vendor_secrets).values(
            **place,
            n=secret.n,
            slot=slot,
            kid=secret.kid,
            secret=secret.sealed,
            created_at=secret.created_at,
            signs_from=secret.signs_from,
            expires_at=secret.expires_at,
        )
    )


async def list_shops(connection: AsyncConnection, tenant: str, *, limit: int) -> list[Vendor]:
    """The tenant's vendors without the test clients that developers have made, in the order of their ids."""
    shops = sa.select(vendors).filter_by(tenant=tenant).where(~vendors.c.vendor_id.regexp_match(TEST_CLIENT_PATTERN))
    rows = await connection.execute(shops.order_by(vendors.c.vendor_id).limit(limit))
    return [vendor_of(row._mapping) for row in rows]


def vendor_of(row: Mapping[Any, Any]) -> Vendor:
    """The vendor in a row that has its columns."""
    return Vendor(
        tenant=row["tenant"],
        vendor_id=row["vendor_id"],
        agreement=Agreement(
            name=row["name"],
            redirect_url=row["redirect_url"],
            delivery=Delivery(row["delivery"]),
            algorithm=VendorAlgorithm(row["algorithm"]),
            lifetime_seconds=row["lifetime_seconds"],
            claim_spelling=ClaimSpelling(row["claim_spelling"]),
            audience=row["audience"],
        ),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def secret_of(row: Mapping[Any, Any]) -> Secret:
    """The secret in a row that has its columns."""
    return Secret(
        n=row["n"],
        kid=row["kid"],
        sealed=row["secret"],
        created_at=row["created_at"],
        signs_from=row["signs_from"],
        expires_at=row["expires_at"],
    )
