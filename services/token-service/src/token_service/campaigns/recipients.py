"""A campaign's tokens one by one: whose they are and what has become of them, never the tokens themselves."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
from shared.paging import Listing, Number

from token_service.tokens.domain import TokenState

#: Rows that are looked through for a page; with a filter, a page may have fewer than asked for and still lead on.
_LOOKED_THROUGH: Final = 20_000


class RecipientPlace(NamedTuple):
    """Where in a campaign a token stands: in the order of issuing, one base URL after the other."""

    placement: Number
    key_number: Number
    sequence: Number


#: In the order of issuing. The name is part of every cursor, so it never changes.
RECIPIENTS: Final = Listing("campaign_tokens", RecipientPlace)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A token of a campaign, as far as somebody may know who does not hold it."""

    place: RecipientPlace
    customer_id: str
    reference: str | None
    state: TokenState
    uses: int
    by_people: int
    by_bots: int
    by_scanners: int
    first_used_at: datetime | None
    last_used_at: datetime | None
    issued_at: datetime
    expires_at: datetime | None


_STATE = """
CASE WHEN t.expires_at <= $7 THEN 'expired'
     WHEN t.revoked_at IS NOT NULL OR t.issued_at <= $6 THEN 'revoked'
     WHEN t.uses >= t.max_uses THEN 'used_up'
     WHEN t.uses > 0 THEN 'used'
     ELSE 'unused' END
"""
# Each slice by the index over placements, whatever state is asked for: the work of a page is bounded.
_SLICE = f"""
SELECT t.key_number, t.sequence, t.customer_id, r.reference, {_STATE} AS state, t.uses, coalesce(t.uses_by_bots, 0),
       coalesce(t.uses_by_scanners, 0), t.uses + coalesce(t.spared, 0), t.first_used_at, t.last_used_at, t.issued_at,
       t.expires_at
  FROM (SELECT * FROM token_service.tokens
         WHERE tenant = $1 AND placement = $2 AND (key_number, sequence) > ($3::smallint, $4::bigint)
         ORDER BY key_number, sequence LIMIT $5) AS t
  LEFT JOIN LATERAL (SELECT reference FROM token_service.import_references
                      WHERE tenant = $1 AND key_number = t.key_number AND sequence = t.sequence
                      LIMIT 1) AS r ON true
 ORDER BY t.key_number, t.sequence
"""  # noqa: S608 — constants
_PLACEMENTS = """
SELECT p.number, c.revoked_at, clock_timestamp()
  FROM token_service.campaigns c
  LEFT JOIN token_service.placements p USING (tenant, campaign_id)
 WHERE c.tenant = $1 AND c.campaign_id = $2
 ORDER BY p.number
"""


async def read_recipients(
    connection: asyncpg.Connection,
    tenant: str,
    campaign_id: str,
    *,
    after: RecipientPlace | None,
    limit: int,
    state: TokenState | None,
) -> tuple[list[Recipient], RecipientPlace | None] | None:
    """Up to `limit` tokens, and the place that was looked through last while more may follow.

    None where there is no such campaign.
    """
    placements = await connection.fetch(_PLACEMENTS, tenant, campaign_id)
    if not placements:
        return None
    found: list[Recipient] = []
    left = _LOOKED_THROUGH if state is not None else limit
    place = after or RecipientPlace(0, 0, 0)
    for number, revoked_at, now in placements:
        if number is None or number < place.placement:
            continue
        begin = place if number == place.placement else RecipientPlace(number, 0, 0)
        while left > 0:
            size = min(left, max(limit, 1000))
            rows = await connection.fetch(_SLICE, tenant, number, begin[1], begin[2], size, revoked_at, now)
            left -= len(rows)
            for row in rows:
                begin = place = RecipientPlace(number, row[0], row[1])
                if state is None or row[4] == state:
                    found.append(_recipient(place, row))
                    if len(found) == limit:
                        return found, place
            if len(rows) < size:
                break
        if left <= 0:
            return found, place
    return found, None


def _recipient(place: RecipientPlace, row: Any) -> Recipient:
    customer_id, reference, state, uses, bots, scanners, total, *times = list(row)[2:]
    return Recipient(
        place, customer_id, reference, TokenState(state), uses, total - bots - scanners, bots, scanners, *times
    )
