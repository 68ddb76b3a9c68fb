"""The format of a token: one AES block in hexadecimal, of `sequence (40) ‖ expiry minute (24) ‖ zero (64)` bits.

Encode-then-encipher (Bellare & Rogaway 2000): a block that the key did not make deciphers to 64 zero bits with a chance
of 2⁻⁶⁴, and different plain blocks give different tokens. This module has the plain block and the hexadecimal;
`keys.material` enciphers.
"""

import re
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

TOKEN_CHARACTERS: Final = 32
BLOCK_BYTES: Final = 16
MAX_SEQUENCE: Final = 2**40 - 1
#: The expiry of a token that never expires: 24 ones.
NEVER: Final = 2**24 - 1
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
#: The end of a token without one, where an end has to be said: the first moment that no token can say.
FOREVER: Final = EPOCH + NEVER * _MINUTE
_ZEROS: Final = bytes(8)
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Plain(NamedTuple):
    """The content of a token without its row. `expiry_minute` counts from 2026-01-01 and is rounded up."""

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
    """The blocks of many (sequence, expiry minute), one after the other."""
    numbers = [sequence << 24 | minute for sequence, minute in plains]
    return struct.pack(">" + "Q8x" * len(numbers), *numbers)


def unpack(block: bytes) -> Plain | None:
    """The content of a deciphered block; None if another key enciphered it."""
    if block[8:] != _ZEROS:
        return None
    number = int.from_bytes(block[:8], "big")
    return Plain(number >> 24, number & NEVER)


def is_token(text: str) -> bool:
    """Whether a text is 32 lower-case hexadecimal characters."""
    return _TOKEN.fullmatch(text) is not None


def expiry_minute_of(expires_at: datetime | None) -> int:
    """The minute that a token carries, rounded up, so that the token never expires before its row.

    Raises:
        ValueError: the time lies before 2026 or after November 2057, where 24 bits end.
    """
    if expires_at is None or expires_at == FOREVER:
        return NEVER
    minute = -((EPOCH - expires_at) // _MINUTE)
    if not 0 <= minute < NEVER:
        raise ValueError("this expiry does not fit into a token")
    return minute


def has_expired(expiry_minute: int, now: datetime) -> bool:
    """Whether a token is past its minute, and so certainly expired."""
    return expiry_minute != NEVER and (now - EPOCH) // _MINUTE >= expiry_minute
