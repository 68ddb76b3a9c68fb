"""The clock of a sandbox tenant: its tokens begin and end earlier."""

from datetime import datetime, timedelta
from typing import Any, Final

from shared.db import driver_of
from shared.sandboxes.domain import Advance
from sqlalchemy.ext.asyncio import AsyncConnection

from token_service.keys.ring import KeyRing
from token_service.tokens import store
from token_service.tokens.content import is_authentic, mac_text, versioned
from token_service.tokens.domain import TokenId
from token_service.tokens.store import Found

_AT_ONCE: Final = 500
_NEXT = """
SELECT key_number, sequence
  FROM token_service.tokens
 WHERE tenant = $1 AND (key_number, sequence) > ($2::smallint, $3::bigint) AND issued_at <= $4
 ORDER BY key_number, sequence
 LIMIT $5
"""
_MOVE = """
UPDATE token_service.tokens t
   SET expires_at = new.expires_at, first_expires_at = new.first_expires_at, not_before = new.not_before, mac = new.mac
  FROM unnest($2::smallint[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::bytea[])
       AS new (key_number, sequence, expires_at, first_expires_at, not_before, mac)
 WHERE t.tenant = $1 AND t.key_number = new.key_number AND t.sequence = new.sequence
"""


class TokenMoving:
    """Moves the tokens of a sandbox as a change of each would: the row is authenticated anew, and the token itself,
    which cannot change, goes on carrying the end that it was made with."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def move(self, connection: AsyncConnection, advance: Advance) -> str | None:
        """Moves a slice; returns the place behind it, or None when there are no more."""
        driver = await driver_of(connection)
        key_number, sequence = map(int, (advance.place or "0.0").split("."))
        rows = await driver.fetch(_NEXT, advance.tenant, key_number, sequence, advance.moved_at, _AT_ONCE)
        if not rows:
            return None
        await self._ring.signing_key(advance.tenant)  # so that the keys are at hand
        ids = [TokenId(advance.tenant, row["key_number"], row["sequence"]) for row in rows]
        found = await store.lock_tokens(driver, ids)
        now = await store.read_clock(driver)
        moved = [row for each in found.values() if (row := self._moved(each, advance.amount, now)) is not None]
        if moved:
            await driver.execute(_MOVE, advance.tenant, *map(list, zip(*moved, strict=True)))
        return f"{ids[-1].key_number}.{ids[-1].sequence}"

    def _moved(self, found: Found, amount: timedelta, now: datetime) -> tuple[Any, ...] | None:
        """What is written of a token; None for one that stays, or that somebody has edited."""
        token, content = found.token, found.token.content
        key = self._ring.key(token.id.tenant, token.id.key_number)
        if key is None or not is_authentic(found.mac, token.id, content, key.is_mac):
            return None
        end, begin = content.expires_at, content.terms.not_before
        if end is not None and end > now:
            end = max(end - amount, now)
        if begin is not None:
            begin -= amount
        if (end, begin) == (content.expires_at, content.terms.not_before):
            return None
        # It stays what the token says, also where the row says something earlier.
        first_end = content.latest_end
        moved = content._replace(
            terms=content.terms._replace(not_before=begin), expires_at=end, first_expires_at=first_end
        )
        mac = versioned(key.mac(mac_text(token.id, moved)))
        return (*token.id[1:], end, first_end, begin, mac)
