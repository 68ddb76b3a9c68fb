"""The use cases of bills: assign due months, and add them up."""

from datetime import date, datetime
from typing import Final

from shared.db import Database
from shared.events.outbox import record
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.clock import Clock
from partner_onboarding.handshake.links import assignments
from partner_onboarding.handshake.links import store as links_store
from partner_onboarding.handshake.links.domain import Link
from partner_onboarding.handshake.links.events import assignment_made
from partner_onboarding.handshake.links.periods import Bill, period_start, periods_due
from partner_onboarding.register.tables import events

_BATCH: Final = 200


async def assign_periods(connection: AsyncConnection, link: Link, *, until: datetime) -> int:
    """Assigns every period of a link that began by `until`; returns their number. The caller has locked the link.

    A month that an earlier link of the person was billed for is not assigned again, and nothing tells of it.
    """
    if link.activated_at is None:
        return 0
    due = periods_due(link.activated_at, link.months_assigned, until)
    if not due:
        return 0
    begun = link.months_assigned + len(due)
    made = await assignments.add_assignments(connection, link, due)
    await record(connection, events, link.tenant, [assignment_made(link, start) for start in made])
    await links_store.set_assigned(connection, link, begun, period_start(link.activated_at, begun))
    return len(made)


class Billing:
    """The bills of all partners."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def assign_due(self) -> int:
        """Assigns all periods that have begun; returns their number.

        It may run late, twice, and on several machines at once: a period does not depend on the time of the run, the
        link is locked meanwhile, and the table accepts a month once.
        """
        async with self._database.transaction() as connection:
            tenants = await links_store.tenants_with_due(connection, await self._clock(connection))
        return sum([await self._assign_due_of(tenant) for tenant in tenants])

    async def bill(self, tenant: str, client_id: str, month: date) -> Bill:
        async with self._database.transaction() as connection:
            return Bill(month, tuple(await assignments.assignments_of_month(connection, tenant, client_id, month)))

    async def _assign_due_of(self, tenant: str) -> int:
        assigned = 0
        while True:
            async with self._database.transaction() as connection:
                now = await self._clock(connection)
                due = await links_store.lock_due(connection, tenant, now, _BATCH)
                for link in due:
                    assigned += await assign_periods(connection, link, until=now)
            if not due:
                return assigned
