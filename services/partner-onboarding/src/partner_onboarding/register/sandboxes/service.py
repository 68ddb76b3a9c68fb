"""The use cases of sandboxes: their owner moves the clock and begins anew, and all services follow.

A change is committed here, with its answer, before the others hear of it: a repeat with the same key changes nothing
twice, and a chore declares again what did not reach a service.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import structlog
from shared.calling import ServiceClient
from shared.chores import Chore
from shared.db import Database
from shared.errors import Unavailable
from shared.idempotency import Answer, Answers, RequestKey
from shared.sandboxes.domain import SandboxState
from shared.sandboxes.service import Sandboxes
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.clock import database_clock
from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, Change
from partner_onboarding.register.sandboxes import store
from partner_onboarding.register.sandboxes.domain import USERS, NoSandbox

_RETRY_AFTER_SECONDS: Final = 5
_ISSUER: Final = "sso-issuer"
_log = structlog.get_logger("sandboxes")

#: Makes the answer of a sandbox's state at this time.
Shape = Callable[[SandboxState, datetime], Answer]


class Neighbours:
    """The other services, which have rows of sandboxes as well; one client each, by name."""

    def __init__(self, clients: Mapping[str, ServiceClient]) -> None:
        self._clients = clients

    async def declare(self, tenant: str, state: SandboxState) -> list[str]:
        """Tells all of them in which state a sandbox is to be; returns the names of those that did not follow."""
        body = {
            "round": state.round,
            "ahead_ms": state.ahead // timedelta(milliseconds=1),
            "users": [user._asdict() for user in USERS],
        }
        followed = await asyncio.gather(*(self._tell(name, tenant, body) for name in self._clients))
        return [name for name, has_followed in zip(self._clients, followed, strict=True) if not has_followed]

    async def agree(self, tenant: str, client_id: str) -> None:
        """Has the issuer agree about redirects with a test client.

        Raises:
            Unavailable: it does not answer, or does not know the sandbox yet.
        """
        path, body = f"/internal/tenants/{tenant}/test-clients", {"client_id": client_id}
        answer = await self._clients[_ISSUER].post(path, body, idempotency_key=client_id)
        if answer.status_code != HTTPStatus.OK:
            raise Unavailable(log=f"{_ISSUER}: status {answer.status_code} for a test client")

    async def aclose(self) -> None:
        await asyncio.gather(*(client.aclose() for client in self._clients.values()))

    async def _tell(self, name: str, tenant: str, body: Mapping[str, Any]) -> bool:
        path, key = f"/internal/sandboxes/{tenant}", f"{tenant}.{body['round']}.{body['ahead_ms']}"
        try:
            answer = await self._clients[name].post(path, body, idempotency_key=key)
        except Unavailable:
            return False
        if answer.status_code != HTTPStatus.OK:
            _log.error("a service refuses a sandbox", callee=name, tenant=tenant, status=answer.status_code)
            return False
        return True


class SandboxTenants:
    """One in a process.

    Args:
        sandboxes: those of this service, which is their register.
        settle_people: gives a sandbox its test users, where they are missing.
    """

    def __init__(
        self,
        database: Database,
        answers: Answers,
        sandboxes: Sandboxes,
        neighbours: Neighbours,
        settle_people: Callable[[str], Awaitable[None]],
    ) -> None:
        self._database = database
        self._answers = answers
        self._sandboxes = sandboxes
        self._neighbours = neighbours
        self._settle_people = settle_people

    async def need_sandbox(self, tenant: str) -> None:
        """Raises NoSandbox, also where this platform has none."""
        async with self._database.transaction() as connection:
            if not self._sandboxes.allowed or await self._sandboxes.find_state(connection, tenant) is None:
                raise NoSandbox

    async def move_clock(
        self, tenant: str, amount: timedelta, *, by: Actor, key: RequestKey | None, shape: Shape
    ) -> Answer:
        """Moves the clock of this tenant's holds, tokens and codes forward; answers when all services have followed.

        Raises:
            Unavailable: one of them has not followed yet; it will. A repeat with the same key waits for it.
        """

        async def act(connection: AsyncConnection) -> Answer:
            await store.lock_tenant(connection, tenant)
            before = await self._sandboxes.state_of(connection, tenant)
            state = await self._sandboxes.advance(connection, tenant, amount)
            change = _change_of(before, state)
            await audit_store.add(connection, tenant, by, "sandbox_clock_moved", tenant, change=change)
            return shape(state, await database_clock(connection))

        return await self._change(tenant, by, key, act)

    async def begin_anew(self, tenant: str, *, by: Actor, key: RequestKey | None, shape: Shape) -> Answer:
        """Deletes what the tenant's tests have left in all services; clients, secrets and settings stay.

        Raises:
            Unavailable: as `move_clock`.
        """

        async def act(connection: AsyncConnection) -> Answer:
            await store.lock_tenant(connection, tenant)
            before = await self._sandboxes.state_of(connection, tenant)
            state = await self._sandboxes.begin_anew(connection, tenant)
            change = _change_of(before, state)
            await audit_store.add(connection, tenant, by, "sandbox_begun_anew", tenant, change=change)
            return shape(state, await database_clock(connection))

        return await self._change(tenant, by, key, act)

    async def announce(self, tenant: str) -> list[str]:
        """Brings this service and all others to the sandbox's state; returns the names of those that do not follow."""
        async with self._database.transaction() as connection:
            state = await self._sandboxes.state_of(connection, tenant)
        await self._sandboxes.finish(tenant)
        return await self._tell(tenant, state)

    async def tell(self, tenant: str) -> list[str]:
        """The same, but for the rows of this service."""
        async with self._database.transaction() as connection:
            state = await self._sandboxes.state_of(connection, tenant)
        return await self._tell(tenant, state)

    async def agree(self, tenant: str, client_id: str) -> None:
        """Has the issuer agree about redirects with a test client.

        Raises:
            Unavailable: it does not answer, or does not know the sandbox yet.
        """
        await self._neighbours.agree(tenant, client_id)

    async def aclose(self) -> None:
        await self._neighbours.aclose()

    def chore(self, every_seconds: float) -> Chore:
        """Tells again, in case a service could not be told, or was restored from a backup."""
        return Chore("declare sandboxes", self._announce_all, every_seconds)

    async def _tell(self, tenant: str, state: SandboxState) -> list[str]:
        await self._settle_people(tenant)
        return await self._neighbours.declare(tenant, state)

    async def _announce_all(self) -> None:
        if not self._sandboxes.allowed:
            return
        for tenant in await self._sandboxes.every():
            waiting = await self.announce(tenant)
            if waiting:
                _log.warning("sandbox not followed everywhere", tenant=tenant, waiting=waiting)

    async def _change(
        self, tenant: str, by: Actor, key: RequestKey | None, act: Callable[[AsyncConnection], Awaitable[Answer]]
    ) -> Answer:
        answer = await self._answers.once(tenant, by.name, key, act)
        waiting = await self.announce(tenant)
        if waiting:
            raise Unavailable(
                f"The change is made, but {', '.join(waiting)} has not followed yet, and will within a minute. Repeat "
                "the call with the same Idempotency-Key to wait for it.",
                retry_after_seconds=_RETRY_AFTER_SECONDS,
                log=f"sandbox {tenant}: {waiting} did not follow",
            )
        return answer


def _change_of(before: SandboxState, after: SandboxState) -> Change:
    told, now = [{"round": each.round, "ahead_seconds": each.ahead.total_seconds()} for each in (before, after)]
    return Change(told, now)
