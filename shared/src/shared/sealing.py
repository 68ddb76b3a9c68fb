"""Secrets at rest: AES-256-GCM under a data key that a versioned key-encryption key wraps.

    sealed = version (1) ‖ key-encryption key number (2) ‖ nonce (12) ‖ wrapped data key (48) ‖ nonce (12) ‖ text

The context (tenant, id, purpose) is authenticated with both layers, so that a row copied to another place, or
from another tenant, does not open.
"""

import base64
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE_BYTES = 12
_WRAPPED_BYTES = 48
_HEAD_BYTES = 3 + _NONCE_BYTES + _WRAPPED_BYTES + _NONCE_BYTES


class CannotOpen(Exception):
    """The sealed bytes were changed, belong to another context, or their key-encryption key is not here."""


def parse_key_encryption_keys(text: str) -> dict[int, bytes]:
    """Reads `1:<base64 of 32 bytes>,2:<…>`.

    Raises:
        ValueError: not of that form; the message does not repeat the keys.
    """
    keys: dict[int, bytes] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        number, _, encoded = part.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not number.isdecimal() or not 0 < int(number) < 65536 or len(key) != 32:
            raise ValueError("key-encryption keys are written as 1:<base64 of 32 bytes>,2:<…>")
        if int(number) in keys:
            raise ValueError(f"key-encryption key {int(number)} is given twice")
        keys[int(number)] = key
    if not keys:
        raise ValueError("at least one key-encryption key is needed")
    return keys


class Sealer:
    """Seals with the key-encryption key of the highest number; opens with any that it was given."""

    def __init__(self, key_encryption_keys: Mapping[int, bytes]) -> None:
        self._keys = {number: AESGCM(key) for number, key in key_encryption_keys.items()}
        self._current = max(self._keys)

    def seal(self, plain: bytes, context: str) -> bytes:
        """Seals `plain` so that it opens only with the same `context`."""
        bound = context.encode()
        data_key = AESGCM.generate_key(256)
        wrap_nonce, nonce = os.urandom(_NONCE_BYTES), os.urandom(_NONCE_BYTES)
        wrapped = self._keys[self._current].encrypt(wrap_nonce, data_key, bound)
        head = _VERSION + self._current.to_bytes(2, "big") + wrap_nonce + wrapped + nonce
        return head + AESGCM(data_key).encrypt(nonce, plain, bound)

    @property
    def newest(self) -> int:
        """The number of the key-encryption key that seals."""
        return self._current

    def rewrapped(self, sealed: bytes, context: str) -> bytes:
        """The same text under the newest key-encryption key, sealed anew.

        Raises:
            CannotOpen: see there.
        """
        return self.seal(self.open(sealed, context), context)

    def open(self, sealed: bytes, context: str) -> bytes:
        """What was sealed.

        Raises:
            CannotOpen: see there.
        """
        number = int.from_bytes(sealed[1:3], "big")
        key = self._keys.get(number)
        if sealed[:1] != _VERSION or len(sealed) < _HEAD_BYTES:
            raise CannotOpen("not sealed by this program")
        if key is None:
            raise CannotOpen(f"key-encryption key {number} is not configured")
        bound = context.encode()
        wrap_nonce = sealed[3:15]
        wrapped = sealed[15:63]
        nonce = sealed[63:75]
        try:
            data_key = key.decrypt(wrap_nonce, wrapped, bound)
            return AESGCM(data_key).decrypt(nonce, sealed[75:], bound)
        except InvalidTag:
            raise CannotOpen("changed, or sealed for another context") from None
