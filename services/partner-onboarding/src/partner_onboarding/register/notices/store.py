"""The statements about notices."""

import secrets
from datetime import timedelta
from typing import Final

from shared.web.languages import LANGUAGES
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.notices.domain import Kind
from partner_onboarding.register.tables import mails, users

UNKNOWN_LANGUAGE: Final = next(iter(LANGUAGES))


async def add(
    connection: AsyncConnection,
    tenant: str,
    user_id: str | None,
    kind: Kind,
    language: str | None = None,
    *,
    recipient: bytes | None = None,
    facts: bytes | None = None,
    mail_id: str | None = None,
) -> None:
    """Requests a mail, in the transaction of its cause.

    Args:
        user_id: None for somebody without an account, whose address is `recipient`.
        language: without it, that of the person's last mail.
        recipient: a sealed address, where the mail goes to another than the user's present one.
        facts: sealed: what the text names.
        mail_id: where something is sealed for this mail; else a new one.
    """
    if language is None:
        language = await _last_language(connection, tenant, user_id)
    await connection.execute(
        insert(mails).values(
            tenant=tenant,
            mail_id=mail_id or secrets.token_hex(8),
            user_id=user_id,
            kind=kind,
            language=language,
            recipient=recipient,
            facts=facts,
        )
    )


async def add_unless_waiting(
    connection: AsyncConnection, tenant: str, user_id: str, kind: Kind, pause_seconds: int
) -> None:
    """Requests a mail unless one of this kind waits; it waits itself until the pause after the last one is over."""
    of_kind = (mails.c.tenant == tenant, mails.c.user_id == user_id, mails.c.kind == kind)
    last = (
        await connection.execute(
            select(mails.c.created_at, mails.c.next_attempt_at.is_not(None).label("waits"))
            .where(*of_kind)
            .order_by(mails.c.created_at.desc())
            .limit(1)
        )
    ).one_or_none()
    if last is not None and last.waits:
        return
    due = func.now() if last is None else func.greatest(func.now(), last.created_at + timedelta(seconds=pause_seconds))
    await connection.execute(
        insert(mails).values(
            tenant=tenant,
            mail_id=secrets.token_hex(8),
            user_id=user_id,
            kind=kind,
            language=await _last_language(connection, tenant, user_id),
            next_attempt_at=due,
        )
    )


async def operators(connection: AsyncConnection, tenant: str, at_most: int) -> list[str]:
    """The ids of the operators of a tenant who can sign in."""
    query = (
        select(users.c.user_id)
        .where(
            users.c.tenant == tenant,
            users.c.roles != [],
            users.c.roles.contains(["operator"]),
            users.c.disabled_at.is_(None),
            users.c.password_hash.is_not(None),
        )
        .order_by(users.c.user_id)
        .limit(at_most)
    )
    return list((await connection.execute(query)).scalars())


async def _last_language(connection: AsyncConnection, tenant: str, user_id: str | None) -> str:
    query = select(mails.c.language).where(mails.c.tenant == tenant, mails.c.user_id == user_id)
    found: str | None = (await connection.execute(query.order_by(mails.c.created_at.desc()).limit(1))).scalar()
    return found or UNKNOWN_LANGUAGE
