"""The statements about notices."""

import secrets

from shared.web.languages import LANGUAGES
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.notices.domain import Kind
from partner_onboarding.register.tables import mails

_UNKNOWN_LANGUAGE = next(iter(LANGUAGES))


async def add(
    connection: AsyncConnection,
    tenant: str,
    user_id: str,
    kind: Kind,
    language: str | None = None,
    *,
    recipient: bytes | None = None,
) -> None:
    """Requests a mail, in the transaction of its cause.

    Args:
        language: without it, that of the person's last mail.
        recipient: a sealed address, where the mail goes to another than the user's present one.
    """
    if language is None:
        language = await _last_language(connection, tenant, user_id) or _UNKNOWN_LANGUAGE
    await connection.execute(
        insert(mails).values(
            tenant=tenant,
            mail_id=secrets.token_hex(8),
            user_id=user_id,
            kind=kind,
            language=language,
            recipient=recipient,
        )
    )


async def _last_language(connection: AsyncConnection, tenant: str, user_id: str) -> str | None:
    query = select(mails.c.language).where(mails.c.tenant == tenant, mails.c.user_id == user_id)
    found: str | None = (await connection.execute(query.order_by(mails.c.created_at.desc()).limit(1))).scalar()
    return found
