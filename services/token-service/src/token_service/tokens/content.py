"""How a row is authenticated: one text of all that its token encodes."""

from datetime import datetime
from typing import Final

import orjson

from token_service.tokens.domain import Content, TokenId

_MICROSECONDS: Final = 1_000_000


def mac_text(token_id: TokenId, content: Content) -> bytes:
    """What a row's MAC is made of: every column but those that change with use and revocation."""
    return orjson.dumps(
        (
            *token_id,
            content.customer_id,
            content.campaign_id,
            content.base_url,
            _number(content.issued_at),
            _number(content.expires_at),
            content.product_id,
            content.attributes,
            _number(content.not_before),
            content.max_uses,
        )
    )


def _number(moment: datetime | None) -> int | None:
    """Microseconds: the same from Python and from PostgreSQL."""
    return None if moment is None else int(moment.timestamp()) * _MICROSECONDS + moment.microsecond
