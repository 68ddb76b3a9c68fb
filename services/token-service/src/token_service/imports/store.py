"""Statements on references of imports. Connection first."""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from token_service.tokens.domain import TokenId

_CLAIM = """
INSERT INTO token_service.import_references (tenant, campaign_id, reference, sequence, expires_at, key_number)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::smallint[])
 ORDER BY 1, 2, 3, 4
    ON CONFLICT DO NOTHING
RETURNING sequence
"""
_READ = """
SELECT campaign_id, reference, key_number, sequence
  FROM unnest($2::text[], $3::text[]) AS named (campaign_id, reference)
  JOIN token_service.import_references kept USING (campaign_id, reference)
 WHERE kept.tenant = $1
"""


async def claim_references(connection: asyncpg.Connection, rows: Sequence[tuple[Any, ...]]) -> set[int]:
    """Claims references; returns the numbers of rows whose reference is new.

    Args:
        rows: tenant, campaign, reference, sequence, expires_at, key number.
    """
    found = await connection.fetch(_CLAIM, *(list(column) for column in zip(*rows, strict=True)))
    return {row[0] for row in found}


async def read_references(
    connection: asyncpg.Connection, tenant: str, references: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], TokenId]:
    """(campaign, reference) → its token."""
    campaigns, named = zip(*references, strict=True)
    rows = await connection.fetch(_READ, tenant, list(campaigns), list(named))
    return {(row[0], row[1]): TokenId(tenant, row[2], row[3]) for row in rows}
