"""The authorities in the database: audit, revocations, used codes and assertions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from shared.db import driver_of
from shared.tenant_statements import ON_ONE_SERVER, Statement, execute, fetch, only_tenant, statement
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.authority.domain import Event, EventKind, EventPlace, IssuedToken
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.store import SealedKey
from sso_issuer.tables import authority_events, keys, redeemed_codes, revoked_tokens, used_assertions

_COLUMNS: Final = (
    ("tenant", "text"),
    ("event_id", "text"),
    ("event", "text"),
    ("reason", "text"),
    ("client_id", "text"),
    ("subject", "text"),
    ("jti", "text"),
    ("token_client_id", "text"),
    ("grant_type", "text"),
    ("scope", "text"),
    ("consent_version", "bigint"),
    ("kid", "text"),
    ("request_id", "text"),
    ("expires_at", "timestamptz"),
    ("happened_at", "timestamptz"),
)
_NAMES: Final = ", ".join(name for name, _ in _COLUMNS)
_EVENTS: Final = (
    f"INSERT INTO sso_issuer.authority_events ({_NAMES}) "  # noqa: S608 — our own names
    f"SELECT «event»{_NAMES.removeprefix('tenant').removesuffix('happened_at')} "
    "coalesce(happened_at, clock_timestamp()) "
    f"FROM unnest({', '.join(f'${n}::{kind}[]' for n, (_, kind) in enumerate(_COLUMNS, 1))}) AS event({_NAMES})"
)
_APPEND: Final = statement(_EVENTS, len(_COLUMNS))
#: The revocations and, in the same round trip, the rows that tell of them.
_APPEND_AND_REVOKE: Final = statement(
    "WITH revoked_now AS (INSERT INTO sso_issuer.revoked_tokens (tenant, jti, expires_at) "  # noqa: S608 — our own names
    "SELECT «revoked», jti, expires_at FROM unnest("
    + ", ".join(f"${len(_COLUMNS) + n}::{kind}[]" for n, kind in enumerate(("text", "text", "timestamptz"), 1))
    + f") AS revoked(tenant, jti, expires_at) ON CONFLICT DO NOTHING) {_EVENTS}",
    len(_COLUMNS) + 3,
)
_TAKE_CODES: Final = statement(
    """
    INSERT INTO sso_issuer.redeemed_codes (tenant, code_digest, jti, token_expires_at, forget_at)
    SELECT «code», code_digest, jti, token_expires_at, clock_timestamp() + interval '1 hour'
    FROM unnest($1::text[], $2::bytea[], $3::text[], $4::timestamptz[])
      AS code(tenant, code_digest, jti, token_expires_at)
    ON CONFLICT DO NOTHING RETURNING tenant, jti
""",
    4,
)
_USE_ASSERTIONS: Final = statement(
    """
    INSERT INTO sso_issuer.used_assertions (tenant, client_id, jti_digest, expires_at)
    SELECT «used», client_id, jti_digest, expires_at
    FROM unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[])
      AS used(tenant, client_id, jti_digest, expires_at)
    ON CONFLICT DO NOTHING RETURNING tenant, client_id, jti_digest
""",
    4,
)
_SIGNING: Final = statement(
    """
    SELECT asked.tenant, clock_timestamp() AS now, keys.kid, keys.private_key
    FROM unnest($1::text[]) AS asked (tenant) LEFT JOIN sso_issuer.keys
      ON keys.tenant = «asked» AND keys.algorithm = $2 AND keys.state = 'active'
""",
    2,
)
#: Each table by its own keys, and joined then: a plan that was made for a young table would read all of it.
_READ_TOKENS: Final = """
    SELECT clock.now, asked.tenant, asked.jti, asked.kid, issued.client_id, issued.subject, issued.scope,
      issued.consent_version, issued.expires_at, revoked.jti IS NOT NULL AS is_revoked, keys.public_jwk
    FROM (SELECT clock_timestamp() AS now) AS clock
      LEFT JOIN unnest($1::text[], $2::text[], $3::text[]) AS asked (tenant, jti, kid) ON true
      LEFT JOIN (
        SELECT tenant, jti, client_id, subject, scope, consent_version, expires_at FROM sso_issuer.authority_events
        WHERE tenant {of_these} AND jti = ANY ($2::text[]) AND event = 'issued'
      ) AS issued ON issued.tenant = asked.tenant AND issued.jti = asked.jti
      LEFT JOIN (
        SELECT tenant, jti FROM sso_issuer.revoked_tokens WHERE tenant {of_these} AND jti = ANY ($2::text[])
      ) AS revoked ON revoked.tenant = asked.tenant AND revoked.jti = asked.jti
      LEFT JOIN (
        SELECT tenant, kid, public_jwk FROM sso_issuer.keys
        WHERE tenant {of_these} AND kid = ANY ($3::text[]) AND state IN ('active', 'retiring')
      ) AS keys ON keys.tenant = asked.tenant AND keys.kid = asked.kid
"""
_TOKENS: Final = Statement(
    of_one_tenant=_READ_TOKENS.format(of_these="= $4::text"),
    of_several=f"{_READ_TOKENS.format(of_these='= ANY ($4::text[])')}{ON_ONE_SERVER}",
)

#: Tenant, client, and digest of the `jti` of an assertion.
AssertionPlace = tuple[str, str, bytes]
#: Tenant, `jti` and `kid` of a token, as it says itself.
TokenNames = tuple[str, str | None, str | None]


@dataclass(frozen=True, kw_only=True)
class TakenCode:
    """A code and the token that it gives."""

    tenant: str
    code_digest: bytes
    jti: str
    token_expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Revocation:
    tenant: str
    jti: str
    expires_at: datetime


async def has_keys(connection: AsyncConnection, tenant: str) -> bool:
    """Whether the tenant has ever had a key here."""
    return bool(await connection.scalar(sa.select(sa.exists().where(keys.c.tenant == tenant))))


async def read_signing_keys(
    connection: asyncpg.Connection, tenants: Sequence[str], algorithm: Algorithm
) -> tuple[dict[str, SealedKey], datetime]:
    """The keys that sign access tokens now, by tenant, and the database's clock, in one statement."""
    rows = await fetch(connection, _SIGNING, only_tenant(connection, tenants), tenants, algorithm.value)
    found = {
        row["tenant"]: SealedKey(tenant=row["tenant"], kid=row["kid"], algorithm=algorithm, sealed=row["private_key"])
        for row in rows
        if row["kid"] is not None
    }
    return found, rows[0]["now"]


async def append_events(
    connection: asyncpg.Connection, events: Sequence[Event], revocations: Sequence[Revocation] = ()
) -> None:
    """Appends rows of any tenants, and revokes tokens, in one statement. A revoked token stays revoked."""
    columns = [[getattr(event, name) for event in events] for name, _ in _COLUMNS]
    tenant = only_tenant(connection, columns[0])
    if not revocations:
        await execute(connection, _APPEND, tenant, *columns)
        return
    # Sorted, so that two batches cannot deadlock.
    ordered = sorted(revocations, key=lambda revocation: (revocation.tenant, revocation.jti))
    await execute(
        connection,
        _APPEND_AND_REVOKE,
        tenant,
        *columns,
        [revocation.tenant for revocation in ordered],
        [revocation.jti for revocation in ordered],
        [revocation.expires_at for revocation in ordered],
    )


async def take_codes(connection: asyncpg.Connection, codes: Sequence[TakenCode]) -> set[tuple[str, str]]:
    """Records the token of each code; returns (tenant, jti) of those whose code was unused."""
    # Sorted, so that two batches cannot deadlock.
    ordered = sorted(codes, key=lambda code: (code.tenant, code.code_digest))
    rows = await fetch(
        connection,
        _TAKE_CODES,
        only_tenant(connection, (code.tenant for code in ordered)),
        [code.tenant for code in ordered],
        [code.code_digest for code in ordered],
        [code.jti for code in ordered],
        [code.token_expires_at for code in ordered],
    )
    return {(row["tenant"], row["jti"]) for row in rows}


async def spoil_code(connection: AsyncConnection, tenant: str, code_digest: bytes) -> Revocation | None:
    """Marks a code as replayed, and returns the token that it gave, if it gave one.

    If the first use is being written, this waits for it. If the first use comes later, it fails.
    """
    statement = postgresql.insert(redeemed_codes).values(
        tenant=tenant, code_digest=code_digest, forget_at=sa.text("clock_timestamp() + interval '1 hour'")
    )
    statement = statement.on_conflict_do_update(
        index_elements=[redeemed_codes.c.tenant, redeemed_codes.c.code_digest],
        set_={"forget_at": sa.func.greatest(redeemed_codes.c.forget_at, statement.excluded.forget_at)},
    )
    row = (await connection.execute(statement.returning(redeemed_codes.c.jti, redeemed_codes.c.token_expires_at))).one()
    if row.jti is None:
        return None
    return Revocation(tenant=tenant, jti=row.jti, expires_at=row.token_expires_at)


async def find_issued(connection: AsyncConnection, tenant: str, jti: str) -> IssuedToken | None:
    """What the audit knows of a token, and whether it was revoked."""
    names = tenant, jti, None
    found, _ = await read_tokens(await driver_of(connection), [names])
    return found[names][0]


async def read_tokens(
    connection: asyncpg.Connection, asked: Sequence[TokenNames]
) -> tuple[dict[TokenNames, tuple[IssuedToken | None, str | None]], datetime]:
    """The same for many, each with the public half of its key as the text of a JWK, and the database's clock.

    A key is left out if tokens under it are no good any more. All in one statement.
    """
    columns = list(zip(*asked, strict=True))
    tenants = set(columns[0])
    tenant = only_tenant(connection, tenants)
    rows = await fetch(connection, _TOKENS, tenant, *columns, *([] if tenant is not None else [list(tenants)]))
    found = {(row["tenant"], row["jti"], row["kid"]): (_issued(row), row["public_jwk"]) for row in rows}
    return found, rows[0]["now"]


def _issued(row: Mapping[str, Any]) -> IssuedToken | None:
    if row["client_id"] is None:
        return None
    return IssuedToken(
        jti=row["jti"],
        client_id=row["client_id"],
        subject=row["subject"],
        scopes=frozenset(row["scope"].split()),
        consent_version=row["consent_version"],
        expires_at=row["expires_at"],
        is_revoked=row["is_revoked"],
    )


async def list_newest(
    connection: AsyncConnection,
    tenant: str,
    *,
    client_id: str | None,
    kind: EventKind | None,
    before: EventPlace | None,
    limit: int,
) -> list[Event]:
    """Events before a place, newest first. With a client, also events about that client's tokens."""
    columns = authority_events.c
    query = sa.select(authority_events).where(columns.tenant == tenant)
    if client_id is not None:
        query = query.where((columns.client_id == client_id) | (columns.token_client_id == client_id))
    if kind is not None:
        query = query.where(columns.event == kind.value)
    if before is not None:
        place = sa.tuple_(
            sa.literal(before.happened_at, sa.DateTime(timezone=True)), sa.literal(before.event_id, sa.Text)
        )
        query = query.where(sa.tuple_(columns.happened_at, columns.event_id) < place)
    query = query.order_by(columns.happened_at.desc(), columns.event_id.desc()).limit(limit)
    rows = (dict(row._mapping) for row in await connection.execute(query))
    return [Event(**{**values, "event": EventKind(values["event"])}) for values in rows]


async def use_assertions(
    connection: asyncpg.Connection, assertions: Mapping[AssertionPlace, datetime]
) -> set[AssertionPlace]:
    """Uses assertions up, each until its time; returns those that were unused."""
    # Sorted, so that two batches cannot deadlock.
    ordered = sorted(assertions.items())
    tenants = [tenant for (tenant, _, _), _ in ordered]
    rows = await fetch(
        connection,
        _USE_ASSERTIONS,
        only_tenant(connection, tenants),
        tenants,
        [client_id for (_, client_id, _), _ in ordered],
        [digest for (_, _, digest), _ in ordered],
        [expires_at for _, expires_at in ordered],
    )
    return {(row["tenant"], row["client_id"], row["jti_digest"]) for row in rows}


async def forget_expired(connection: AsyncConnection) -> int:
    """Deletes expired revocations, codes and assertions. The audit stays."""
    deleted = 0
    for table, end in (
        (revoked_tokens, revoked_tokens.c.expires_at),
        (redeemed_codes, redeemed_codes.c.forget_at),
        (used_assertions, used_assertions.c.expires_at),
    ):
        deleted += (await connection.execute(sa.delete(table).where(end < sa.func.now()))).rowcount
    return deleted
