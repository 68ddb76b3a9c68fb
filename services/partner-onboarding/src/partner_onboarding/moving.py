"""The clock of a sandbox tenant: its codes and mailed links end earlier."""

import sqlalchemy as sa
from shared.sandboxes.domain import Advance
from shared.sandboxes.moving import ending_earlier, moved
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.handshake.tables import handshakes
from partner_onboarding.register.tables import mails
from partner_onboarding.third_parties.tables import authorization_codes


async def move_codes(connection: AsyncConnection, advance: Advance) -> None:
    """Moves all at once: a code lives for an hour at most, so there are few."""
    codes = handshakes.c
    await connection.execute(
        sa.update(handshakes)
        .where(codes.tenant == advance.tenant, codes.created_at <= advance.moved_at, codes.redeemed_at.is_(None))
        # What is linked can be redeemed for some time from then on.
        .values(expires_at=ending_earlier(codes.expires_at, advance), ended_at=moved(codes.ended_at, advance))
    )
    granted = authorization_codes.c
    await connection.execute(
        sa.update(authorization_codes)
        .where(granted.tenant == advance.tenant, granted.redeemed_at.is_(None))
        .values(expires_at=ending_earlier(granted.expires_at, advance))
    )
    await connection.execute(
        sa.update(mails)
        .where(
            mails.c.tenant == advance.tenant, mails.c.created_at <= advance.moved_at, mails.c.token_hash.is_not(None)
        )
        .values(sent_at=moved(mails.c.sent_at, advance), created_at=moved(mails.c.created_at, advance))
    )
