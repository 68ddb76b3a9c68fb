"""The statement about notices."""

import secrets

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.notices.domain import Kind
from partner_onboarding.register.tables import mails


async def add(connection: AsyncConnection, tenant: str, user_id: str, kind: Kind, language: str) -> None:
    """Requests a mail, in the transaction of its cause."""
    await connection.execute(
        insert(mails).values(tenant=tenant, mail_id=secrets.token_hex(8), user_id=user_id, kind=kind, language=language)
    )
