"""Statements on references of imports. Connection first."""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from token_service.tokens.domain import TokenId

_CLAIM = """
INSERT INTO token_service.import_references (tenant, campaign_id, reference, sequence, expires_at, key_number)
SELECT $1::text, new.*
  FROM unnest($2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::smallint[])
    AS new (campaign_id, reference, sequence, expires_at, key_number)
 ORDER BY new.campaign_id, new.reference, new.sequence
    ON CONFLICT DO NOTHING
RETURNING sequence
"""
_READ = """
SELECT campaign_id, reference, key_number, sequence
  FROM unnest($2::text[], $3::text[]) AS named (campaign_id, reference)
  JOIN token_service.import_references kept USING (campaign_id, reference)
 WHERE kept.tenant = $1
"""


_RENEW = """
UPDATE token_service.import_references kept
   SET sequence = new.sequence, expires_at = new.expires_at, key_number = new.key_number
  FROM unnest($2::text[], $3::text[], $4::smallint[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::smallint[])
       AS new (campaign_id, reference, former_key, former_sequence, sequence, expires_at, key_number)
 WHERE kept.tenant = $1 AND kept.campaign_id = new.campaign_id AND kept.reference = new.reference
   AND kept.key_number = new.former_key AND kept.sequence = new.former_sequence
RETURNING kept.sequence
"""
_LOCK = """
SELECT FROM token_service.import_references
 WHERE tenant = $1 AND (campaign_id, reference) IN (SELECT * FROM unnest($2::text[], $3::text[]))
 ORDER BY campaign_id, reference
   FOR NO KEY UPDATE
"""


async def renew_references(connection: asyncpg.Connection, tenant: str, rows: Sequence[tuple[Any, ...]]) -> set[int]:
    """Gives references another token; the numbers of those that nobody else has renewed meanwhile.

    Args:
        rows: campaign, reference, key number and sequence until now, and sequence, expires_at, key number from now on.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    # In one order, so that two imports cannot deadlock.
    await connection.execute(_LOCK, tenant, *columns[:2])
    return {row[0] for row in await connection.fetch(_RENEW, tenant, *columns)}


async def claim_references(connection: asyncpg.Connection, tenant: str, rows: Sequence[tuple[Any, ...]]) -> set[int]:
    """Claims references of a tenant; returns the numbers of rows whose reference is new.

    Args:
        rows: campaign, reference, sequence, expires_at, key number.
    """
    found = await connection.fetch(_CLAIM, tenant, *(list(column) for column in zip(*rows, strict=True)))
    return {row[0] for row in found}


async def read_references(
    connection: asyncpg.Connection, tenant: str, references: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], TokenId]:
    """(campaign, reference) → its token."""
    campaigns, named = zip(*references, strict=True)
    rows = await connection.fetch(_READ, tenant, list(campaigns), list(named))
    return {(row[0], row[1]): TokenId(tenant, row[2], row[3]) for row in rows}
