"""How a row is authenticated: one text of all that its token encodes."""

from datetime import datetime
from functools import lru_cache
from typing import Final

from token_service.tokens.domain import Content, TokenId

_MICROSECONDS: Final = 1_000_000


def mac_text(token_id: TokenId, content: Content) -> bytes:
    """What a row's MAC is made of: every column but those that change with use and revocation."""
    tenant, key_number, sequence = token_id
    customer_id, campaign_id, base_url, issued_at, expires_at, product_id, attributes, not_before, max_uses = content
    return mac_text_of(
        tenant,
        key_number,
        sequence,
        customer_id,
        campaign_id,
        base_url,
        issued_at,
        expires_at,
        product_id,
        attributes,
        not_before,
        max_uses,
    )


def mac_text_of(
    tenant: str,
    key_number: int,
    sequence: int,
    customer_id: str,
    campaign_id: str,
    base_url: str,
    issued_at: datetime,
    expires_at: datetime | None,
    product_id: str | None,
    attributes: str | None,
    not_before: datetime | None,
    max_uses: int | None,
) -> bytes:
    """The same for imports, which make no objects of their rows.

    No value has a line break, and there is always the same number of lines: no two contents give the same text.
    """
    return (
        f"{tenant}\n{key_number}\n{sequence}\n{customer_id}\n{campaign_id}\n{base_url}\n{_microseconds(issued_at)}\n"
        f"{'' if expires_at is None else _microseconds(expires_at)}\n{product_id or ''}\n{attributes or ''}\n"
        f"{'' if not_before is None else _microseconds(not_before)}\n{max_uses or ''}"
    ).encode()


@lru_cache(maxsize=1024)
def _microseconds(moment: datetime) -> int:
    """The same number from Python and from PostgreSQL. Tokens issued together share their moments."""
    return int(moment.timestamp()) * _MICROSECONDS + moment.microsecond
