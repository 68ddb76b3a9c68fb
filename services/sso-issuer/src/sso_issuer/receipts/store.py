"""Keys of receipts in the database. The service may add public halves; it can neither change nor delete one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.keys.material import KeyPair
from sso_issuer.receipts.domain import ReceiptKey
from sso_issuer.tables import leaked_receipt_keys, receipt_keys, receipt_signers


class Signer(NamedTuple):
    """The key that signs, with its sealed private half, and the time."""

    kid: str
    sealed: bytes
    now: datetime


async def read_signer(connection: AsyncConnection, tenant: str) -> Signer | None:
    columns = receipt_signers.c
    query = sa.select(columns.kid, columns.private_key, sa.func.clock_timestamp()).where(columns.tenant == tenant)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Signer(*row)


async def read_clock(connection: AsyncConnection) -> datetime:
    now: datetime = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    return now


async def lock_signer(connection: AsyncConnection, tenant: str) -> str | None:
    """Locks the row of the key that signs; its kid."""
    locked = sa.select(receipt_signers.c.kid).filter_by(tenant=tenant).with_for_update()
    kid: str | None = await connection.scalar(locked)
    return kid


async def add_key(connection: AsyncConnection, tenant: str, pair: KeyPair) -> None:
    now = sa.func.clock_timestamp()
    values = {"tenant": tenant, "kid": pair.kid, "public_jwk": pair.public_jwk, "created_at": now}
    await connection.execute(sa.insert(receipt_keys).values(values))


async def take_back(connection: AsyncConnection, tenant: str, jwk: Mapping[str, Any]) -> bool:
    """Adds the public half of a key that a restored database lacks; False if it has it."""
    public = {name: value for name, value in jwk.items() if name != "revoked"}
    values = {"tenant": tenant, "kid": jwk["kid"], "public_jwk": public, "created_at": sa.func.clock_timestamp()}
    insert = postgresql.insert(receipt_keys).values(values).on_conflict_do_nothing()
    return (await connection.execute(insert.returning(receipt_keys.c.kid))).first() is not None


async def put_first_signer(connection: AsyncConnection, tenant: str, kid: str, sealed: bytes) -> bool:
    """False if the tenant has one already."""
    insert = postgresql.insert(receipt_signers).values(tenant=tenant, kid=kid, private_key=sealed)
    result = await connection.execute(insert.on_conflict_do_nothing().returning(receipt_signers.c.kid))
    return result.first() is not None


async def replace_signer(connection: AsyncConnection, tenant: str, kid: str, sealed: bytes) -> None:
    """The former private half is gone with it. A tenant whose keys were only taken back has none before."""
    values = {"kid": kid, "private_key": sealed}
    insert = postgresql.insert(receipt_signers).values(tenant=tenant, **values)
    await connection.execute(insert.on_conflict_do_update(index_elements=["tenant"], set_=values))


async def mark_leaked(connection: AsyncConnection, tenant: str, kid: str) -> bool:
    """Whether it was not marked before: the first time counts."""
    values = {"tenant": tenant, "kid": kid, "leaked_at": sa.func.clock_timestamp()}
    insert = postgresql.insert(leaked_receipt_keys).values(values).on_conflict_do_nothing()
    return (await connection.execute(insert.returning(leaked_receipt_keys.c.kid))).first() is not None


async def has_key(connection: AsyncConnection, tenant: str, kid: str) -> bool:
    query = sa.select(receipt_keys.c.kid).filter_by(tenant=tenant, kid=kid)
    return (await connection.execute(query)).first() is not None


async def read_published(connection: AsyncConnection, tenant: str | None) -> list[dict[str, object]]:
    """The public halves of all keys that ever signed receipts of a tenant, the oldest first.

    One that leaked says so in the form of OpenID Federation (`revoked`), which other readers pass over.
    """
    keys = receipt_keys.c
    leaked_at = leaked_receipt_keys.c.leaked_at
    query = (
        sa.select(keys.public_jwk, leaked_at)
        .select_from(receipt_keys.outerjoin(leaked_receipt_keys))
        .where(keys.tenant == tenant)
        .order_by(keys.created_at, keys.kid)
    )
    return [
        row.public_jwk if row.leaked_at is None else row.public_jwk | {"revoked": _revoked(row.leaked_at)}
        for row in await connection.execute(query)
    ]


async def list_keys(connection: AsyncConnection, tenant: str | None) -> Sequence[ReceiptKey]:
    """The keys of a tenant, or of all, the oldest first."""
    keys = receipt_keys.c
    query = (
        sa.select(
            keys.tenant,
            keys.kid,
            keys.created_at,
            receipt_signers.c.kid.is_not(None).label("signs"),
            leaked_receipt_keys.c.leaked_at,
        )
        .select_from(receipt_keys.outerjoin(receipt_signers).outerjoin(leaked_receipt_keys))
        .order_by(keys.tenant, keys.created_at, keys.kid)
    )
    if tenant is not None:
        query = query.where(keys.tenant == tenant)
    return [ReceiptKey(**row._mapping) for row in await connection.execute(query)]


def _revoked(leaked_at: datetime) -> dict[str, object]:
    return {"revoked_at": int(leaked_at.timestamp()), "reason": "compromised"}
