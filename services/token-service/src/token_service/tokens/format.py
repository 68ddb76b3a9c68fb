"""What a token is: one AES block in hexadecimal, of `sequence (40) ‖ expiry minute (24) ‖ zero (64)` bits.

Encode-then-encipher (Bellare & Rogaway 2000): a block that was not made with the key deciphers to 64 zero bits
with a chance of 2⁻⁶⁴, and two different plain blocks never give the same token. This module knows the plain block
and the hexadecimal; `keys.material` enciphers.
"""

import re
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

TOKEN_CHARACTERS: Final = 32
BLOCK_BYTES: Final = 16
MAX_SEQUENCE: Final = 2**40 - 1
#: The expiry of a token that never expires: all 24 bits are ones.
NEVER: Final = 2**24 - 1
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
_ZEROS: Final = bytes(8)
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Plain(NamedTuple):
    """What a token says without a database. `expiry_minute` counts from 2026-01-01 and is rounded up."""

    sequence: int
    expiry_minute: int


def pack(plain: Plain) -> bytes:
    """The block to encipher.

    Raises:
        ValueError: a number does not fit.
    """
    if not (0 < plain.sequence <= MAX_SEQUENCE and 0 <= plain.expiry_minute <= NEVER):
        raise ValueError("a number does not fit into a token")
    return (plain.sequence << 24 | plain.expiry_minute).to_bytes(8, "big") + _ZEROS


def pack_many(plains: Sequence[tuple[int, int]]) -> bytes:
    """The blocks of many, one after the other; each as (sequence, expiry minute)."""
    numbers = [sequence << 24 | minute for sequence, minute in plains]
    return struct.pack(">" + "Q8x" * len(numbers), *numbers)


def unpack(block: bytes) -> Plain | None:
    """What a deciphered block says; None when it was not enciphered with this key."""
    if block[8:] != _ZEROS:
        return None
    number = int.from_bytes(block[:8], "big")
    return Plain(number >> 24, number & NEVER)


def is_token(text: str) -> bool:
    """32 lower-case hexadecimal characters."""
    return _TOKEN.fullmatch(text) is not None


def expiry_minute_of(expires_at: datetime | None) -> int:
    """The minute that a token carries: rounded up, so that it never says `expired` before the row would.

    Raises:
        ValueError: before 2026, or later than 24 bits reach (November 2057).
    """
    if expires_at is None:
        return NEVER
    minute = -((EPOCH - expires_at) // _MINUTE)
    if not 0 <= minute < NEVER:
        raise ValueError("this expiry does not fit into a token")
    return minute


def has_expired(expiry_minute: int, now: datetime) -> bool:
    """Whether a token is past its minute: certainly expired, whatever the row would say."""
    return expiry_minute != NEVER and (now - EPOCH) // _MINUTE >= expiry_minute
