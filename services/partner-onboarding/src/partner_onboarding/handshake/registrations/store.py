"""Every statement about agreements."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.handshake.tables import agreements


async def add_agreements(
    connection: AsyncConnection, tenant: str, user_id: str, versions: Mapping[str, str], language: str, at: datetime
) -> None:
    """Stores a person's agreement to these versions of the documents, in this language."""
    await connection.execute(
        insert(agreements),
        [
            {
                "tenant": tenant,
                "user_id": user_id,
                "document": document,
                "version": version,
                "language": language,
                "agreed_at": at,
            }
            for document, version in versions.items()
        ],
    )


async def agreements_of(connection: AsyncConnection, tenant: str, user_id: str) -> list[tuple[str, str, str, datetime]]:
    """Document, version, language and time of a person's agreements, oldest first."""
    rows = await connection.execute(
        select(agreements)
        .where(agreements.c.tenant == tenant, agreements.c.user_id == user_id)
        .order_by(agreements.c.agreed_at, agreements.c.document)
    )
    return [(row.document, row.version, row.language, row.agreed_at) for row in rows]
