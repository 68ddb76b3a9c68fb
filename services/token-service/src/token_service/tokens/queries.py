"""Statements on tokens off the hot path. Connection first."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from token_service.tables import token_refusals, tokens
from token_service.tokens.domain import TokenId
from token_service.tokens.format import expiry_minute_of


async def revoke_token(
    connection: AsyncConnection, token_id: TokenId, expiry_minute: int
) -> tuple[datetime | None, bool]:
    """Revokes a token.

    Returns since when it is revoked (None if there is no such token), and whether it was revoked just now.
    """
    columns = tokens.c
    is_it = sa.and_(
        columns.tenant == token_id.tenant,
        columns.key_number == token_id.key_number,
        columns.sequence == token_id.sequence,
    )
    row = (
        await connection.execute(
            sa.select(columns.expires_at, columns.first_expires_at, columns.revoked_at).where(is_it).with_for_update()
        )
    ).first()
    if row is None or expiry_minute_of(row.first_expires_at or row.expires_at) != expiry_minute:
        return None, False
    statement = (
        sa.update(tokens)
        .where(is_it)
        .values(revoked_at=row.revoked_at or sa.func.statement_timestamp())
        .returning(columns.revoked_at)
    )
    revoked_at: datetime | None = await connection.scalar(statement)
    return revoked_at, row.revoked_at is None


async def read_refusals(connection: AsyncConnection, token_id: TokenId) -> dict[str, int]:
    """Refusals by reason."""
    columns = token_refusals.c
    statement = (
        sa.select(columns.reason, columns.count)
        .where(
            columns.tenant == token_id.tenant,
            columns.key_number == token_id.key_number,
            columns.sequence == token_id.sequence,
        )
        .order_by(columns.reason)
    )
    return {row.reason: row[1] for row in await connection.execute(statement)}
