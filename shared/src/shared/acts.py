"""Acts of administrators, on their way into the audit that partner-onboarding keeps for all services.

    await note(connection, acts, Act(tenant, client_id, "vendor_changed", vendor_id, before=…, after=…))
    ...
    Chore("tell acts", Acts(database, acts, onboarding).tell_due, every_seconds=1.0, full_slice=TOLD_AT_ONCE)

An act is noted in the transaction that does it, and told until partner-onboarding has written it down: nothing changes
without a row in the audit, and the service goes on while the register is down.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
import structlog
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import conv

from shared.calling import ServiceClient
from shared.db import Database
from shared.errors import Unavailable
from shared.migrating import create_tables
from shared.origins import current_origin
from shared.request_frame import current_request
from shared.tables import in_sandbox
from shared.times import iso

TOLD_AT_ONCE: Final = 20
_TURN: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(minutes=10)
_WHEN: Final = sa.DateTime(timezone=True)
_log = structlog.get_logger("acts")


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody changed.

    Args:
        client_id: who did it; None for a command.
        subject: the id of what was acted on.
        before, after: the values that the act changes; never a secret, a person's name or address. None for something
            that was not there, or is gone.
        details: what else there is to say.
    """

    tenant: str
    client_id: str | None
    action: str
    subject: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def define_acts_table(metadata: sa.MetaData) -> sa.Table:
    """The acts that are still to be told. A migration of the service creates it from here."""
    return sa.Table(
        "acts",
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("act_id", sa.Text, nullable=False),
        sa.Column("told", JSONB, nullable=False, comment="What this service tells partner-onboarding."),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("next_attempt_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("tenant", "act_id", name="acts_pkey"),
        sa.CheckConstraint("attempts >= 0", name=conv("acts_attempts_check")),
        sa.Index("acts_due_idx", "next_attempt_at"),
        info=in_sandbox(stays=True),
    )


def create_acts_table(op: Any, schema: str) -> None:
    """What a migration's `upgrade` calls, with Alembic's `op`."""
    create_tables(op, [define_acts_table(sa.MetaData(schema=schema))])


def drop_acts_table(op: Any, schema: str) -> None:
    """What its `downgrade` calls."""
    op.drop_table("acts", schema=schema)


async def note(connection: AsyncConnection, table: sa.Table, act: Act, at: datetime) -> None:
    """Notes an act in its transaction, with the network and the id of the request under way.

    Args:
        at: when it was done.
    """
    request = current_request.get()
    told = {
        "client_id": act.client_id,
        "action": act.action,
        "subject": act.subject,
        "before": None if act.before is None else dict(act.before),
        "after": None if act.after is None else dict(act.after),
        "details": dict(act.details),
        "origin": current_origin.get(),
        "request_id": None if request is None else request.request_id,
        "acted_at": iso(at),
    }
    await connection.execute(sa.insert(table).values(tenant=act.tenant, act_id=secrets.token_hex(16), told=told))


class _Written(BaseModel):
    act_id: str


class Acts:
    """Tells partner-onboarding what was done."""

    def __init__(self, database: Database, table: sa.Table, onboarding: ServiceClient) -> None:
        self._database = database
        self._table = table
        self._onboarding = onboarding

    async def tell_due(self) -> int:
        """Tells what is due, oldest first; returns how many acts it looked at.

        The first act that is not taken ends the round: the others come soon, and nobody waits for each of them in turn.
        """
        columns = self._table.c
        due = (
            sa.select(columns.tenant, columns.act_id, columns.told, columns.attempts)
            .where(columns.next_attempt_at <= sa.func.now())
            .order_by(columns.next_attempt_at)
            .limit(TOLD_AT_ONCE)
        )
        async with self._database.transaction() as connection:
            seen = (await connection.execute(due)).all()
        # Not locked as they are read: they are of several tenants, whose rows may lie on several servers.
        found = await self._claim(seen)
        for place, row in enumerate(found):
            if await self._tell(row.tenant, row.act_id, row.told, row.attempts):
                continue
            async with self._database.transaction() as connection:
                for later in sorted(found[place + 1 :], key=_key):
                    await self._put_off(connection, later.tenant, later.act_id, _pause_after(0), later.attempts)
            return 0
        return len(found)

    async def _claim(self, seen: Sequence[Any]) -> list[Any]:
        """Those that no other process took meanwhile, put off for this turn."""
        columns = self._table.c
        claimed = set()
        async with self._database.transaction() as connection:
            # In the order of their keys, so that two processes do not wait for each other in a circle.
            for row in sorted(seen, key=_key):
                still_due = (*self._is(row.tenant, row.act_id), columns.next_attempt_at <= sa.func.now())
                values = {"next_attempt_at": sa.func.now() + _TURN, "attempts": row.attempts + 1}
                taken = await connection.execute(sa.update(self._table).where(*still_due).values(values))
                if taken.rowcount:
                    claimed.add(row.act_id)
        return [row for row in seen if row.act_id in claimed]

    async def _tell(self, tenant: str, act_id: str, told: Mapping[str, Any], attempts: int) -> bool:
        """Whether the act is in the audit now."""
        path = f"/internal/tenants/{tenant}/acts"
        try:
            answer = await self._onboarding.post(path, {"act_id": act_id, **told}, idempotency_key=act_id)
            self._onboarding.understand(_Written, answer)
        except Unavailable as trouble:
            _log.warning("an act is not in the audit yet", attempts=attempts + 1, error=repr(trouble))
            async with self._database.transaction() as connection:
                await self._put_off(connection, tenant, act_id, _pause_after(attempts), attempts + 1)
            return False
        async with self._database.transaction() as connection:
            await connection.execute(sa.delete(self._table).where(*self._is(tenant, act_id)))
        return True

    async def _put_off(
        self, connection: AsyncConnection, tenant: str, act_id: str, pause: timedelta, attempts: int
    ) -> None:
        values = {"next_attempt_at": sa.func.now() + pause, "attempts": attempts}
        await connection.execute(sa.update(self._table).where(*self._is(tenant, act_id)).values(values))

    def _is(self, tenant: str, act_id: str) -> tuple[sa.ColumnElement[bool], ...]:
        return self._table.c.tenant == tenant, self._table.c.act_id == act_id


def _key(row: Any) -> tuple[str, str]:
    return row.tenant, row.act_id


def _pause_after(attempts: int) -> timedelta:
    """The pause after so many failed attempts before this one: 2 s, 4 s, 8 s, … ten minutes."""
    return min(timedelta(seconds=2 << min(attempts, 12)), _LONGEST_PAUSE)
