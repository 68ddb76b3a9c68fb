"""The clock of a sandbox tenant: its open holds end earlier."""

from typing import Final

import sqlalchemy as sa
from shared.sandboxes.domain import Advance
from shared.sandboxes.moving import ending_earlier
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.tables import HELD, accounts, transactions

#: Accounts that one transaction locks.
_ACCOUNTS_AT_ONCE: Final = 50


async def move_holds(connection: AsyncConnection, advance: Advance) -> str | None:
    """Lets the open holds of some accounts end earlier; none ends before the present moment.

    Accounts are locked first and in order, as by the lanes: then nobody decides on an end that is about to change.
    """
    columns = accounts.c
    next_accounts = (
        sa.select(columns.user_id)
        .where(columns.tenant == advance.tenant, columns.held > 0, columns.user_id > (advance.place or ""))
        .order_by(columns.user_id)
        .limit(_ACCOUNTS_AT_ONCE)
        .with_for_update(key_share=True)
    )
    users: list[str] = list(await connection.scalars(next_accounts))
    if not users:
        return None
    holds = transactions.c
    await connection.execute(
        sa.update(transactions)
        .where(
            HELD,
            holds.tenant == advance.tenant,
            holds.user_id.in_(users),
            holds.created_at <= advance.moved_at,
        )
        .values(expires_at=ending_earlier(holds.expires_at, advance))
    )
    return users[-1]
