"""Redemptions in the database."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final

import asyncpg
import sqlalchemy as sa
from shared.events.domain import NewEvent
from shared.events.outbox import columns_of, recording
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.redemptions.domain import Redemption
from sso_issuer.tables import redemptions

_APPEND: Final = """
    INSERT INTO sso_issuer.redemptions (tenant, jti, client_id, request_id, points_now, redeemed_at)
    SELECT tenant, jti, client_id, request_id, points_now, clock_timestamp()
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
      AS brought(tenant, jti, client_id, request_id, points_now)
    ON CONFLICT DO NOTHING RETURNING tenant, jti
"""
_REDEEMED_AT: Final = """
    SELECT redemptions.tenant, redemptions.jti, redemptions.redeemed_at
    FROM unnest($1::text[], $2::text[]) AS asked (tenant, jti)
      JOIN sso_issuer.redemptions ON redemptions.tenant = asked.tenant AND redemptions.jti = asked.jti
"""
_RECORD: Final = recording("sso_issuer")


async def append_all(connection: asyncpg.Connection, redemptions: Sequence[Redemption]) -> set[tuple[str, str]]:
    """Appends redemptions of different tokens; returns (tenant, jti) of those whose token had none."""
    # Sorted, so that two batches cannot deadlock.
    ordered = sorted(redemptions, key=lambda redemption: (redemption.tenant, redemption.jti))
    rows = await connection.fetch(
        _APPEND,
        [redemption.tenant for redemption in ordered],
        [redemption.jti for redemption in ordered],
        [redemption.client_id for redemption in ordered],
        [redemption.request_id for redemption in ordered],
        [redemption.points_now for redemption in ordered],
    )
    return {(row["tenant"], row["jti"]) for row in rows}


async def read_redeemed_at(
    connection: asyncpg.Connection, asked: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], datetime]:
    """When tokens were redeemed, by tenant and jti."""
    rows = await connection.fetch(_REDEEMED_AT, [tenant for tenant, _ in asked], [jti for _, jti in asked])
    return {(row["tenant"], row["jti"]): row["redeemed_at"] for row in rows}


async def record_all(connection: asyncpg.Connection, events: Iterable[tuple[str, NewEvent]]) -> None:
    """Records events of any tenants."""
    await connection.execute(_RECORD, *columns_of(events))


async def append(connection: AsyncConnection, redemption: Redemption) -> bool:
    """Appends the redemption if the token has none. Of many calls at once, one returns True."""
    statement = (
        postgresql.insert(redemptions)
        .values(**asdict(redemption), redeemed_at=sa.func.clock_timestamp())
        .on_conflict_do_nothing()
    )
    return (await connection.execute(statement.returning(redemptions.c.jti))).first() is not None
