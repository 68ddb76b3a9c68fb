"""Looks at all open holds now and then: for the metrics, and for vendors that have too many."""

from prometheus_client import Gauge
from shared.db import Database

from points_ledger.holds import queries

_oldest = Gauge("ledger_oldest_hold_seconds", "Age of the oldest open hold.")
_held = Gauge("ledger_held_points", "Points of all open holds.")


class HoldsWatch:
    """One in a process.

    Args:
        max_of_vendor: with so many open holds over all accounts a vendor is full.
    """

    def __init__(self, database: Database, *, max_of_vendor: int) -> None:
        self._database = database
        self._max_of_vendor = max_of_vendor
        self._full: frozenset[tuple[str, str]] = frozenset()

    def is_full(self, tenant: str, vendor_id: str) -> bool:
        """Whether the vendor had too many open holds at the last look."""
        return (tenant, vendor_id) in self._full

    async def look(self) -> None:
        """Reads all open holds."""
        async with self._database.transaction() as connection:
            holds = await queries.open_holds(connection)
            self._full = await queries.vendors_with_open_holds(connection, at_least=self._max_of_vendor)
        _held.set(holds.points)
        _oldest.set(holds.oldest_seconds)
