"""Redemptions in the database."""

from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.redemptions.domain import Redemption
from sso_issuer.tables import redemptions


async def append(connection: AsyncConnection, redemption: Redemption) -> bool:
    """Appends the redemption if the token has none. Of many calls at once, one returns True."""
    statement = (
        postgresql.insert(redemptions)
        .values(**asdict(redemption), redeemed_at=sa.func.clock_timestamp())
        .on_conflict_do_nothing()
    )
    return (await connection.execute(statement.returning(redemptions.c.jti))).first() is not None
