"""Looks at all open holds now and then: for the metrics, and for vendors that have too many."""

from typing import Final

import structlog
from prometheus_client import Gauge
from shared.db import Database
from shared.reports import Reports
from shared.tenant_walk import TenantWalk

from points_ledger.holds import queries

_oldest = Gauge("ledger_oldest_hold_seconds", "Age of the oldest open hold.")
_held = Gauge("ledger_held_points", "Points of all open holds.")
_overdue = Gauge("ledger_overdue_holds", "Holds that ended more than a minute ago and are not released.")
_share = Gauge("ledger_greatest_held_share", "The tenant with the greatest part of its points held: that part.")
_silent = Gauge(
    "ledger_vendors_that_never_confirm",
    "Vendors of whose last holds within a day none ended by a confirm; see the log.",
)

#: With fewer ended holds nothing is said of a vendor.
ENOUGH_HOLDS: Final = 20
_log = structlog.get_logger("holds")


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
        _overdue.set(holds.overdue)


class VendorsWatch:
    """Looks seldom at what takes longer: vendors that never confirm, and how much of a tenant's points is held.

    Args:
        tenants: where the tables are distributed, so that each tenant is looked at by itself.
    """

    def __init__(self, reports: Reports, tenants: TenantWalk | None = None) -> None:
        self._reports = reports
        self._tenants = tenants
        self._silent: frozenset[tuple[str, str]] = frozenset()

    async def look(self) -> None:
        """Names a vendor in the log once for each time that it falls silent."""
        silent = await self._find_silent()
        async with self._reports.slice(may_be_old=True) as connection:
            shares = await queries.held_shares(connection)
        for tenant, vendor_id in sorted(silent - self._silent):
            _log.warning("a vendor never confirms", tenant=tenant, vendor_id=vendor_id)
        self._silent = silent
        _silent.set(len(silent))
        _share.set(max(shares.values(), default=0.0))

    async def _find_silent(self) -> frozenset[tuple[str, str]]:
        if self._tenants is None:
            async with self._reports.slice(may_be_old=True) as connection:
                return await queries.vendors_that_never_confirm(connection, at_least=ENOUGH_HOLDS)
        silent: frozenset[tuple[str, str]] = frozenset()
        for tenant in await self._tenants.tenants():
            async with self._reports.slice(may_be_old=True) as connection:
                silent |= await queries.vendors_of_one_that_never_confirm(connection, tenant, at_least=ENOUGH_HOLDS)
        return silent
