"""Every statement about handshakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
from shared.tenant_statements import fetch, only_tenant, statement
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.handshake.handshakes.domain import Handshake, Outcome
from partner_onboarding.handshake.tables import handshakes
from partner_onboarding.register.tables import clients, tenants
from partner_onboarding.schema import SCHEMA


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


async def add_handshake(
    connection: AsyncConnection, new: NewHandshake, created_at: datetime, expires_at: datetime
) -> None:
    await connection.execute(
        insert(handshakes).values(
            tenant=new.tenant,
            client_id=new.client_id,
            register_hash=new.register_hash,
            authorization_hash=new.authorization_hash,
            authorization_code=new.sealed_code,
            hint=new.hint,
            created_at=created_at,
            expires_at=expires_at,
        )
    )


#: Many, on a plain asyncpg connection, for the line: SQLAlchemy would take a third of the time.
_ADD_ALL: Final = statement(
    f"""
    INSERT INTO {SCHEMA}.handshakes
        (tenant, client_id, register_hash, authorization_hash, authorization_code, hint, created_at, expires_at)
    SELECT «given», given.client_id, given.register_hash, given.authorization_hash, given.sealed_code, given.hint,
      now(), now() + $7::interval
    FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[])
      AS given (tenant, client_id, register_hash, authorization_hash, sealed_code, hint)
    RETURNING expires_at
    """,  # noqa: S608 — the schema's name is a constant
    7,
)


async def add_handshakes(connection: asyncpg.Connection, new: Sequence[NewHandshake], lifetime: timedelta) -> datetime:
    """Adds a whole batch in one statement. Returns when all of them expire."""
    tenants = [one.tenant for one in new]
    rows = await fetch(
        connection,
        _ADD_ALL,
        only_tenant(connection, tenants),
        tenants,
        [one.client_id for one in new],
        [one.register_hash for one in new],
        [one.authorization_hash for one in new],
        [one.sealed_code for one in new],
        [one.hint for one in new],
        lifetime,
    )
    expires_at: datetime = rows[0]["expires_at"]
    return expires_at


async def all_tenants(connection: AsyncConnection) -> list[str]:
    return list((await connection.execute(select(tenants.c.tenant))).scalars())


async def tenant_of(connection: AsyncConnection, register_hash: bytes) -> str | None:
    """Whose a public code is that does not say it. It looks across tenants."""
    query = select(handshakes.c.tenant).where(handshakes.c.register_hash == register_hash)
    tenant: str | None = (await connection.execute(query)).scalar_one_or_none()
    return tenant


async def find_handshake(
    connection: AsyncConnection, tenant: str, register_hash: bytes, *, lock: bool = False
) -> Handshake | None:
    """The handshake of a public code of the tenant."""
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
        .where(handshakes.c.tenant == tenant, handshakes.c.register_hash == register_hash)
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
