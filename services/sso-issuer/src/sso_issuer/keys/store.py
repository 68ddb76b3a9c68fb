"""Keys in the database. Private keys are sealed on the way in and out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from shared.db import Database
from shared.readings import Reading
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.keys.domain import LONGEST_TOKEN, Algorithm, Key, KeyState, Schedule
from sso_issuer.keys.material import Jwk
from sso_issuer.tables import key_successions, keys

_REVOKED_AT_ONCE = 1000
_KEY_COLUMNS = tuple(column for column in keys.c if column.name not in {"public_jwk", "private_key"})

_ANY_PUBLIC: Final = "SELECT public_jwk, state FROM sso_issuer.keys WHERE tenant = $1 AND kid = $2"
#: A key that retires in its time is published until then; one that is revoked leaves the set before.
_WAS_TAKEN_OUT: Final = sa.or_(keys.c.published_until.is_(None), keys.c.published_until > keys.c.retired_at)
_REVOKED: Final = Reading(
    sa.select(keys.c.tenant, keys.c.kid)
    .where(
        keys.c.state == KeyState.RETIRED.value,
        keys.c.retired_at > sa.func.clock_timestamp() - LONGEST_TOKEN,
        _WAS_TAKEN_OUT,
    )
    .order_by(keys.c.retired_at.desc())
    # More than can be revoked between two questions: each process remembers the answers it got.
    .limit(_REVOKED_AT_ONCE)
)

#: Keys that leave a state come first: the unique indexes allow one next and one active key at any instant.
_ORDER_OF_WRITING = (KeyState.RETIRED, KeyState.RETIRING, KeyState.ACTIVE, KeyState.NEXT)


@dataclass(frozen=True, kw_only=True)
class SealedKey:
    """The active key with its sealed private half."""

    tenant: str
    kid: str
    algorithm: Algorithm
    sealed: bytes


async def read_clock(connection: AsyncConnection) -> datetime:
    """The database's clock now, not at the beginning of the transaction, which may have waited for a lock."""
    moment: datetime = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    return moment


async def lock_keys(connection: AsyncConnection, tenant: str, algorithm: Algorithm) -> list[Key]:
    """Locks and returns the tenant's keys of this algorithm that are not retired."""
    place = {"tenant": tenant, "algorithm": algorithm.value}
    await connection.execute(postgresql.insert(key_successions).values(place).on_conflict_do_nothing())
    await connection.execute(sa.select(key_successions).filter_by(**place).with_for_update())
    # A separate statement after the lock sees the writes of its former holder.
    rows = await connection.execute(
        sa.select(*_KEY_COLUMNS).where(keys.c.state != KeyState.RETIRED.value).filter_by(**place).order_by(keys.c.kid)
    )
    return [_key(row) for row in rows]


async def write_keys(
    connection: AsyncConnection, before: Sequence[Key], after: Sequence[Key], *, public_jwk: Jwk, sealed: bytes
) -> None:
    """Writes the changes; `public_jwk` and `sealed` belong to the one new key in `after`, if there is one."""
    known = {key.kid: key for key in before}
    for key in sorted(after, key=lambda key: _ORDER_OF_WRITING.index(key.state)):
        values = _values(key)
        if key.kid not in known:
            await connection.execute(sa.insert(keys).values(**values, public_jwk=public_jwk, private_key=sealed))
        elif known[key.kid] != key:
            if key.state not in {KeyState.NEXT, KeyState.ACTIVE}:
                values["private_key"] = None
            place = {name: values.pop(name) for name in ("tenant", "kid")}
            await connection.execute(sa.update(keys).filter_by(**place).values(**values))


async def find_due(connection: AsyncConnection, schedule: Schedule) -> list[tuple[str, Algorithm]]:
    """The successions whose keys are due to change."""
    waiting = keys.alias("waiting")
    has_successor = sa.exists().where(
        waiting.c.tenant == keys.c.tenant,
        waiting.c.algorithm == keys.c.algorithm,
        waiting.c.state == KeyState.NEXT.value,
    )
    is_due = sa.or_(
        sa.and_(keys.c.state == KeyState.NEXT.value, keys.c.signs_from <= sa.func.now()),
        sa.and_(keys.c.state == KeyState.RETIRING.value, keys.c.published_until <= sa.func.now()),
        sa.and_(
            keys.c.state == KeyState.ACTIVE.value,
            keys.c.activated_at <= sa.func.now() - (schedule.rotate_every - schedule.publish_ahead),
            ~has_successor,
        ),
    )
    rows = await connection.execute(
        sa.select(keys.c.tenant, keys.c.algorithm).where(is_due).distinct().order_by(keys.c.tenant, keys.c.algorithm)
    )
    return [(row.tenant, Algorithm(row.algorithm)) for row in rows]


async def read_active(connection: AsyncConnection, tenant: str, algorithm: Algorithm) -> SealedKey | None:
    """The key that signs."""
    row = (
        await connection.execute(
            sa.select(keys.c.kid, keys.c.private_key).filter_by(
                tenant=tenant, algorithm=algorithm.value, state=KeyState.ACTIVE.value
            )
        )
    ).first()
    if row is None:
        return None
    return SealedKey(tenant=tenant, kid=row.kid, algorithm=algorithm, sealed=row.private_key)


async def read_greatest_ages(connection: AsyncConnection) -> dict[Algorithm, float]:
    """By algorithm, for how many seconds the oldest signing key has signed."""
    age = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.min(keys.c.activated_at))
    query = sa.select(keys.c.algorithm, age.label("seconds")).where(keys.c.state == KeyState.ACTIVE.value)
    rows = await connection.execute(query.group_by(keys.c.algorithm))
    return {Algorithm(row.algorithm): float(row.seconds) for row in rows}


async def read_driver_clock(connection: asyncpg.Connection) -> datetime:
    """The database's clock now."""
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return now


async def read_any_public(connection: asyncpg.Connection, tenant: str, kid: str) -> tuple[str, KeyState] | None:
    """The public half of a key of this tenant in any state, as the text of its JWK."""
    row = await connection.fetchrow(_ANY_PUBLIC, tenant, kid)
    return None if row is None else (row["public_jwk"], KeyState(row["state"]))


async def read_published(connection: AsyncConnection, tenant: str | None) -> list[Jwk]:
    """The public halves for the key set of a tenant, or of all tenants."""
    query = sa.select(keys.c.public_jwk).where(keys.c.state != KeyState.RETIRED.value)
    if tenant is not None:
        query = query.filter_by(tenant=tenant)
    return list((await connection.execute(query.order_by(keys.c.tenant, keys.c.published_at, keys.c.kid))).scalars())


async def read_revoked(database: Database) -> list[tuple[str, str]]:
    """(tenant, kid) of the keys that were revoked within the last hour, the latest first.

    Raises:
        Unavailable: the database cannot be asked.
    """
    return [(row.tenant, row.kid) for row in await database.read(_REVOKED)]


async def read_algorithms(connection: AsyncConnection, tenant: str) -> list[Algorithm]:
    """The algorithms for which the tenant has keys."""
    rows = await connection.execute(
        sa.select(key_successions.c.algorithm).filter_by(tenant=tenant).order_by(key_successions.c.algorithm)
    )
    return [Algorithm(algorithm) for algorithm in rows.scalars()]


async def list_keys(connection: AsyncConnection, tenant: str | None) -> list[Key]:
    """All keys, retired ones too, oldest first."""
    query = sa.select(*_KEY_COLUMNS).order_by(keys.c.tenant, keys.c.algorithm, keys.c.published_at)
    if tenant is not None:
        query = query.filter_by(tenant=tenant)
    return [_key(row) for row in await connection.execute(query)]


def _key(row: Any) -> Key:
    values = dict(row._mapping)  # SQLAlchemy's documented name, not a private one
    return Key(**{**values, "algorithm": Algorithm(row.algorithm), "state": KeyState(row.state)})


def _values(key: Key) -> dict[str, Any]:
    values = {column.name: getattr(key, column.name) for column in _KEY_COLUMNS}
    return {**values, "algorithm": key.algorithm.value, "state": key.state.value}
