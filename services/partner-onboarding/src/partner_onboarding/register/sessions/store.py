"""Every statement about sessions. The time is the database's."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from shared.db import Database
from shared.tenant_readings import TenantReading
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Interval,
    LargeBinary,
    Select,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.second_factors.domain import Awaits
from partner_onboarding.register.sessions.domain import HalfSignedIn, OwnSession, SessionKey, SessionRules, SignedIn
from partner_onboarding.register.tables import sessions, tenants, users

#: The shortest time between two writes of a session's last use, so that reading pages does not write.
_SEEN_EVERY = timedelta(minutes=1)
_ASKED: Final = (
    func.unnest(bindparam("tenants", type_=ARRAY(Text)), bindparam("session_hashes", type_=ARRAY(LargeBinary)))
    .table_valued("tenant", "session_hash", name="asked")
    .render_derived()
)


def _signed_in(tenant: ColumnElement[str]) -> Select[Any]:
    """The people of the sessions that are asked about; `tenant` is that of a session."""
    return (
        select(
            sessions.c.session_hash,
            users.c.tenant,
            users.c.user_id,
            users.c.roles,
            tenants.c.allowed_origins,
            tenants.c.name.label("tenant_name"),
            (sessions.c.seen_at < func.now() - bindparam("seen_every", _SEEN_EVERY)).label("unseen"),
        )
        .select_from(_ASKED)
        .join(sessions, (sessions.c.tenant == tenant) & (sessions.c.session_hash == _ASKED.c.session_hash))
        .join(users, (users.c.tenant == sessions.c.tenant) & (users.c.user_id == sessions.c.user_id))
        .join(tenants, tenants.c.tenant == sessions.c.tenant)
        .where(
            sessions.c.awaits.is_(None),
            users.c.disabled_at.is_(None),
            sessions.c.expires_at > func.now(),
            sessions.c.seen_at > func.now() - bindparam("idle", type_=Interval),
        )
    )


_SIGNED_IN: Final = TenantReading(_signed_in, _ASKED.c.tenant)


async def add_session(
    connection: AsyncConnection, key: SessionKey, user_id: str, lifetime: timedelta, awaits: Awaits | None = None
) -> None:
    await connection.execute(
        insert(sessions).values(
            tenant=key.tenant,
            session_hash=key.session_hash,
            user_id=user_id,
            expires_at=func.now() + lifetime,
            awaits=awaits,
        )
    )


async def find_sessions(
    database: Database, keys: Sequence[SessionKey], rules: SessionRules
) -> dict[SessionKey, SignedIn]:
    """The people of live sessions. The call extends the idle time.

    Raises:
        Unavailable: the database cannot be reached.
    """
    asked: dict[str, list[Any]] = {
        "tenants": [key.tenant for key in keys],
        "session_hashes": [key.session_hash for key in keys],
    }
    rows = await _SIGNED_IN.read(database, asked, idle=rules.idle)
    # In one order, so that two calls cannot deadlock.
    unseen = [SessionKey(*key) for key in sorted((row.tenant, row.session_hash) for row in rows if row.unseen)]
    for at_once in [[key] for key in unseen] if database.is_distributed else [unseen] if unseen else []:
        async with database.transaction() as connection:
            for key in at_once:
                await connection.execute(update(sessions).where(*_is(key)).values(seen_at=func.now()))
    return {
        SessionKey(row.tenant, row.session_hash): SignedIn(
            row.tenant, row.user_id, tuple(row.roles), tuple(row.allowed_origins), row.tenant_name
        )
        for row in rows
    }


async def find_half(connection: AsyncConnection, key: SessionKey) -> HalfSignedIn | None:
    """Who has given the right password and owes more, unless the time for that is over."""
    row = (
        await connection.execute(
            select(users.c.tenant, users.c.user_id, users.c.roles, sessions.c.awaits)
            .join(users, (users.c.tenant == sessions.c.tenant) & (users.c.user_id == sessions.c.user_id))
            .where(*_is(key), sessions.c.awaits.is_not(None), sessions.c.expires_at > func.now())
        )
    ).one_or_none()
    return None if row is None else HalfSignedIn(row.tenant, row.user_id, tuple(row.roles), row.awaits)


async def end_session(connection: AsyncConnection, key: SessionKey) -> str | None:
    """Ends a session; returns whose it was, if there was one."""
    statement = delete(sessions).where(*_is(key)).returning(sessions.c.user_id)
    user_id: str | None = (await connection.execute(statement)).scalar_one_or_none()
    return user_id


async def end_sessions_of(connection: AsyncConnection, tenant: str, user_id: str) -> int:
    """Ends all sessions of a person; returns their number."""
    result = await connection.execute(
        delete(sessions).where(sessions.c.tenant == tenant, sessions.c.user_id == user_id)
    )
    return result.rowcount


async def sessions_of(connection: AsyncConnection, tenant: str, user_id: str) -> list[tuple[datetime, datetime]]:
    """The beginnings and last uses of a person's sessions, oldest first."""
    rows = await connection.execute(
        select(sessions.c.created_at, sessions.c.seen_at)
        .where(sessions.c.tenant == tenant, sessions.c.user_id == user_id)
        .order_by(sessions.c.created_at)
    )
    return [(row.created_at, row.seen_at) for row in rows]


async def running_sessions(
    connection: AsyncConnection, key: SessionKey, user_id: str, rules: SessionRules
) -> list[OwnSession]:
    """A person's sessions that have not ended, the latest seen first; `key` is the one that asks."""
    rows = await connection.execute(
        select(sessions.c.created_at, sessions.c.seen_at, sessions.c.session_hash)
        .where(
            sessions.c.tenant == key.tenant,
            sessions.c.user_id == user_id,
            sessions.c.awaits.is_(None),
            sessions.c.expires_at > func.now(),
            sessions.c.seen_at > func.now() - rules.idle,
        )
        .order_by(sessions.c.seen_at.desc())
    )
    return [OwnSession(row.created_at, row.seen_at, row.session_hash == key.session_hash) for row in rows]


async def end_other_sessions(connection: AsyncConnection, key: SessionKey, user_id: str) -> int:
    """Ends a person's sessions but for this one; returns their number."""
    result = await connection.execute(
        delete(sessions).where(
            sessions.c.tenant == key.tenant,
            sessions.c.user_id == user_id,
            sessions.c.session_hash != key.session_hash,
        )
    )
    return result.rowcount


async def delete_ended(connection: AsyncConnection, rules: SessionRules) -> int:
    """Deletes ended sessions; returns their number."""
    result = await connection.execute(
        delete(sessions).where((sessions.c.expires_at <= func.now()) | (sessions.c.seen_at <= func.now() - rules.idle))
    )
    return result.rowcount


def _is(key: SessionKey) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    return sessions.c.tenant == key.tenant, sessions.c.session_hash == key.session_hash
