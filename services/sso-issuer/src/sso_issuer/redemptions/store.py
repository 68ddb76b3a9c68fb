"""Redemptions in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from shared.events.domain import NewEvent, new_key
from shared.events.outbox import text_of
from shared.tenant_statements import fetch, only_tenant, statement
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.redemptions.domain import Redemption
from sso_issuer.redirects.domain import ListedIssuance
from sso_issuer.tables import redemptions, vendors
from sso_issuer.vendors.domain import Delivery, Vendor
from sso_issuer.vendors.store import vendor_of

_ISSUANCE: Final = tuple(field.name for field in fields(ListedIssuance) if field.name != "redeemed_at")
_TOKENS: Final = statement(
    f"""
    SELECT asked.tenant, asked.vendor_id, asked.jti, asked.kid, clock_timestamp() AS now,
      {", ".join(f"vendors.{column.name}" for column in vendors.c if column.name not in {"tenant", "vendor_id"})},
      {", ".join(f"issuances.{name} AS issued_{name}" for name in _ISSUANCE)},
      redemptions.redeemed_at, keys.public_jwk
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS asked (tenant, vendor_id, jti, kid)
      JOIN sso_issuer.vendors ON vendors.tenant = «asked» AND vendors.vendor_id = asked.vendor_id
      LEFT JOIN sso_issuer.issuances ON issuances.tenant = «asked» AND issuances.jti = asked.jti
      LEFT JOIN sso_issuer.redemptions ON redemptions.tenant = issuances.tenant AND redemptions.jti = issuances.jti
      LEFT JOIN sso_issuer.keys
        ON keys.tenant = «asked» AND keys.kid = asked.kid AND keys.state IN ('active', 'retiring')
""",  # noqa: S608 — our own names
    4,
)
#: The redemptions and, in the same round trip, the events of those that are the first of their tokens.
_APPEND: Final = statement(
    """
    WITH brought AS MATERIALIZED (
      SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[]
      ) AS brought (tenant, jti, client_id, request_id, points_now, owner, key, event)
    ), appended AS (
      INSERT INTO sso_issuer.redemptions (tenant, jti, client_id, request_id, points_now, redeemed_at)
      SELECT «brought», jti, client_id, request_id, points_now, clock_timestamp() FROM brought
      ON CONFLICT DO NOTHING RETURNING tenant, jti, redeemed_at
    ), told AS (
      INSERT INTO sso_issuer.event_batches (tenant, key, owner, size, events)
      SELECT «brought», min(brought.key), brought.owner, count(*), '[' || string_agg(brought.event, ',') || ']'
      FROM appended JOIN brought ON brought.tenant = appended.tenant AND brought.jti = appended.jti
      GROUP BY brought.tenant, brought.owner
    )
    SELECT tenant, jti, redeemed_at FROM appended
""",
    8,
)
_REDEEMED_AT: Final = statement(
    """
    SELECT redemptions.tenant, redemptions.jti, redemptions.redeemed_at
    FROM unnest($1::text[], $2::text[]) AS asked (tenant, jti)
      JOIN sso_issuer.redemptions ON redemptions.tenant = «asked» AND redemptions.jti = asked.jti
""",
    2,
)


#: Tenant, vendor, and `jti` and `kid` of a token, as it says itself.
TokenNames = tuple[str, str, str | None, str | None]


@dataclass(frozen=True, kw_only=True)
class KnownToken:
    """What the database says of a token at one moment.

    Attributes:
        issuance: the one for this vendor that the token names.
        public_jwk: of the key that the token names, as text, if tokens under it may still be good.
    """

    vendor: Vendor
    issuance: ListedIssuance | None
    public_jwk: str | None
    read_at: datetime


async def read_tokens(connection: asyncpg.Connection, asked: Sequence[TokenNames]) -> dict[TokenNames, KnownToken]:
    """What is known of tokens, in one statement; those of vendors that the tenant does not have are left out."""
    columns = list(zip(*asked, strict=True))
    rows = await fetch(connection, _TOKENS, only_tenant(connection, columns[0]), *columns)
    return {
        (row["tenant"], row["vendor_id"], row["jti"], row["kid"]): KnownToken(
            vendor=vendor_of(row), issuance=_issuance_in(row), public_jwk=row["public_jwk"], read_at=row["now"]
        )
        for row in rows
    }


def _issuance_in(row: Mapping[str, Any]) -> ListedIssuance | None:
    # Compared here: in the statement, it would let a plan walk through all that the vendor ever had.
    if row["issued_vendor_id"] != row["vendor_id"]:
        return None
    values = {name: row[f"issued_{name}"] for name in _ISSUANCE}
    return ListedIssuance(**{**values, "delivery": Delivery(values["delivery"]), "redeemed_at": row["redeemed_at"]})


async def append_all(
    connection: asyncpg.Connection, redemptions: Sequence[tuple[Redemption, NewEvent]]
) -> dict[tuple[str, str], datetime]:
    """Appends redemptions of different tokens, with their events, in one statement.

    Returns when by tenant and jti, of those whose token had no redemption. Of the others nothing is written.
    """
    # Sorted, so that two batches cannot deadlock.
    ordered = sorted(redemptions, key=lambda one: (one[0].tenant, one[0].jti))
    # One row of events for each owner.
    keys = {owner: new_key() for owner in {(redemption.tenant, event.owner) for redemption, event in ordered}}
    tenants = [redemption.tenant for redemption, _ in ordered]
    rows = await fetch(
        connection,
        _APPEND,
        only_tenant(connection, tenants),
        tenants,
        [redemption.jti for redemption, _ in ordered],
        [redemption.client_id for redemption, _ in ordered],
        [redemption.request_id for redemption, _ in ordered],
        [redemption.points_now for redemption, _ in ordered],
        [event.owner for _, event in ordered],
        [keys[redemption.tenant, event.owner] for redemption, event in ordered],
        [text_of(event) for _, event in ordered],
    )
    return {(row["tenant"], row["jti"]): row["redeemed_at"] for row in rows}


async def read_redeemed_at(
    connection: asyncpg.Connection, asked: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], datetime]:
    """When tokens were redeemed, by tenant and jti."""
    tenants = [tenant for tenant, _ in asked]
    tenant = only_tenant(connection, tenants)
    rows = await fetch(connection, _REDEEMED_AT, tenant, tenants, [jti for _, jti in asked])
    return {(row["tenant"], row["jti"]): row["redeemed_at"] for row in rows}


async def append(connection: AsyncConnection, redemption: Redemption) -> bool:
    """Appends the redemption if the token has none. Of many calls at once, one returns True."""
    statement = (
        postgresql.insert(redemptions)
        .values(**asdict(redemption), redeemed_at=sa.func.clock_timestamp())
        .on_conflict_do_nothing()
    )
    return (await connection.execute(statement.returning(redemptions.c.jti))).first() is not None
