"""Tidies up expired holds. Nothing depends on it: expiry is decided at the moment of use."""

from shared.db import Database

from points_ledger.holds import queries
from points_ledger.holds.releasing import SLICE, Releasing
from points_ledger.store import AccountKey


async def sweep(database: Database, releasing: Releasing) -> int:
    """Releases a slice of the expired holds and returns their number. Several replicas may sweep at once."""
    async with database.transaction() as connection:
        due = await queries.users_with_expired_holds(connection, SLICE)
    return await releasing.release([AccountKey(*account) for account in due]) if due else 0
