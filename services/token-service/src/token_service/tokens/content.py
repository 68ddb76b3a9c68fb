"""How a row is authenticated: one text of all that its token encodes."""

from datetime import datetime
from functools import lru_cache
from typing import Final

from token_service.tokens.domain import Content, TokenId

_MICROSECONDS: Final = 1_000_000


def mac_text(token_id: TokenId, content: Content) -> bytes:
    """What a row's MAC is made of: every column but those that change with use and revocation.

    No value has a line break, and there is always the same number of lines: no two contents give the same text.
    """
    tenant, key_number, sequence = token_id
    after = mac_text_after(*content[1:])
    return f"{mac_text_before(tenant, key_number)}{sequence}\n{content.customer_id}{after}".encode()


def mac_text_before(tenant: str, key_number: int) -> str:
    """What stands before a token's number and customer."""
    return f"{tenant}\n{key_number}\n"


def mac_text_after(
    campaign_id: str,
    base_url: str,
    issued_at: datetime,
    expires_at: datetime | None,
    product_id: str | None,
    attributes: str | None,
    not_before: datetime | None,
    max_uses: int | None,
) -> str:
    """What stands behind them; the same for thousands of rows of an import, which makes it once."""
    return (
        f"\n{campaign_id}\n{base_url}\n{_microseconds(issued_at)}\n"
        f"{'' if expires_at is None else _microseconds(expires_at)}\n{product_id or ''}\n{attributes or ''}\n"
        f"{'' if not_before is None else _microseconds(not_before)}\n{max_uses or ''}"
    )


@lru_cache(maxsize=1024)
def _microseconds(moment: datetime) -> int:
    """The same number from Python and from PostgreSQL. Tokens issued together share their moments."""
    return int(moment.timestamp()) * _MICROSECONDS + moment.microsecond
