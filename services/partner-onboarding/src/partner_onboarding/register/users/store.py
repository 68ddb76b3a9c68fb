"""Every statement about users."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from shared.db import Database
from shared.readings import Reading
from sqlalchemy import Text, any_, bindparam, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as insert_or_nothing
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.tables import users
from partner_onboarding.register.users.domain import EmailTaken, SealedUser

_EMAIL_CONSTRAINT = "uq_users_tenant_email_hash"
_USERS: Final = Reading(
    select(users).where(
        users.c.tenant == bindparam("of_tenant"), users.c.user_id == any_(bindparam("user_ids", type_=ARRAY(Text)))
    )
)


async def find_user(connection: AsyncConnection, tenant: str, user_id: str, *, lock: bool = False) -> SealedUser | None:
    query = select(users).where(users.c.tenant == tenant, users.c.user_id == user_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return _user(row) if row is not None else None


async def find_users(database: Database, tenant: str, user_ids: Sequence[str]) -> list[SealedUser]:
    """Those of the users that the tenant has.

    Raises:
        Unavailable: the database cannot be reached.
    """
    return [_user(row) for row in await database.read(_USERS, of_tenant=tenant, user_ids=list(user_ids))]


async def users_with_email(connection: AsyncConnection, email_hash: bytes) -> list[SealedUser]:
    """The users with this address, by tenant: the owner first, then the latest that only claims it.

    Only sign-in may look across tenants.
    """
    rows = await connection.execute(
        select(users)
        .where(users.c.email_hash == email_hash)
        .order_by(users.c.tenant, users.c.owns_email.desc(), users.c.created_at.desc(), users.c.user_id)
    )
    found: list[SealedUser] = []
    claimed: set[str] = set()
    for user in map(_user, rows):
        if user.owns_email or user.tenant not in claimed:
            found.append(user)
        if not user.owns_email:
            claimed.add(user.tenant)
    return found


async def add_user(
    connection: AsyncConnection,
    tenant: str,
    user_id: str,
    *,
    email_hash: bytes,
    profile: bytes,
    password_hash: str | None,
    roles: tuple[str, ...] = (),
    owns_email: bool = True,
) -> SealedUser | None:
    """The new user; None if the tenant has one with this id.

    Raises:
        EmailTaken: by its owner, when this one is to own it too; the transaction cannot go on then.
    """
    statement = (
        insert_or_nothing(users)
        .values(
            tenant=tenant,
            user_id=user_id,
            email_hash=email_hash,
            profile=profile,
            password_hash=password_hash,
            roles=list(roles),
            owns_email=owns_email,
        )
        .on_conflict_do_nothing(index_elements=["tenant", "user_id"])
        .returning(users)
    )
    with _refusing_taken_emails():
        row = (await connection.execute(statement)).one_or_none()
    return _user(row) if row is not None else None


async def change_user(
    connection: AsyncConnection,
    tenant: str,
    user_id: str,
    *,
    email_hash: bytes,
    profile: bytes,
    password_hash: str | None,
) -> SealedUser:
    """As the tenant says, which so vouches for the address. Raises EmailTaken; the transaction cannot go on then."""
    statement = (
        update(users)
        .where(users.c.tenant == tenant, users.c.user_id == user_id)
        .values(
            email_hash=email_hash,
            profile=profile,
            password_hash=password_hash,
            owns_email=True,
            updated_at=func.now(),
        )
        .returning(users)
    )
    with _refusing_taken_emails():
        row = (await connection.execute(statement)).one()
    return _user(row)


async def change_profile(
    connection: AsyncConnection, tenant: str, user_id: str, *, email_hash: bytes, profile: bytes, owns_email: bool
) -> None:
    """As the person wants it. A new address that is owned was confirmed by the link mailed to it.

    Raises:
        EmailTaken: another user owns the address; the transaction cannot go on then.
    """
    former = select(users.c.email_hash).where(users.c.tenant == tenant, users.c.user_id == user_id).with_for_update()
    is_new = (await connection.execute(former)).scalar_one_or_none() != email_hash
    statement = (
        update(users)
        .where(users.c.tenant == tenant, users.c.user_id == user_id)
        .values(
            email_hash=email_hash,
            profile=profile,
            owns_email=owns_email,
            email_verified_at=func.now() if is_new else users.c.email_verified_at,
            updated_at=func.now(),
        )
    )
    with _refusing_taken_emails():
        await connection.execute(statement)


async def replace_password_hash(connection: AsyncConnection, tenant: str, user_id: str, password_hash: str) -> None:
    """Stores a hash of the same password at another cost."""
    await connection.execute(
        update(users).where(users.c.tenant == tenant, users.c.user_id == user_id).values(password_hash=password_hash)
    )


async def change_password(connection: AsyncConnection, tenant: str, user_id: str, password_hash: str) -> None:
    await connection.execute(
        update(users)
        .where(users.c.tenant == tenant, users.c.user_id == user_id)
        .values(password_hash=password_hash, updated_at=func.now())
    )


async def verify_email(connection: AsyncConnection, tenant: str, user_id: str) -> None:
    """Makes the person the owner of the address, after opening the mailed link.

    Raises:
        EmailTaken: another user of the tenant owns it; the transaction cannot go on then.
    """
    statement = (
        update(users)
        .where(users.c.tenant == tenant, users.c.user_id == user_id, users.c.email_verified_at.is_(None))
        .values(owns_email=True, email_verified_at=func.now(), updated_at=func.now())
    )
    with _refusing_taken_emails():
        await connection.execute(statement)


async def list_users(
    connection: AsyncConnection,
    tenant: str | None,
    roles: Collection[str] | None,
    after: tuple[str, str],
    limit: int,
) -> list[SealedUser]:
    """Users behind the place (tenant, user id), in this order; of one tenant or all, with one of `roles` or all."""
    query = select(users).where(tuple_(users.c.tenant, users.c.user_id) > tuple_(*after))
    if tenant is not None:
        query = query.where(users.c.tenant == tenant)
    if roles is not None:
        query = query.where(users.c.roles != [], users.c.roles.overlap(list(roles)))
    return [
        _user(row) for row in await connection.execute(query.order_by(users.c.tenant, users.c.user_id).limit(limit))
    ]


async def lock_operators(connection: AsyncConnection, tenant: str) -> list[str]:
    """The ids of the operators who can sign in, in their order; their rows are locked in it."""
    query = (
        select(users.c.user_id)
        .where(
            users.c.tenant == tenant,
            users.c.roles != [],
            users.c.roles.contains(["operator"]),
            users.c.disabled_at.is_(None),
            users.c.password_hash.is_not(None),
        )
        .order_by(users.c.user_id)
        .with_for_update()
    )
    return list((await connection.execute(query)).scalars())


async def set_roles(connection: AsyncConnection, tenant: str, user_id: str, roles: Sequence[str]) -> None:
    await connection.execute(
        update(users)
        .where(users.c.tenant == tenant, users.c.user_id == user_id)
        .values(roles=list(roles), updated_at=func.now())
    )


async def set_disabled(connection: AsyncConnection, tenant: str, user_id: str, *, disabled: bool) -> None:
    await connection.execute(
        update(users)
        .where(users.c.tenant == tenant, users.c.user_id == user_id)
        .values(disabled_at=func.now() if disabled else None, updated_at=func.now())
    )


async def delete_user(connection: AsyncConnection, tenant: str, user_id: str) -> None:
    """Deletes a user with sessions, agreements and mails."""
    await connection.execute(delete(users).where(users.c.tenant == tenant, users.c.user_id == user_id))


@contextmanager
def _refusing_taken_emails() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if _EMAIL_CONSTRAINT not in str(error.orig):
            raise
        raise EmailTaken("Another user has this e-mail address.") from None


def _user(row: Any) -> SealedUser:
    return SealedUser(
        tenant=row.tenant,
        user_id=row.user_id,
        email_hash=row.email_hash,
        profile=row.profile,
        password_hash=row.password_hash,
        roles=tuple(row.roles),
        created_at=row.created_at,
        updated_at=row.updated_at,
        owns_email=row.owns_email,
        email_verified_at=row.email_verified_at,
        disabled_at=row.disabled_at,
    )
