"""The use cases of links."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from shared.db import Database
from shared.events.outbox import record
from shared.idempotency import Answer, Answers, RequestKey
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.clock import Clock
from partner_onboarding.handshake.links import assignments as assignments_store
from partner_onboarding.handshake.links import store
from partner_onboarding.handshake.links.billing import assign_periods
from partner_onboarding.handshake.links.domain import Link, LinkedPartner, LinkNotFound, NoHandshake, RemovedBy
from partner_onboarding.handshake.links.entitlements import Entitlements, entitlements_at
from partner_onboarding.handshake.links.events import link_activated, link_removed
from partner_onboarding.handshake.links.periods import Assignment
from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, Change
from partner_onboarding.register.clients.domain import CLIENT_ID
from partner_onboarding.register.tables import events
from partner_onboarding.register.users import store as users_store
from partner_onboarding.register.users.domain import UserNotFound


@dataclass(slots=True)
class Events:
    """The events between a person and a partner, each list oldest first."""

    activations: list[datetime] = field(default_factory=list)
    removals: list[datetime] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)


class Links:
    """The links of all people to all partners."""

    def __init__(self, database: Database, answers: Answers, clock: Clock) -> None:
        self._database = database
        self._answers = answers
        self._clock = clock

    async def activate(self, connection: AsyncConnection, tenant: str, client_id: str, user_id: str) -> datetime:
        """Gives the person the first month, and one more each month from now on. Returns the time of activation.

        A repeat gets the same answer and gives or bills nothing twice.

        Raises:
            UserNotFound: also for a user of another tenant.
            NoHandshake
        """
        link = await store.lock_present(connection, tenant, client_id, user_id)
        if link is None:
            if await users_store.find_user(connection, tenant, user_id) is None:
                raise UserNotFound("There is no such user.")
            raise NoHandshake("No handshake was executed with this user.")
        if link.activated_at is not None:
            return link.activated_at
        now = await self._clock(connection)
        await store.activate(connection, link, now)
        await record(connection, events, tenant, [link_activated(link, now)])
        activated = await store.lock_present(connection, tenant, client_id, user_id)
        assert activated is not None  # noqa: S101 — it is locked
        await assign_periods(connection, activated, until=now)
        actor, change = Actor("client", client_id), Change({"state": "linked"}, {"state": "active"})
        await audit_store.add(connection, tenant, actor, "user_activated", user_id, change=change)
        return now

    async def activate_once(
        self,
        tenant: str,
        client_id: str,
        user_id: str,
        *,
        key: RequestKey | None,
        shape: Callable[[datetime], Answer],
    ) -> Answer:
        """The same; a repeat with the same key gets the first answer."""

        async def act(connection: AsyncConnection) -> Answer:
            return shape(await self.activate(connection, tenant, client_id, user_id))

        return await self._answers.once(tenant, client_id, key, act)

    async def remove_once(
        self,
        tenant: str,
        client_id: str,
        user_id: str,
        *,
        key: RequestKey | None,
        shape: Callable[[datetime], Answer],
    ) -> Answer:
        """The partner removes the link; a repeat with the same key gets the first answer.

        Raises:
            LinkNotFound
        """

        async def act(connection: AsyncConnection) -> Answer:
            return shape(await self.remove(connection, tenant, client_id, user_id, by="partner"))

        return await self._answers.once(tenant, client_id, key, act)

    async def remove(
        self, connection: AsyncConnection, tenant: str, client_id: str, user_id: str, *, by: RemovedBy
    ) -> datetime:
        """Removes the link. Months that have begun stay billed, also those not assigned yet.

        Raises:
            LinkNotFound
        """
        link = await store.lock_present(connection, tenant, client_id, user_id)
        if link is None:
            raise LinkNotFound("There is no such user, or he or she was removed already.")
        now = await self._clock(connection)
        actor = Actor("client", client_id) if by == "partner" else Actor("user", user_id)
        await _remove(connection, link, now, by, actor)
        return now

    async def unlink(self, tenant: str, user_id: str, client_id: str) -> None:
        """Removes the link for the person; a missing one is fine."""
        if not CLIENT_ID.fullmatch(client_id):
            return
        async with self._database.transaction() as connection:
            try:
                await self.remove(connection, tenant, client_id, user_id, by="user")
            except LinkNotFound:
                return

    async def remove_all(self, connection: AsyncConnection, tenant: str, user_id: str, *, by: Actor) -> None:
        """Removes all links of a person whose account this transaction deletes for `by`."""
        now = await self._clock(connection)
        for link in await store.lock_all_present(connection, tenant, user_id):
            await _remove(connection, link, now, "deletion", by)

    async def partners_of(self, tenant: str, user_id: str) -> list[LinkedPartner]:
        async with self._database.transaction() as connection:
            return await store.partners_of(connection, tenant, user_id)

    async def entitlements(self, tenant: str, user_id: str) -> Entitlements:
        """What the person's activations give at this moment.

        Raises:
            UserNotFound: also for a user of another tenant.
        """
        async with self._database.transaction() as connection:
            if await users_store.find_user(connection, tenant, user_id) is None:
                raise UserNotFound("There is no such user.")
            links = await store.history_of(connection, tenant, user_id)
            return entitlements_at(await self._clock(connection), links)

    async def events(self, tenant: str, client_id: str) -> dict[str, Events]:
        """The events by user id, for everyone who is or was linked with the partner, in the order of first links."""
        async with self._database.transaction() as connection:
            linked = await store.links_of_partner(connection, tenant, client_id)
            assigned = await assignments_store.assignments_of_partner(connection, tenant, client_id)
        by_user: dict[str, Events] = {}
        for link in linked:
            of_user = by_user.setdefault(link.user_id, Events())
            if link.activated_at is not None:
                of_user.activations.append(link.activated_at)
            if link.removed_at is not None:
                of_user.removals.append(link.removed_at)
        for assignment in assigned:
            # A link that was made between the two statements shows its assignment with the next call.
            if assignment.user_id in by_user:
                by_user[assignment.user_id].assignments.append(assignment)
        return by_user


async def _remove(connection: AsyncConnection, link: Link, now: datetime, by: RemovedBy, actor: Actor) -> None:
    await assign_periods(connection, link, until=now)
    await store.remove(connection, link, now, by)
    details = {"client_id": link.client_id, "by": by}
    change = Change({"state": "linked" if link.activated_at is None else "active"}, {"state": "removed"})
    await audit_store.add(connection, link.tenant, actor, "link_removed", link.user_id, details, change=change)
    await record(connection, events, link.tenant, [link_removed(link, now, by)])
