"""Statements on tokens. Connection first; the hot ones take whole batches on a plain asyncpg connection."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import asyncpg
from shared.events.outbox import columns_of, recording
from shared.tenant_statements import execute, fetch, only_tenant, statement

from token_service.counting.store import CampaignCount
from token_service.events import token_used_up
from token_service.tokens.domain import Token, TokenId, Uses
from token_service.tokens.terms import CHANGEABLE, COLUMNS, TERMS, Content, Terms


class Placement(NamedTuple):
    """A campaign and the base URL of its links."""

    tenant: str
    campaign_id: str
    base_url: str


@dataclass(frozen=True, slots=True)
class Found:
    """A token's row with its MAC."""

    token: Token
    mac: bytes


_PLACED: Final = ", ".join(f"{'t' if name in COLUMNS else 'p'}.{name}" for name in TERMS)
_COLUMNS = (
    f"t.tenant, t.key_number, t.sequence, {_PLACED}, t.issued_at, t.expires_at, t.first_expires_at,"
    " t.uses + coalesce(t.spared, 0), coalesce(t.uses_by_bots, 0), coalesce(t.uses_by_scanners, 0), t.first_used_at,"
    " t.last_used_at, coalesce(t.spared, 0),"
    " coalesce(t.revoked_at, CASE WHEN t.issued_at <= c.revoked_at THEN c.revoked_at END), t.mac"
)
# LATERAL with OFFSET makes PostgreSQL look up each row by its index. Otherwise the planner reads whole young tables,
# and a connection keeps that plan when they have grown.
_READ = statement(
    f"""
WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS now)
SELECT moment.now, found.*
  FROM moment
  LEFT JOIN (
    SELECT {_COLUMNS}
      FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS named (tenant, key_number, sequence),
           LATERAL (SELECT * FROM token_service.tokens
                     WHERE tenant = «named» AND key_number = named.key_number AND sequence = named.sequence
                    OFFSET 0) AS t,
           LATERAL (SELECT * FROM token_service.placements
                     WHERE tenant = «t» AND number = t.placement OFFSET 0) AS p,
           LATERAL (SELECT * FROM token_service.campaigns
                     WHERE tenant = «p» AND campaign_id = p.campaign_id OFFSET 0) AS c
  ) AS found ON true
""",  # noqa: S608 — constants
    3,
)

# Sorted, so that two batches cannot deadlock. A locked row is read as it is once the lock is held.
_LOCK = statement(
    f"""
SELECT {_COLUMNS}
  FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS named (tenant, key_number, sequence)
  JOIN token_service.tokens t
    ON t.tenant = «named» AND t.key_number = named.key_number AND t.sequence = named.sequence
  JOIN token_service.placements p ON p.tenant = t.tenant AND p.number = t.placement
  JOIN token_service.campaigns c ON c.tenant = p.tenant AND c.campaign_id = p.campaign_id
 ORDER BY t.tenant, t.key_number, t.sequence
   FOR NO KEY UPDATE OF t
""",  # noqa: S608 — constants
    3,
)

_WRITE_USES = statement(
    f"""
WITH counted AS (
  INSERT INTO token_service.campaign_counts AS kept (tenant, campaign_id, hour, event, detail, count)
  SELECT «new», campaign_id, hour, event, detail, count
    FROM unnest($10::text[], $11::text[], $12::timestamptz[], $13::text[], $14::text[], $15::bigint[])
         AS new (tenant, campaign_id, hour, event, detail, count)
   ORDER BY 1, 2, 3, 4, 5
      ON CONFLICT (tenant, campaign_id, hour, event, detail) DO UPDATE SET count = kept.count + excluded.count
), told AS (
  {recording("token_service", 16, tenant="«told»")}
)
UPDATE token_service.tokens t
   SET uses = new.uses, uses_by_bots = nullif(new.bots, 0), uses_by_scanners = nullif(new.scanners, 0),
       first_used_at = new.first_at, last_used_at = new.last_at, spared = nullif(new.spared, 0)
  FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
              $7::timestamptz[], $8::timestamptz[], $9::bigint[])
       AS new (tenant, key_number, sequence, uses, bots, scanners, first_at, last_at, spared)
 WHERE t.tenant = «new» AND t.key_number = new.key_number AND t.sequence = new.sequence
""",  # noqa: S608 — constants
    20,
)

_INSERT_CAMPAIGNS = statement(
    """
INSERT INTO token_service.campaigns (tenant, campaign_id, created_at)
SELECT DISTINCT «named», campaign_id, now()
  FROM unnest($1::text[], $2::text[]) AS named (tenant, campaign_id) ORDER BY 1, 2
    ON CONFLICT DO NOTHING
""",
    2,
)
_INSERT_PLACEMENTS = statement(
    """
INSERT INTO token_service.placements (tenant, campaign_id, base_url)
SELECT «named», campaign_id, base_url
  FROM unnest($1::text[], $2::text[], $3::text[]) AS named (tenant, campaign_id, base_url) ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING
""",
    3,
)
_READ_PLACEMENTS = statement(
    """
SELECT p.tenant, p.campaign_id, p.base_url, p.number
  FROM unnest($1::text[], $2::text[], $3::text[]) AS named (tenant, campaign_id, base_url)
  JOIN token_service.placements p
    ON p.tenant = «named» AND p.campaign_id = named.campaign_id AND p.base_url = named.base_url
""",
    3,
)

#: Column → type of what is written of a new token. The first three differ from row to row of an import.
TOKEN_COLUMNS: Final[Mapping[str, str]] = {
    "sequence": "bigint",
    "customer_id": "text",
    "mac": "bytea",
    "tenant": "text",
    "key_number": "smallint",
    "placement": "integer",
    "issued_at": "timestamptz",
    "expires_at": "timestamptz",
    **{name: column for name, column in COLUMNS.items() if name != "customer_id"},
}
_TENANT_AT: Final = list(TOKEN_COLUMNS).index("tenant")
_NEW: Final = ", ".join(f"${place}::{column}[]" for place, column in enumerate(TOKEN_COLUMNS.values(), start=1))
_COUNT_COLUMNS: Final = ("text", "text", "timestamptz", "text", "text", "bigint")
_COUNTED: Final = ", ".join(
    f"${place}::{column}[]" for place, column in enumerate(_COUNT_COLUMNS, start=len(TOKEN_COLUMNS) + 1)
)
_INSERT_TOKENS = statement(
    f"""
WITH counted AS (
  INSERT INTO token_service.campaign_counts AS kept (tenant, campaign_id, hour, event, detail, count)
  SELECT «added», campaign_id, hour, event, detail, count
    FROM unnest({_COUNTED}) AS added (tenant, campaign_id, hour, event, detail, count)
   ORDER BY 1, 2, 3, 4, 5
      ON CONFLICT (tenant, campaign_id, hour, event, detail) DO UPDATE SET count = kept.count + excluded.count
)
INSERT INTO token_service.tokens ({", ".join(TOKEN_COLUMNS)})
SELECT {", ".join("«new»" if name == "tenant" else f"new.{name}" for name in TOKEN_COLUMNS)}
  FROM unnest({_NEW}) AS new ({", ".join(TOKEN_COLUMNS)})
""",  # noqa: S608 — constants
    len(TOKEN_COLUMNS) + len(_COUNT_COLUMNS),
)


async def read_tokens(connection: asyncpg.Connection, ids: Iterable[TokenId]) -> tuple[datetime, dict[TokenId, Found]]:
    """The database's clock, and the tokens that exist."""
    columns = _columns(list(ids), 3)
    rows = await fetch(connection, _READ, only_tenant(connection, columns[0]), *columns)
    found = (_found(row[1:]) for row in map(tuple, rows) if row[1] is not None)
    return rows[0][0], {each.token.id: each for each in found}


async def lock_tokens(connection: asyncpg.Connection, ids: Iterable[TokenId]) -> dict[TokenId, Found]:
    """The tokens that exist, locked until the transaction ends."""
    columns = _columns(sorted(ids), 3)
    rows = await fetch(connection, _LOCK, only_tenant(connection, columns[0]), *columns)
    return {found.token.id: found for found in map(_found, rows)}


async def write_uses(
    connection: asyncpg.Connection,
    tokens: Sequence[Token],
    counts: Mapping[CampaignCount, int],
    used_up: Iterable[Token],
) -> None:
    """Of tokens that are locked, at least one, and what is counted of their campaigns. One statement.

    Args:
        used_up: those of `tokens` whose last use was taken by these.
    """
    rows = [
        (*t.id, t.uses.used_up, t.uses.by_bots, t.uses.by_scanners, t.uses.first_at, t.uses.last_at, t.uses.spared)
        for t in tokens
    ]
    counted = [(*key, count) for key, count in counts.items()]
    told = columns_of((t.id.tenant, token_used_up(t, t.uses.last_at)) for t in used_up)
    tenant = only_tenant(connection, (t.id.tenant for t in tokens))
    await execute(connection, _WRITE_USES, tenant, *_columns(rows, 9), *_columns(counted, 6), *told)


_CHANGE = f"""
UPDATE token_service.tokens
   SET expires_at = $4, first_expires_at = $5, mac = $6,
       {", ".join(f"{name} = ${place}" for place, name in enumerate(CHANGEABLE, start=7))}
 WHERE tenant = $1 AND key_number = $2 AND sequence = $3
"""  # noqa: S608 — constants


async def write_content(connection: asyncpg.Connection, token: Token, mac: bytes) -> None:
    """What was changed of a token that is locked."""
    content = token.content
    terms = [getattr(content.terms, name) for name in CHANGEABLE]
    await connection.execute(_CHANGE, *token.id, content.expires_at, content.first_expires_at, mac, *terms)


async def read_clock(connection: asyncpg.Connection) -> datetime:
    """The database's clock, which orders issuing and revoking, whatever the processes' clocks say."""
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return now


async def insert_tokens(
    connection: asyncpg.Connection, records: Sequence[tuple[Any, ...]], counts: Mapping[CampaignCount, int]
) -> None:
    """Inserts a few records of `record_of`, at least one, and their counts, in one statement."""
    counted = [(*key, count) for key, count in counts.items()]
    columns = _columns(records, len(TOKEN_COLUMNS))
    tenant = only_tenant(connection, columns[_TENANT_AT])
    await execute(connection, _INSERT_TOKENS, tenant, *columns, *_columns(counted, 6))


def copied(record: tuple[Any, ...]) -> str:
    """A single record of `record_of` for COPY."""
    sequence, customer_id, mac, *others = record
    return copy_line(sequence, customer_id, mac, copy_line_after(others))


def copy_line_after(values: Iterable[Any]) -> str:
    """What COPY reads behind number, customer and MAC; made once for rows that differ in nothing else.

    As text: the driver's binary encoding of each value took a fifth of an import.
    """
    return "".join(f"\t{_copied(value)}" for value in values) + "\n"


def copy_line(sequence: int, customer_id: str, mac: bytes, after: str) -> str:
    """A row for COPY."""
    return f"{sequence}\t{_text(customer_id)}\t\\\\x{mac.hex()}{after}"


async def copy_tokens(connection: asyncpg.Connection, rows: Iterable[str]) -> None:
    """Many at once, as `copy_line` makes them: COPY costs a fraction of INSERT."""
    await connection.copy_to_table(
        "tokens",
        schema_name="token_service",
        columns=list(TOKEN_COLUMNS),
        source=_in_one("".join(rows).encode()),
        format="text",
    )


async def _in_one(data: bytes) -> AsyncIterator[bytes]:
    """As one chunk, since the driver would read a file in a thread."""
    yield data


#: COPY's text for NULL, and its escapes of characters that end a value or a row.
_NULL: Final = "\\N"
_ESCAPED: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copied(value: Any) -> str:
    if value is None:
        return _NULL
    if isinstance(value, datetime):
        return _moment(value)
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: str) -> str:
    return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPED)


@lru_cache(maxsize=1024)
def _moment(value: datetime) -> str:
    return value.isoformat()


def record_of(token_id: TokenId, content: Content, placement: int, mac: bytes) -> tuple[Any, ...]:
    """The values of `TOKEN_COLUMNS`."""
    return (token_id.sequence, content.terms.customer_id, mac, *common_of(token_id, content, placement))


def common_of(token_id: TokenId, content: Content, placement: int) -> tuple[Any, ...]:
    """Those behind number, customer and MAC."""
    terms = content.terms._asdict()
    return (
        token_id.tenant,
        token_id.key_number,
        placement,
        content.issued_at,
        content.expires_at,
        *[terms[name] for name in COLUMNS if name != "customer_id"],
    )


async def place(connection: asyncpg.Connection, placements: Iterable[Placement]) -> dict[Placement, int]:
    """The permanent number of each placement. New ones are written with their campaigns."""
    rows = sorted(set(placements))
    found = await _read_placements(connection, rows)
    missing = [row for row in rows if row not in found]
    if missing:
        columns = _columns(missing, 3)
        tenant = only_tenant(connection, columns[0])
        await execute(connection, _INSERT_CAMPAIGNS, tenant, *columns[:2])
        await execute(connection, _INSERT_PLACEMENTS, tenant, *columns)
        found |= await _read_placements(connection, missing)
    return found


async def _read_placements(connection: asyncpg.Connection, rows: Sequence[Placement]) -> dict[Placement, int]:
    columns = _columns(rows, 3)
    found = await fetch(connection, _READ_PLACEMENTS, only_tenant(connection, columns[0]), *columns)
    return {Placement(row[0], row[1], row[2]): row[3] for row in found}


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as arrays for `unnest`, one for each column, also without rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


_TERMS_END: Final = 3 + len(TERMS)
_CONTENT_END: Final = _TERMS_END + 3
_USES_END: Final = _CONTENT_END + 6


def _found(row: Any) -> Found:
    content = Content(Terms._make(row[3:_TERMS_END]), *row[_TERMS_END:_CONTENT_END])
    revoked_at, mac = row[_USES_END:]
    return Found(Token(TokenId(row[0], row[1], row[2]), content, Uses(*row[_CONTENT_END:_USES_END]), revoked_at), mac)
