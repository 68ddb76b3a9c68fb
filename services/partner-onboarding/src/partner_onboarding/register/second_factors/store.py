"""Every statement about second factors."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.tables import recovery_codes, second_factors


@dataclass(frozen=True, slots=True)
class SealedFactor:
    """A row; the secret is sealed."""

    secret: bytes
    is_confirmed: bool
    last_step: int


async def find(connection: AsyncConnection, tenant: str, user_id: str, *, lock: bool = False) -> SealedFactor | None:
    """The account's second factor, confirmed or still being set up."""
    query = select(second_factors).where(second_factors.c.tenant == tenant, second_factors.c.user_id == user_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        return None
    return SealedFactor(row.secret, row.confirmed_at is not None, row.last_step)


async def is_set_up(connection: AsyncConnection, tenant: str, user_id: str) -> bool:
    """Whether the account has a confirmed second factor."""
    found = await find(connection, tenant, user_id)
    return found is not None and found.is_confirmed


async def begin(connection: AsyncConnection, tenant: str, user_id: str, secret: bytes) -> bool:
    """Keeps the secret of a set-up that has begun, in place of an earlier one; False when one is confirmed already."""
    statement = upsert(second_factors).values(tenant=tenant, user_id=user_id, secret=secret)
    statement = statement.on_conflict_do_update(
        index_elements=[second_factors.c.tenant, second_factors.c.user_id],
        set_={"secret": secret, "created_at": statement.excluded.created_at, "last_step": 0},
        where=second_factors.c.confirmed_at.is_(None),
    )
    return (await connection.execute(statement.returning(second_factors.c.tenant))).first() is not None


async def confirm(connection: AsyncConnection, tenant: str, user_id: str, step: int, hashes: Sequence[bytes]) -> None:
    """From now on the factor counts; its recovery codes replace earlier ones."""
    await connection.execute(
        update(second_factors)
        .where(second_factors.c.tenant == tenant, second_factors.c.user_id == user_id)
        .values(confirmed_at=func.now(), last_step=step)
    )
    await replace_recovery_codes(connection, tenant, user_id, hashes)


async def replace_recovery_codes(
    connection: AsyncConnection, tenant: str, user_id: str, hashes: Sequence[bytes]
) -> None:
    """The former ones end."""
    await connection.execute(
        delete(recovery_codes).where(recovery_codes.c.tenant == tenant, recovery_codes.c.user_id == user_id)
    )
    await connection.execute(
        insert(recovery_codes), [{"tenant": tenant, "user_id": user_id, "code_hash": one} for one in hashes]
    )


async def use_step(connection: AsyncConnection, tenant: str, user_id: str, step: int) -> None:
    """Codes up to this step are used up."""
    await connection.execute(
        update(second_factors)
        .where(second_factors.c.tenant == tenant, second_factors.c.user_id == user_id)
        .values(last_step=step)
    )


async def use_recovery_code(connection: AsyncConnection, tenant: str, user_id: str, code_hash: bytes) -> bool:
    """Uses a recovery code up; False when there is none that is unused."""
    result = await connection.execute(
        update(recovery_codes)
        .where(
            recovery_codes.c.tenant == tenant,
            recovery_codes.c.user_id == user_id,
            recovery_codes.c.code_hash == code_hash,
            recovery_codes.c.used_at.is_(None),
        )
        .values(used_at=func.now())
    )
    return bool(result.rowcount)


async def recovery_codes_left(connection: AsyncConnection, tenant: str, user_id: str) -> int:
    """How many recovery codes are unused."""
    found = await connection.execute(
        select(func.count()).where(
            recovery_codes.c.tenant == tenant,
            recovery_codes.c.user_id == user_id,
            recovery_codes.c.used_at.is_(None),
        )
    )
    return int(found.scalar_one())


async def remove(connection: AsyncConnection, tenant: str, user_id: str) -> bool:
    """With its recovery codes; False when there was none."""
    await connection.execute(
        delete(recovery_codes).where(recovery_codes.c.tenant == tenant, recovery_codes.c.user_id == user_id)
    )
    result = await connection.execute(
        delete(second_factors).where(second_factors.c.tenant == tenant, second_factors.c.user_id == user_id)
    )
    return bool(result.rowcount)
