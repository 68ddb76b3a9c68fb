"""Every statement about clients and their secrets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.db import Database
from shared.readings import Reading
from sqlalchemy import ARRAY, DateTime, Integer, Text, any_, bindparam, func, insert, null, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or_nothing
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.clients.domain import Client, Registration, Rotation, Secret, SecretHash
from partner_onboarding.register.tables import client_secrets, clients
from partner_onboarding.schema import SCHEMA

#: (tenant, client id, n) → when the secret was last used.
LastUses = dict[tuple[str, str, int], datetime]

_WRITE_LAST_USES = text(
    f"""
    UPDATE {SCHEMA}.client_secrets AS kept SET last_used_at = used.at
    FROM unnest(:tenants, :client_ids, :ns, :ats) AS used (tenant, client_id, n, at)
    WHERE (kept.tenant, kept.client_id, kept.n) = (used.tenant, used.client_id, used.n)
      AND (kept.last_used_at IS NULL OR kept.last_used_at < used.at)
    """  # noqa: S608 — the schema's name is a constant
).bindparams(
    bindparam("tenants", type_=ARRAY(Text)),
    bindparam("client_ids", type_=ARRAY(Text)),
    bindparam("ns", type_=ARRAY(Integer)),
    bindparam("ats", type_=ARRAY(DateTime(timezone=True))),
)


_LIVE: Final = client_secrets.c.revoked_at.is_(None) & (
    client_secrets.c.expires_at.is_(None) | (client_secrets.c.expires_at > func.now())
)
_LIVE_SECRETS: Final = Reading(
    select(
        *(column for column in clients.c if column is not clients.c.jwks),
        # No secret's affair, and the driver gives JSON as text.
        null().label("jwks"),
        client_secrets.c.n,
        client_secrets.c.salt,
        client_secrets.c.hash,
        func.now().label("at"),
    )
    .select_from(
        clients.outerjoin(
            client_secrets,
            (client_secrets.c.tenant == clients.c.tenant) & (client_secrets.c.client_id == clients.c.client_id) & _LIVE,
        )
    )
    .where(clients.c.client_id == any_(bindparam("client_ids", type_=ARRAY(Text))), clients.c.disabled_at.is_(None))
    .order_by(client_secrets.c.n)
)


async def now(connection: AsyncConnection) -> datetime:
    """The database's clock; it does not change within a transaction."""
    moment: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return moment


async def add_client(
    connection: AsyncConnection, tenant: str, client_id: str, registration: Registration
) -> Client | None:
    """The new client; None if any tenant has the id, or a live client of this tenant the vendor id."""
    row = (
        await connection.execute(
            insert_or_nothing(clients)
            .values(
                tenant=tenant,
                client_id=client_id,
                name=registration.name,
                kind=registration.kind,
                scopes=list(registration.scopes),
                vendor_id=registration.vendor_id,
                ip_allow_list=list(registration.ip_allow_list),
                landing_url=registration.landing_url,
                redirect_uris=list(registration.redirect_uris),
                jwks=registration.jwks,
            )
            .on_conflict_do_nothing()
            .returning(clients)
        )
    ).one_or_none()
    return _client(row) if row is not None else None


async def find_client(connection: AsyncConnection, client_id: str) -> Client | None:
    """A client by its id alone, for authentication and for operators with shell access."""
    row = (await connection.execute(select(clients).where(clients.c.client_id == client_id))).one_or_none()
    return _client(row) if row is not None else None


async def find_client_of(
    connection: AsyncConnection, tenant: str, client_id: str, *, lock: bool = False
) -> Client | None:
    """A client of `tenant`; `lock` keeps others from changing its secrets until the transaction ends."""
    query = select(clients).where(clients.c.tenant == tenant, clients.c.client_id == client_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return _client(row) if row is not None else None


async def list_clients(connection: AsyncConnection, tenant: str | None, after: str, limit: int) -> list[Client]:
    """Clients in the order of their ids, of one tenant or (for operators with shell access) of all."""
    query = select(clients).where(clients.c.client_id > after).order_by(clients.c.client_id).limit(limit)
    if tenant is not None:
        query = query.where(clients.c.tenant == tenant)
    return [_client(row) for row in await connection.execute(query)]


async def change_client(connection: AsyncConnection, client: Client) -> None:
    """Writes the registration but for kind, vendor id and keys, which stay."""
    registration = client.registration
    await connection.execute(
        update(clients)
        .where(clients.c.tenant == client.tenant, clients.c.client_id == client.client_id)
        .values(
            name=registration.name,
            scopes=list(registration.scopes),
            ip_allow_list=list(registration.ip_allow_list),
            landing_url=registration.landing_url,
            redirect_uris=list(registration.redirect_uris),
        )
    )


async def live_client_of_vendor(connection: AsyncConnection, tenant: str, vendor: str) -> str | None:
    """The id of the live client under whose name the other services keep the records of `vendor`."""
    query = select(clients.c.client_id).where(
        clients.c.tenant == tenant,
        func.coalesce(clients.c.vendor_id, clients.c.client_id) == vendor,
        clients.c.disabled_at.is_(None),
    )
    found: str | None = (await connection.execute(query)).scalar_one_or_none()
    return found


async def disable_client(connection: AsyncConnection, tenant: str, client_id: str) -> bool:
    """Disables a client. False if it was disabled already, which keeps its time."""
    result = await connection.execute(
        update(clients)
        .where(clients.c.tenant == tenant, clients.c.client_id == client_id, clients.c.disabled_at.is_(None))
        .values(disabled_at=func.now())
    )
    return result.rowcount > 0


async def secrets_of(connection: AsyncConnection, tenant: str, client_ids: Iterable[str]) -> dict[str, list[Secret]]:
    """The secrets of several clients of a tenant, ordered by number within each client."""
    wanted = list(client_ids)
    rows = await connection.execute(
        select(client_secrets)
        .where(client_secrets.c.tenant == tenant, client_secrets.c.client_id.in_(wanted))
        .order_by(client_secrets.c.client_id, client_secrets.c.n)
    )
    found: dict[str, list[Secret]] = {client_id: [] for client_id in wanted}
    for row in rows:
        found[row.client_id].append(Secret(row.n, row.created_at, row.expires_at, row.revoked_at, row.last_used_at))
    return found


@dataclass(frozen=True, slots=True)
class LiveSecrets:
    """A client and its live secrets, by their numbers, at a moment of the database's clock."""

    client: Client
    at: datetime
    hashes: Sequence[tuple[int, SecretHash]]


async def live_secrets(database: Database, client_ids: Sequence[str]) -> dict[str, LiveSecrets]:
    """The clients that are not disabled, by their ids, in one statement.

    Raises:
        Unavailable: the database cannot be reached.
    """
    found: dict[str, list[Any]] = {}
    for row in await database.read(_LIVE_SECRETS, client_ids=list(client_ids)):
        found.setdefault(row.client_id, []).append(row)
    return {
        client_id: LiveSecrets(
            _client(rows[0]),
            rows[0].at,
            [(row.n, SecretHash(row.salt, row.hash)) for row in rows if row.n is not None],
        )
        for client_id, rows in found.items()
    }


async def add_secret(connection: AsyncConnection, tenant: str, client_id: str, n: int, secret: SecretHash) -> Secret:
    row = (
        await connection.execute(
            insert(client_secrets)
            .values(tenant=tenant, client_id=client_id, n=n, salt=secret.salt, hash=secret.digest)
            .returning(client_secrets.c.created_at)
        )
    ).one()
    return Secret(n, row.created_at, None, None, None)


async def end_secrets(connection: AsyncConnection, tenant: str, client_id: str, rotation: Rotation) -> None:
    """Ends present secrets as a rotation decided."""
    if rotation.ends_now:
        await revoke_secrets(connection, tenant, client_id, rotation.ends_now)
    for n, moment in rotation.stays_until.items():
        await connection.execute(update(client_secrets).where(*_key(tenant, client_id, n)).values(expires_at=moment))


async def revoke_secrets(connection: AsyncConnection, tenant: str, client_id: str, ns: Iterable[int]) -> bool:
    """Ends secrets now; ended ones keep their time. False if all had ended."""
    result = await connection.execute(
        update(client_secrets)
        .where(
            client_secrets.c.tenant == tenant,
            client_secrets.c.client_id == client_id,
            client_secrets.c.n.in_(list(ns)),
            client_secrets.c.revoked_at.is_(None),
        )
        .values(revoked_at=func.now())
    )
    return result.rowcount > 0


async def write_last_uses(connection: AsyncConnection, uses: LastUses) -> None:
    """Writes last uses, sorted so that two replicas cannot deadlock."""
    entries = sorted(uses.items())
    await connection.execute(
        _WRITE_LAST_USES,
        {
            "tenants": [tenant for (tenant, _, _), _ in entries],
            "client_ids": [client_id for (_, client_id, _), _ in entries],
            "ns": [n for (_, _, n), _ in entries],
            "ats": [at for _, at in entries],
        },
    )


def _key(tenant: str, client_id: str, n: int) -> tuple[Any, Any, Any]:
    columns = client_secrets.c
    return columns.tenant == tenant, columns.client_id == client_id, columns.n == n


def _client(row: Any) -> Client:
    return Client(
        tenant=row.tenant,
        client_id=row.client_id,
        registration=Registration(
            name=row.name,
            kind=row.kind,
            scopes=tuple(row.scopes),
            vendor_id=row.vendor_id,
            ip_allow_list=tuple(row.ip_allow_list),
            landing_url=row.landing_url,
            redirect_uris=tuple(row.redirect_uris),
            jwks=row.jwks,
        ),
        created_at=row.created_at,
        disabled_at=row.disabled_at,
    )
