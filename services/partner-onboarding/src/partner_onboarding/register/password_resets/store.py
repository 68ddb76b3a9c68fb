"""The statements about links to another password; the links lie with their mails."""

from datetime import datetime
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.password_resets.domain import LIFETIME, ResetToken
from partner_onboarding.register.tables import mails

_KIND: Final = "password_forgotten"


async def count_mails(
    connection: AsyncConnection, tenant: str, user_id: str, since: datetime, since_earlier: datetime
) -> tuple[int, int]:
    """How many links were requested since each of two instants, of which the first is the later."""
    row = (
        await connection.execute(
            select(func.count().filter(mails.c.created_at > since), func.count()).where(
                mails.c.tenant == tenant,
                mails.c.user_id == user_id,
                mails.c.kind == _KIND,
                mails.c.created_at > since_earlier,
            )
        )
    ).one()
    return int(row[0]), int(row[1])


async def find_user_id(connection: AsyncConnection, token: ResetToken) -> str | None:
    """The user to whom this link was mailed, while it is good; time is the database's."""
    mailed_at = func.coalesce(mails.c.sent_at, mails.c.created_at)
    user_id: str | None = (
        await connection.execute(
            select(mails.c.user_id).where(
                mails.c.tenant == token.tenant,
                mails.c.token_hash == token.digest,
                mails.c.kind == _KIND,
                mailed_at > func.now() - LIFETIME,
            )
        )
    ).scalar_one_or_none()
    return user_id


async def end_links(connection: AsyncConnection, tenant: str, user_id: str) -> None:
    """Ends all links to another password of a person, and those whose mails still wait."""
    await connection.execute(
        update(mails)
        .where(mails.c.tenant == tenant, mails.c.user_id == user_id, mails.c.kind == _KIND)
        .values(token_hash=None, next_attempt_at=None)
    )
