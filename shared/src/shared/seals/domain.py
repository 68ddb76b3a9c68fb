"""A link of the chain: no database, no clock."""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from shared.times import iso

#: The bytes of a digest.
WIDTH: Final = 32

#: The key of a row: its time, and the rest of its primary key without the tenant.
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Seal:
    """One seal, as it is kept."""

    tenant: str
    chain: str
    number: int
    version: int
    rows: int
    first_at: datetime
    first_key: list[Any]
    last_at: datetime
    last_key: list[Any]
    until: datetime
    content: bytes
    previous: bytes | None
    hash: bytes
    sealed_at: datetime

    @property
    def last(self) -> Key:
        return (self.last_at, *self.last_key)

    def computed_hash(self) -> bytes:
        """The hash that it should have; the package says how its text is written."""
        told = [
            *(self.version, self.tenant, self.chain, self.number, self.rows, iso(self.until), iso(self.sealed_at)),
            *(None if self.previous is None else self.previous.hex(), hashlib.sha256(self.content).hexdigest()),
        ]
        return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode()).digest()


class Slice(NamedTuple):
    """Rows that follow each other."""

    rows: int
    first_at: datetime
    first_key: list[Any]
    last_at: datetime
    last_key: list[Any]
    #: The digest of each, one behind the other.
    content: bytes


def next_seal(
    tenant: str,
    chain: str,
    version: int,
    found: Slice,
    *,
    after: Seal | None,
    until: datetime,
    sealed_at: datetime,
) -> Seal:
    """The seal of these rows.

    Args:
        found: at least one.
        after: the seal before; None for the first.
        until: all rows of an earlier time are among these, or before them.
    """
    unsigned = Seal(
        tenant=tenant,
        chain=chain,
        number=1 if after is None else after.number + 1,
        version=version,
        rows=found.rows,
        first_at=found.first_at,
        first_key=found.first_key,
        last_at=found.last_at,
        last_key=found.last_key,
        until=in_milliseconds(until),
        content=found.content,
        previous=None if after is None else after.hash,
        hash=b"",
        sealed_at=in_milliseconds(sealed_at),
    )
    return replace(unsigned, hash=unsigned.computed_hash())


def in_milliseconds(moment: datetime) -> datetime:
    """The whole millisecond at or before it, as it is spelled on the wire."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
