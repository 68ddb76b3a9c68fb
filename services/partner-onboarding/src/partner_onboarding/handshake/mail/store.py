"""Every statement about mails."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.handshake.mail.domain import TURN, Mail
from partner_onboarding.register.tables import mails


async def due_mails(connection: AsyncConnection, now: datetime, limit: int) -> list[Mail]:
    rows = await connection.execute(
        select(mails).where(mails.c.next_attempt_at <= now).order_by(mails.c.next_attempt_at).limit(limit)
    )
    return [_mail(row) for row in rows]


async def waiting(connection: AsyncConnection) -> tuple[int, datetime | None]:
    """How many mails are not sent yet, also those that are tried again later, and when the oldest was ordered."""
    row = (
        await connection.execute(
            select(func.count(), func.min(mails.c.created_at)).where(mails.c.next_attempt_at.is_not(None))
        )
    ).one()
    return int(row[0]), row[1]


async def take(connection: AsyncConnection, mail: Mail, now: datetime) -> bool:
    """Takes a mail for sending; False if another replica was faster."""
    result = await connection.execute(
        update(mails)
        .where(*_is(mail), mails.c.next_attempt_at == mail.next_attempt_at)
        .values(next_attempt_at=now + TURN, attempts=mail.attempts + 1)
    )
    return bool(result.rowcount)


async def set_token(connection: AsyncConnection, mail: Mail, token_hash: bytes) -> None:
    await connection.execute(update(mails).where(*_is(mail)).values(token_hash=token_hash))


async def set_sent(connection: AsyncConnection, mail: Mail, at: datetime) -> None:
    await connection.execute(update(mails).where(*_is(mail)).values(sent_at=at, next_attempt_at=None))


async def set_next_attempt(connection: AsyncConnection, mail: Mail, at: datetime | None) -> None:
    await connection.execute(update(mails).where(*_is(mail)).values(next_attempt_at=at))


async def user_of_token(connection: AsyncConnection, tenant: str, token_hash: bytes) -> str | None:
    """The user that the link with this token was mailed to."""
    user_id: str | None = (
        await connection.execute(
            select(mails.c.user_id).where(mails.c.tenant == tenant, mails.c.token_hash == token_hash)
        )
    ).scalar_one_or_none()
    return user_id


async def mails_to(connection: AsyncConnection, tenant: str, user_id: str) -> list[tuple[Mail, datetime | None]]:
    """All mails to a person that are kept, oldest first, each with the time at which it was sent."""
    query = select(mails).where(mails.c.tenant == tenant, mails.c.user_id == user_id)
    rows = await connection.execute(query.order_by(mails.c.created_at, mails.c.mail_id))
    return [(_mail(row), row.sent_at) for row in rows]


async def count_links(
    connection: AsyncConnection, tenant: str, user_id: str, since: datetime, since_earlier: datetime
) -> tuple[int, int]:
    """How many mails about the address were requested since each of two instants, of which the first is the later."""
    is_later = mails.c.created_at > since
    row = (
        await connection.execute(
            select(func.count().filter(is_later), func.count()).where(
                mails.c.tenant == tenant,
                mails.c.user_id == user_id,
                mails.c.kind.in_(("confirm_address", "address_known")),
                mails.c.created_at > since_earlier,
            )
        )
    ).one()
    return int(row[0]), int(row[1])


def _is(mail: Mail) -> tuple[ColumnElement[bool], ...]:
    return mails.c.tenant == mail.tenant, mails.c.mail_id == mail.mail_id


def _mail(row: Row[Any]) -> Mail:
    return Mail(
        tenant=row.tenant,
        mail_id=row.mail_id,
        user_id=row.user_id,
        kind=row.kind,
        language=row.language,
        created_at=row.created_at,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        recipient=row.recipient,
        facts=row.facts,
    )
