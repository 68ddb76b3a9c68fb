"""What a service does for sandbox tenants."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.chores import Chore
from shared.db import Database
from shared.errors import Unavailable
from shared.readings import Reading
from shared.sandboxes.domain import (
    Advance,
    Move,
    SandboxesNotAllowed,
    SandboxState,
    SandboxUser,
    TenantInUse,
    Welcome,
)
from shared.sandboxes.functions import BEGIN_ANEW, FOUND
from shared.sandboxes.tables import SandboxTables
from shared.settings import WrongSettings

_LOOK_EVERY_SECONDS: Final = 2.0
_log = structlog.get_logger("sandboxes")


class Sandboxes:
    """The sandbox tenants, as this service knows them. One in a process.

    Args:
        allowed: production has sandboxes only where a setting says so.
        move: moves the service's own rows; without it nothing of the service has an end of its own.
        settle: called after the clock was moved, for what is done when something ends.
        welcome: gives a sandbox its test users.
    """

    def __init__(
        self,
        database: Database,
        tables: SandboxTables,
        *,
        allowed: bool,
        move: Move | None = None,
        settle: Callable[[], Awaitable[object]] | None = None,
        welcome: Welcome | None = None,
    ) -> None:
        self._database = database
        self._sandboxes = tables.sandboxes
        self._advances = tables.advances
        self._allowed = allowed
        self._move = move
        self._settle = settle
        self._welcome = welcome
        self._tenants: frozenset[str] = frozenset()
        self._every = Reading(sa.select(tables.sandboxes.c.tenant).order_by("tenant"))

    def __contains__(self, tenant: str) -> bool:
        """Whether this process knows the tenant as a sandbox; without asking anybody."""
        return tenant in self._tenants

    @property
    def allowed(self) -> bool:
        return self._allowed

    async def refuse_to_start(self) -> None:
        """Call it when the service starts. A database that cannot be asked now has no sandbox that anybody could use.

        Raises:
            WrongSettings: there are sandboxes, and they are not allowed.
        """
        if self._allowed:
            return
        try:
            async with self._database.transaction() as connection:
                found = await connection.scalar(sa.select(self._sandboxes.c.tenant).limit(1))
        except (Unavailable, ProgrammingError) as error:
            _log.warning("cannot look for sandboxes", why=repr(error))
            return
        if found is not None:
            raise WrongSettings(f"sandboxes: the tenant {found} is a sandbox; production has one only with true")

    def chore(self) -> Chore:
        """Sees what other processes have founded."""
        return Chore("read sandboxes", self.look, every_seconds=_LOOK_EVERY_SECONDS)

    async def look(self) -> None:
        """Reads which tenants are sandboxes."""
        if self._allowed:
            # Beside those that are known: another one may have been founded since the look began, and none ever ends.
            self._tenants |= frozenset(await self.every())

    async def every(self) -> list[str]:
        """All sandboxes, also where they are not allowed."""
        return [row.tenant for row in await self._database.read(self._every)]

    async def bring_to(self, tenant: str, state: SandboxState, users: Sequence[SandboxUser]) -> None:
        """Brings the tenant to a state that the register has declared; an earlier one changes nothing.

        Raises:
            SandboxesNotAllowed, TenantInUse: as they say.
            Unavailable: not finished; declare it again.
        """
        try:
            async with self._database.transaction() as connection:
                await self.found(connection, tenant)
                await self._call(connection, BEGIN_ANEW, tenant, state.round)
                present = await self.state_of(connection, tenant)
                if present.round == state.round and present.ahead < state.ahead:
                    await self._begin_advance(connection, tenant, present, state.ahead)
        except IntegrityError as error:
            raise Unavailable(log="two advances of a sandbox at once") from error
        self._tenants |= {tenant}
        await self.finish(tenant)
        if self._welcome is not None:
            await self._welcome(tenant, users)

    async def found(self, connection: AsyncConnection, tenant: str) -> None:
        """Makes the tenant a sandbox, if it is none yet.

        Raises:
            SandboxesNotAllowed, TenantInUse: as they say.
        """
        if not self._allowed:
            raise SandboxesNotAllowed
        if not await self._call(connection, FOUND, tenant):
            raise TenantInUse

    async def begin_anew(self, connection: AsyncConnection, tenant: str) -> SandboxState:
        """Deletes the tenant's rows and begins another round. Hold a lock of the tenant."""
        present = await self.state_of(connection, tenant)
        await self._call(connection, BEGIN_ANEW, tenant, present.round + 1)
        return await self.state_of(connection, tenant)

    async def advance(self, connection: AsyncConnection, tenant: str, amount: timedelta) -> SandboxState:
        """Moves the tenant's clock; `finish` moves its rows. Hold a lock of the tenant."""
        present = await self.state_of(connection, tenant)
        await self._begin_advance(connection, tenant, present, present.ahead + amount)
        return await self.state_of(connection, tenant)

    async def state_of(self, connection: AsyncConnection, tenant: str) -> SandboxState:
        """The state of a sandbox.

        Raises:
            LookupError: the tenant is none.
        """
        found = await self.find_state(connection, tenant)
        if found is None:
            raise LookupError("the tenant is no sandbox")
        return found

    async def find_state(self, connection: AsyncConnection, tenant: str) -> SandboxState | None:
        """The state of a sandbox; None for a tenant that is none."""
        advances = self._advances.c
        ahead = (
            sa.select(sa.func.max(advances.moved_to))
            .where(advances.tenant == tenant, advances.round == self._sandboxes.c.round)
            .scalar_subquery()
        )
        statement = sa.select(self._sandboxes.c.round, sa.func.coalesce(ahead, 0).label("ahead"))
        row = (await connection.execute(statement.where(self._sandboxes.c.tenant == tenant))).one_or_none()
        return None if row is None else SandboxState(row.round, timedelta(milliseconds=row.ahead))

    async def ahead_since(self, connection: AsyncConnection, tenant: str, began_at: Any) -> timedelta:
        """How far the tenant's clock was moved after something began there; nothing where the tenant is no sandbox.

        For what keeps its end for good: it is judged by the present time and this.
        """
        if tenant not in self._tenants:
            return timedelta(0)
        advances = self._advances.c
        moved = sa.select(sa.func.coalesce(sa.func.sum(advances.moved_to - advances.moved_from), 0))
        found = await connection.scalar(moved.where(advances.tenant == tenant, advances.moved_at > began_at))
        return timedelta(milliseconds=int(found or 0))

    async def finish(self, tenant: str) -> None:
        """Moves the rows of advances that are not done, in slices, each with the place that it has come to."""
        has_moved = False
        while await self._move_slice(tenant):
            has_moved = True
        if has_moved and self._settle is not None:
            await self._settle()

    async def _move_slice(self, tenant: str) -> bool:
        advances = self._advances.c
        async with self._database.transaction() as connection:
            next_one = (
                sa.select(self._advances)
                .where(advances.tenant == tenant, advances.done_at.is_(None))
                .order_by(advances.round, advances.moved_from)
                .limit(1)
                .with_for_update()
            )
            row = (await connection.execute(next_one)).one_or_none()
            if row is None:
                return False
            amount = timedelta(milliseconds=row.moved_to - row.moved_from)
            place = None
            if self._move is not None:
                place = await self._move(connection, Advance(tenant, amount, row.moved_at, row.place))
            done_at = sa.func.statement_timestamp() if place is None else None
            key = (advances.tenant == tenant, advances.round == row.round, advances.moved_from == row.moved_from)
            await connection.execute(sa.update(self._advances).where(*key).values(place=place, done_at=done_at))
        return True

    async def _begin_advance(
        self, connection: AsyncConnection, tenant: str, present: SandboxState, ahead: timedelta
    ) -> None:
        values = {
            "tenant": tenant,
            "round": present.round,
            "moved_from": _milliseconds(present.ahead),
            "moved_to": _milliseconds(ahead),
            "moved_at": sa.func.clock_timestamp(),
        }
        await connection.execute(sa.insert(self._advances).values(values))

    async def _call(self, connection: AsyncConnection, function: str, *arguments: object) -> bool:
        found = getattr(getattr(sa.func, str(self._sandboxes.schema)), function)
        return bool(await connection.scalar(sa.select(found(*arguments))))


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
