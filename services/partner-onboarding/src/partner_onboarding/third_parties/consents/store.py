"""Every statement about consents and authorization codes. Consents are only ever added."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from shared.db import Database
from shared.tenant_readings import TenantReading
from sqlalchemy import ARRAY, ColumnElement, Row, Select, Text, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.tables import clients, users
from partner_onboarding.third_parties.consents.domain import CODE_LIFETIME, Asked, Code, Consent, Next, PresentConsent
from partner_onboarding.third_parties.tables import authorization_codes, consents

#: How long a used code is remembered, to tell a replay from an unknown code.
_REPLAYS_KNOWN_FOR = timedelta(days=1)

_ASKED: Final = (
    func.unnest(bindparam("tenants", type_=ARRAY(Text)), bindparam("client_ids", type_=ARRAY(Text)))
    .table_valued("tenant", "client_id", name="asked")
    .render_derived()
)


def _present(tenant: ColumnElement[str]) -> Select[Any]:
    """The present ones of the consents that are asked about; `tenant` is that of a consent."""
    versions = consents.alias("versions")
    of_asked = (versions.c.tenant == tenant) & (versions.c.client_id == _ASKED.c.client_id)
    newest = select(func.max(versions.c.version)).where(of_asked).correlate(_ASKED).scalar_subquery()
    # With which a consent began: the first version, or the one after the last withdrawal.
    begun_with = (
        select(func.coalesce(func.max(versions.c.version), 0))
        .where(of_asked, versions.c.event == "granted")
        .correlate(_ASKED)
        .scalar_subquery()
    )
    return (
        select(
            consents.c.tenant,
            consents.c.client_id,
            consents.c.subject,
            consents.c.scopes,
            consents.c.version,
            begun_with.label("since_version"),
        )
        .select_from(_ASKED)
        .join(clients, (clients.c.tenant == tenant) & (clients.c.client_id == _ASKED.c.client_id))
        .join(
            consents,
            (consents.c.tenant == tenant)
            & (consents.c.client_id == _ASKED.c.client_id)
            & (consents.c.version == newest),
        )
        .where(clients.c.disabled_at.is_(None), consents.c.event != "withdrawn")
    )


_PRESENT: Final = TenantReading(_present, _ASKED.c.tenant)


async def now(connection: AsyncConnection) -> datetime:
    moment: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return moment


async def latest(connection: AsyncConnection, tenant: str, client_id: str) -> Consent | None:
    """The newest version, which may be a withdrawal."""
    columns = consents.c
    query = select(consents).where(columns.tenant == tenant, columns.client_id == client_id)
    row = (await connection.execute(query.order_by(columns.version.desc()).limit(1))).one_or_none()
    return _consent(row) if row is not None else None


async def present(connection: AsyncConnection, tenant: str, client_id: str) -> Consent | None:
    """The present consent: not withdrawn, and to an enabled client."""
    columns = consents.c
    query = (
        select(consents)
        .join(clients, (clients.c.tenant == columns.tenant) & (clients.c.client_id == columns.client_id))
        .where(columns.tenant == tenant, columns.client_id == client_id, clients.c.disabled_at.is_(None))
        .order_by(columns.version.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    found = _consent(row) if row is not None else None
    return found if found is not None and found.holds else None


async def present_among(database: Database, asked: Sequence[tuple[str, str]]) -> list[PresentConsent]:
    """Those of the consents, by tenant and client id, that are not withdrawn, and to an enabled client.

    Raises:
        Unavailable: the database cannot be reached.
    """
    columns = {"tenants": [tenant for tenant, _ in asked], "client_ids": [client_id for _, client_id in asked]}
    rows = await _PRESENT.read(database, columns)
    return [
        PresentConsent(row.tenant, row.client_id, row.subject, tuple(row.scopes), row.version, row.since_version)
        for row in rows
    ]


async def begun_with(connection: AsyncConnection, tenant: str, client_id: str) -> int:
    """The version with which the newest consent began: the first one, or the one after the last withdrawal."""
    columns = consents.c
    query = select(func.coalesce(func.max(columns.version), 0)).where(
        columns.tenant == tenant, columns.client_id == client_id, columns.event == "granted"
    )
    version: int = (await connection.execute(query)).scalar_one()
    return version


async def history(connection: AsyncConnection, tenant: str, client_id: str) -> list[Consent]:
    """All versions, newest first."""
    columns = consents.c
    query = select(consents).where(columns.tenant == tenant, columns.client_id == client_id)
    return [_consent(row) for row in await connection.execute(query.order_by(columns.version.desc()))]


async def latest_of_all(connection: AsyncConnection, tenant: str, after: str, limit: int) -> list[Consent]:
    """The newest version for each client after `after`, in the order of client ids."""
    columns = consents.c
    newest = (
        select(columns.client_id, func.max(columns.version).label("version"))
        .where(columns.tenant == tenant, columns.client_id > after)
        .group_by(columns.client_id)
        .order_by(columns.client_id)
        .limit(limit)
        .subquery()
    )
    query = (
        select(consents)
        .join(newest, (newest.c.client_id == columns.client_id) & (newest.c.version == columns.version))
        .where(columns.tenant == tenant)
        .order_by(columns.client_id)
    )
    return [_consent(row) for row in await connection.execute(query)]


async def acts_for(connection: AsyncConnection, tenant: str, user_id: str) -> bool:
    """Whether a consent that holds designates this person for API calls."""
    columns, later = consents.c, consents.alias()
    is_newest = ~exists().where(
        later.c.tenant == tenant, later.c.client_id == columns.client_id, later.c.version > columns.version
    )
    query = (
        select(columns.client_id)
        .join(clients, (clients.c.tenant == columns.tenant) & (clients.c.client_id == columns.client_id))
        .where(
            columns.tenant == tenant,
            columns.subject == user_id,
            columns.event != "withdrawn",
            clients.c.disabled_at.is_(None),
            is_newest,
        )
        .limit(1)
    )
    return (await connection.execute(query)).first() is not None


async def naming(connection: AsyncConnection, tenant: str, user_id: str) -> list[tuple[str, Consent]]:
    """Every version that names a person, as the API user or as the one who decided; with the client's name.

    Oldest first.
    """
    columns = consents.c
    query = (
        select(consents, clients.c.name)
        .join(clients, (clients.c.tenant == columns.tenant) & (clients.c.client_id == columns.client_id))
        .where(
            columns.tenant == tenant,
            (columns.subject == user_id) | ((columns.actor == user_id) & (columns.actor_kind != "client")),
        )
        .order_by(columns.recorded_at, columns.client_id, columns.version)
    )
    return [(row.name, _consent(row)) for row in await connection.execute(query)]


async def add(connection: AsyncConnection, tenant: str, client_id: str, following: Next, actor: Actor) -> Consent:
    statement = insert(consents).values(
        tenant=tenant,
        client_id=client_id,
        version=following.version,
        event=following.event,
        subject=following.subject,
        scopes=list(following.scopes),
        words=dict(following.words),
        language=following.language,
        actor_kind=actor.kind,
        actor=actor.name,
    )
    return _consent((await connection.execute(statement.returning(consents))).one())


async def user_with_email(connection: AsyncConnection, tenant: str, email_hash: bytes) -> str | None:
    """The id of the tenant's user who owns this address."""
    query = select(users.c.user_id).where(
        users.c.tenant == tenant, users.c.email_hash == email_hash, users.c.owns_email
    )
    found: str | None = (await connection.execute(query)).scalar_one_or_none()
    return found


async def add_code(
    connection: AsyncConnection, tenant: str, client_id: str, code_hash: bytes, asked: Asked, version: int
) -> None:
    await connection.execute(
        insert(authorization_codes).values(
            tenant=tenant,
            code_hash=code_hash,
            client_id=client_id,
            redirect_uri=asked.redirect_uri,
            code_challenge=asked.code_challenge,
            scopes=list(asked.scopes),
            consent_version=version,
            expires_at=func.now() + CODE_LIFETIME,
        )
    )


async def lock_code(connection: AsyncConnection, tenant: str, client_id: str, code_hash: bytes) -> Code | None:
    """The client's code, locked until the transaction ends."""
    columns = authorization_codes.c
    query = select(authorization_codes).where(
        columns.tenant == tenant, columns.code_hash == code_hash, columns.client_id == client_id
    )
    row = (await connection.execute(query.with_for_update())).one_or_none()
    if row is None:
        return None
    return Code(
        redirect_uri=row.redirect_uri,
        code_challenge=row.code_challenge,
        scopes=tuple(row.scopes),
        consent_version=row.consent_version,
        expires_at=row.expires_at,
        redeemed_at=row.redeemed_at,
    )


async def use_code_up(connection: AsyncConnection, tenant: str, code_hash: bytes) -> None:
    await connection.execute(
        update(authorization_codes)
        .where(authorization_codes.c.tenant == tenant, authorization_codes.c.code_hash == code_hash)
        .values(redeemed_at=func.now())
    )


async def delete_old_codes(connection: AsyncConnection) -> int:
    result = await connection.execute(
        delete(authorization_codes).where(authorization_codes.c.expires_at < func.now() - _REPLAYS_KNOWN_FOR)
    )
    return result.rowcount


def _consent(row: Row[Any]) -> Consent:
    return Consent(
        tenant=row.tenant,
        client_id=row.client_id,
        version=row.version,
        event=row.event,
        subject=row.subject,
        scopes=tuple(row.scopes),
        words=row.words,
        language=row.language,
        actor=Actor(row.actor_kind, row.actor),
        recorded_at=row.recorded_at,
    )
