"""How a row is authenticated: one text of all that its token encodes, under a version.

A row keeps the version with its MAC, and each version's text stays as it is for ever. Version 2 names each value and
leaves out what is not there: a new term changes no text of a row that has none, and needs no new version.
"""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from token_service.tokens.domain import TokenId
from token_service.tokens.terms import Content

_MICROSECONDS: Final = 1_000_000
#: The version that new rows get, as it stands before their MAC.
VERSION: Final = b"\x02"
_MAC_BYTES: Final = 16


def mac_text(token_id: TokenId, content: Content) -> bytes:
    """What a new row's MAC is made of: every value but those that change with use and revocation.

    No value has a line break, no name has `=`, and the first line is empty, as it is in no text of version 1: no two
    contents give the same text.
    """
    tenant, key_number, sequence = token_id
    return (
        f"{mac_text_before(tenant, key_number)}{sequence}\n{content.terms.customer_id}{mac_text_after(content)}"
    ).encode()


def mac_text_before(tenant: str, key_number: int) -> str:
    """The text before a token's number and customer."""
    return f"\n2\n{tenant}\n{key_number}\n"


def mac_text_after(content: Content) -> str:
    """The text after them, which an import makes once for thousands of rows."""
    named = _named(content)
    del named["customer_id"]
    return "".join(f"\n{name}={_text(value)}" for name, value in named.items() if value is not None)


def versioned(mac: bytes) -> bytes:
    """A MAC over `mac_text` as the row keeps it."""
    return VERSION + mac


def is_authentic(kept: bytes, token_id: TokenId, content: Content, is_mac: Callable[[bytes, bytes], bool]) -> bool:
    """Whether a row is as it was written.

    Args:
        kept: the version and the MAC; those of version 1 are the MAC alone.
        is_mac: whether these bytes are the MAC of this text.
    """
    if len(kept) == _MAC_BYTES:
        text = _text_of_version_1(token_id, content)
        return text is not None and is_mac(kept, text)
    return kept[:1] == VERSION and is_mac(kept[1:], mac_text(token_id, content))


_VERSION_1: Final = (
    *("customer_id", "campaign_id", "base_url", "issued_at", "expires_at", "product_id", "attributes", "not_before"),
    "max_uses",
)


def _text_of_version_1(token_id: TokenId, content: Content) -> bytes | None:
    """As rows were authenticated that keep no version; None for a row that says more than they could."""
    named = _named(content)
    if any(value is not None for name, value in named.items() if name not in _VERSION_1):
        return None
    values = ("" if named[name] is None else _text(named[name]) for name in _VERSION_1)
    return "\n".join([*map(str, token_id), *values]).encode()


def _named(content: Content) -> dict[str, Any]:
    """Every value under its name, in an order that does not depend on the declaration's."""
    named = {**content.terms._asdict(), **content._asdict()}
    del named["terms"]
    return dict(sorted(named.items()))


def _text(value: Any) -> str:
    return str(_microseconds(value)) if isinstance(value, datetime) else str(value)


@lru_cache(maxsize=1024)
def _microseconds(moment: datetime) -> int:
    """A time as a number that Python and PostgreSQL agree on. Tokens issued together share times."""
    return int(moment.timestamp()) * _MICROSECONDS + moment.microsecond
