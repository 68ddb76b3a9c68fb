"""Every statement about handshakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import ARRAY, LargeBinary, Row, Text, bindparam, delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.handshake.handshakes.domain import Handshake, Outcome
from partner_onboarding.handshake.tables import handshakes
from partner_onboarding.register.tables import clients, tenants
from partner_onboarding.schema import SCHEMA, WHEN


@dataclass(frozen=True, slots=True)
class NewHandshake:
    """A row to be added."""

    tenant: str
    client_id: str
    register_hash: bytes
    authorization_hash: bytes
    sealed_code: bytes
    hint: str | None


@dataclass(frozen=True, slots=True)
class Redeemable:
    """The user behind a private code."""

    register_hash: bytes
    user_id: str | None
    outcome: Outcome | None
    expires_at: datetime
    ended_at: datetime | None
    redeemed_at: datetime | None


_ADD = text(
    f"""
    INSERT INTO {SCHEMA}.handshakes
        (tenant, client_id, register_hash, authorization_hash, authorization_code, hint, created_at, expires_at)
    SELECT given.*, :created_at, :expires_at
    FROM unnest(:tenants, :client_ids, :register_hashes, :authorization_hashes, :sealed_codes, :hints) AS given
    """  # noqa: S608 — the schema's name is a constant
).bindparams(
    bindparam("tenants", type_=ARRAY(Text)),
    bindparam("client_ids", type_=ARRAY(Text)),
    bindparam("register_hashes", type_=ARRAY(LargeBinary)),
    bindparam("authorization_hashes", type_=ARRAY(LargeBinary)),
    bindparam("sealed_codes", type_=ARRAY(LargeBinary)),
    bindparam("hints", type_=ARRAY(Text)),
    bindparam("created_at", type_=WHEN),
    bindparam("expires_at", type_=WHEN),
)


async def add_handshakes(
    connection: AsyncConnection, new: Sequence[NewHandshake], created_at: datetime, expires_at: datetime
) -> None:
    """Adds a whole batch in one statement."""
    await connection.execute(
        _ADD,
        {
            "tenants": [one.tenant for one in new],
            "client_ids": [one.client_id for one in new],
            "register_hashes": [one.register_hash for one in new],
            "authorization_hashes": [one.authorization_hash for one in new],
            "sealed_codes": [one.sealed_code for one in new],
            "hints": [one.hint for one in new],
            "created_at": created_at,
            "expires_at": expires_at,
        },
    )


#: The same on a plain asyncpg connection, for the line: SQLAlchemy would take a third of the time.
_ADD_FAST = f"""
    INSERT INTO {SCHEMA}.handshakes
        (tenant, client_id, register_hash, authorization_hash, authorization_code, hint, created_at, expires_at)
    SELECT given.*, now(), now() + $7::interval
    FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[]) AS given
    RETURNING expires_at
    """  # noqa: S608 — the schema's name is a constant


async def add_handshakes_fast(
    connection: asyncpg.Connection, new: Sequence[NewHandshake], lifetime: timedelta
) -> datetime:
    """Adds a whole batch in one statement. Returns when all of them expire."""
    expires_at: datetime = await connection.fetchval(
        _ADD_FAST,
        [one.tenant for one in new],
        [one.client_id for one in new],
        [one.register_hash for one in new],
        [one.authorization_hash for one in new],
        [one.sealed_code for one in new],
        [one.hint for one in new],
        lifetime,
    )
    return expires_at


async def find_handshake(connection: AsyncConnection, register_hash: bytes, *, lock: bool = False) -> Handshake | None:
    """The handshake of a public code. It looks across tenants, since a browser does not know the tenant."""
    if lock:
        # Locked by its key: no server can lock among the rows of all.
        of_code = select(handshakes.c.tenant).where(handshakes.c.register_hash == register_hash)
        tenant = (await connection.execute(of_code)).scalar_one_or_none()
        if tenant is None:
            return None
        is_it = (handshakes.c.tenant == tenant) & (handshakes.c.register_hash == register_hash)
    else:
        is_it = handshakes.c.register_hash == register_hash
    query = (
        select(
            handshakes,
            tenants.c.name.label("tenant_name"),
            clients.c.name.label("partner_name"),
            clients.c.landing_url,
            clients.c.disabled_at,
        )
        .join(clients, (clients.c.tenant == handshakes.c.tenant) & (clients.c.client_id == handshakes.c.client_id))
        .join(tenants, tenants.c.tenant == handshakes.c.tenant)
        .where(is_it)
    )
    row = (await connection.execute(query.with_for_update(of=handshakes) if lock else query)).one_or_none()
    return _handshake(row) if row is not None else None


async def claim(connection: AsyncConnection, handshake: Handshake, user_id: str) -> None:
    """Reserves the code for one person."""
    await connection.execute(update(handshakes).where(*_is(handshake)).values(user_id=user_id))


async def end(
    connection: AsyncConnection, handshake: Handshake, outcome: Outcome, user_id: str | None, at: datetime
) -> None:
    await connection.execute(
        update(handshakes).where(*_is(handshake)).values(outcome=outcome, user_id=user_id, ended_at=at)
    )


async def lock_by_authorization(
    connection: AsyncConnection, tenant: str, client_id: str, authorization_hash: bytes
) -> Redeemable | None:
    row = (
        await connection.execute(
            select(handshakes)
            .where(
                handshakes.c.tenant == tenant,
                handshakes.c.client_id == client_id,
                handshakes.c.authorization_hash == authorization_hash,
            )
            .with_for_update()
        )
    ).one_or_none()
    if row is None:
        return None
    return Redeemable(row.register_hash, row.user_id, row.outcome, row.expires_at, row.ended_at, row.redeemed_at)


async def set_redeemed(connection: AsyncConnection, tenant: str, register_hash: bytes, at: datetime) -> None:
    await connection.execute(
        update(handshakes)
        .where(handshakes.c.tenant == tenant, handshakes.c.register_hash == register_hash)
        .values(redeemed_at=at)
    )


async def delete_before(connection: AsyncConnection, moment: datetime) -> int:
    """Deletes handshakes that expired before `moment`; returns their number."""
    result = await connection.execute(delete(handshakes).where(handshakes.c.expires_at < moment))
    return result.rowcount


def _is(handshake: Handshake) -> tuple[Any, Any]:
    return handshakes.c.tenant == handshake.tenant, handshakes.c.register_hash == handshake.register_hash


def _handshake(row: Row[Any]) -> Handshake:
    return Handshake(
        tenant=row.tenant,
        tenant_name=row.tenant_name,
        client_id=row.client_id,
        partner_name=row.partner_name,
        partner_is_there=row.disabled_at is None,
        landing_url=row.landing_url,
        register_hash=row.register_hash,
        sealed_code=row.authorization_code,
        hint=row.hint,
        expires_at=row.expires_at,
        user_id=row.user_id,
        outcome=row.outcome,
    )
