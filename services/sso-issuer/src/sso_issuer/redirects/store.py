"""Issuances in the database: appended, read, never changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from shared.events.outbox import columns_of, record, recording
from shared.tenant_statements import Statement, execute, fetch, only_tenant, statement
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.events import redirect_issued
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.store import SealedKey
from sso_issuer.redirects.domain import Issuance, IssuancePlace, ListedIssuance
from sso_issuer.tables import events, issuances, redemptions
from sso_issuer.vendors.domain import Delivery, Secret, Vendor
from sso_issuer.vendors.store import secret_of, vendor_of

_COLUMNS: Final = (
    ("tenant", "text"),
    ("jti", "text"),
    ("user_id", "text"),
    ("vendor_id", "text"),
    ("delivery", "text"),
    ("algorithm", "text"),
    ("kid", "text"),
    ("points", "bigint"),
    ("client_id", "text"),
    ("request_id", "text"),
    ("audience", "text"),
    ("token_digest", "bytea"),
    ("issued_at", "timestamptz"),
    ("expires_at", "timestamptz"),
)
#: The rows and, in the same round trip, their events.
_APPEND: Final = statement(
    f"WITH appended AS (INSERT INTO sso_issuer.issuances ({', '.join(name for name, _ in _COLUMNS)}) "  # noqa: S608 — our own names
    f"SELECT «new», {', '.join(name for name, _ in _COLUMNS[1:])} "
    f"FROM unnest({', '.join(f'${n}::{kind}[]' for n, (_, kind) in enumerate(_COLUMNS, 1))}) "
    f"AS new ({', '.join(name for name, _ in _COLUMNS)})) "
    f"{recording('sso_issuer', len(_COLUMNS) + 1, tenant='«told»')}",
    len(_COLUMNS) + 5,
)
_TERMS: Final = statement(
    """
    SELECT vendors.*, keys.kid, keys.private_key, clock_timestamp() AS now
    FROM unnest($1::text[], $2::text[]) AS asked (tenant, vendor_id)
      JOIN sso_issuer.vendors ON vendors.tenant = «asked» AND vendors.vendor_id = asked.vendor_id
      LEFT JOIN sso_issuer.keys
        ON keys.tenant = vendors.tenant AND keys.algorithm = vendors.algorithm AND keys.state = 'active'
""",
    2,
)
_SECRETS: Final = statement(
    """
    SELECT secrets.* FROM unnest($1::text[], $2::text[]) AS asked (tenant, vendor_id)
      JOIN sso_issuer.vendor_secrets AS secrets
        ON secrets.tenant = «asked» AND secrets.vendor_id = asked.vendor_id
    ORDER BY secrets.n
""",
    2,
)
_FIND: Final = statement(
    f"""
    SELECT {", ".join(f"issuances.{name}" for name, _ in _COLUMNS)}, redemptions.redeemed_at
    FROM unnest($1::text[], $2::text[]) AS asked (tenant, jti)
      JOIN sso_issuer.issuances ON issuances.tenant = «asked» AND issuances.jti = asked.jti
      LEFT JOIN sso_issuer.redemptions ON redemptions.tenant = «asked» AND redemptions.jti = asked.jti
""",  # noqa: S608 — our own names
    2,
)


@dataclass(frozen=True, kw_only=True)
class VendorTerms:
    """A vendor, its signing key pair if there is one, and the database's clock, of one statement."""

    vendor: Vendor
    key: SealedKey | None
    read_at: datetime


async def read_terms(
    connection: asyncpg.Connection, asked: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], VendorTerms]:
    """The terms by tenant and vendor id; vendors that do not exist are left out."""
    rows = await _fetch(connection, _TERMS, asked)
    return {(row["tenant"], row["vendor_id"]): _terms(row) for row in rows}


async def read_secrets(
    connection: asyncpg.Connection, asked: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], list[Secret]]:
    """The vendors' secrets by tenant and vendor id, also those that have ended lately, oldest first."""
    found: dict[tuple[str, str], list[Secret]] = {place: [] for place in asked}
    for row in await _fetch(connection, _SECRETS, asked):
        found[row["tenant"], row["vendor_id"]].append(secret_of(row))
    return found


async def _fetch(
    connection: asyncpg.Connection, sent: Statement, asked: Sequence[tuple[str, str]]
) -> list[asyncpg.Record]:
    tenants = [tenant for tenant, _ in asked]
    return await fetch(connection, sent, only_tenant(connection, tenants), tenants, [name for _, name in asked])


def _terms(row: Mapping[str, Any]) -> VendorTerms:
    key = None
    if row["kid"] is not None:
        algorithm = Algorithm(row["algorithm"])
        key = SealedKey(tenant=row["tenant"], kid=row["kid"], algorithm=algorithm, sealed=row["private_key"])
    return VendorTerms(vendor=vendor_of(row), key=key, read_at=row["now"])


async def append_all(connection: asyncpg.Connection, rows: Sequence[Issuance]) -> None:
    """Appends rows of any tenants in one statement."""
    columns = ([_plain(getattr(row, name)) for row in rows] for name, _ in _COLUMNS)
    told = columns_of((row.tenant, redirect_issued(row)) for row in rows)
    tenant = only_tenant(connection, (row.tenant for row in rows))
    await execute(connection, _APPEND, tenant, *columns, *told)


async def append(connection: AsyncConnection, row: Issuance) -> None:
    """Appends one row within the caller's transaction."""
    values = {name: _plain(getattr(row, name)) for name, _ in _COLUMNS}
    await connection.execute(sa.insert(issuances).values(**values))
    await record(connection, events, row.tenant, [redirect_issued(row)])


async def find(connection: AsyncConnection, tenant: str, jti: str) -> ListedIssuance | None:
    """One issuance and when its token was redeemed."""
    row = (await connection.execute(_listed().where(issuances.c.tenant == tenant, issuances.c.jti == jti))).first()
    return None if row is None else _issuance(row)


async def find_all(
    connection: asyncpg.Connection, asked: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], ListedIssuance]:
    """The same for many, by tenant and jti."""
    rows = await _fetch(connection, _FIND, asked)
    return {
        (row["tenant"], row["jti"]): ListedIssuance(**{**row, "delivery": Delivery(row["delivery"])}) for row in rows
    }


async def list_newest(
    connection: AsyncConnection,
    tenant: str,
    *,
    user_id: str | None,
    vendor_id: str | None,
    before: IssuancePlace | None,
    limit: int,
) -> list[ListedIssuance]:
    """Issuances before a place, newest first."""
    query = _listed().where(issuances.c.tenant == tenant)
    if user_id is not None:
        query = query.where(issuances.c.user_id == user_id)
    if vendor_id is not None:
        query = query.where(issuances.c.vendor_id == vendor_id)
    if before is not None:
        place = sa.tuple_(sa.literal(before.issued_at, sa.DateTime(timezone=True)), sa.literal(before.jti, sa.Text))
        query = query.where(sa.tuple_(issuances.c.issued_at, issuances.c.jti) < place)
    query = query.order_by(issuances.c.issued_at.desc(), issuances.c.jti.desc()).limit(limit)
    return [_issuance(row) for row in await connection.execute(query)]


def _listed() -> sa.Select[Any]:
    joined = issuances.outerjoin(
        redemptions, (redemptions.c.tenant == issuances.c.tenant) & (redemptions.c.jti == issuances.c.jti)
    )
    return sa.select(*issuances.c, redemptions.c.redeemed_at).select_from(joined)


def _issuance(row: Any) -> ListedIssuance:
    values = dict(row._mapping)  # SQLAlchemy's documented name, not a private one
    return ListedIssuance(**{**values, "delivery": Delivery(row.delivery)})


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Delivery) else value
