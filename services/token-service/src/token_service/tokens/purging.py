"""Deletes old tokens. An expired token is refused as expired also without its row."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from token_service.tables import import_references, token_refusals, tokens


async def purge(connection: AsyncConnection, tenant: str, retention: timedelta, limit: int) -> int:
    """Deletes at most `limit` tokens that expired longer than `retention` ago; returns their number.

    Statistics of campaigns stay.
    """
    columns = tokens.c
    cutoff = sa.func.now() - retention
    due = (
        sa.select(columns.tenant, columns.key_number, columns.sequence)
        .where(columns.tenant == tenant, columns.expires_at < cutoff)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    purged = (
        sa.delete(tokens)
        .where(*(columns[name] == due.c[name] for name in ("tenant", "key_number", "sequence")))
        .returning(columns.tenant, columns.key_number, columns.sequence)
        .cte("purged")
    )
    refusals = (
        sa.delete(token_refusals)
        .where(*(token_refusals.c[name] == purged.c[name] for name in ("tenant", "key_number", "sequence")))
        .returning(sa.literal(1))
        .cte("refusals")
    )
    statement: Any = sa.select(sa.func.count()).select_from(purged).add_cte(refusals)
    count = int(await connection.scalar(statement) or 0)
    await connection.execute(
        sa.delete(import_references).where(
            import_references.c.tenant == tenant, import_references.c.expires_at < cutoff
        )
    )
    return count
