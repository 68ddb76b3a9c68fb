"""Codes: how the public one says its tenant; their storage as keyed hashes, and sealed if they must be shown again.

A browser brings the public code and no tenant. So that one server can be asked and not all of them, six of its 22
characters say the tenant: a number of the tenant's, to which a number is added that the other 16 give under a key
outside of the database. Without the key a code looks like 22 characters of pure chance.
"""

import functools
import hashlib
import hmac
import secrets
from typing import Final

from shared.sealing import Sealer

from partner_onboarding import contexts
from partner_onboarding.handshake.handshakes.domain import CODE_CHARACTERS, base58, number_in

_MARK_CHARACTERS: Final = 6
_MARKS: Final = 58**_MARK_CHARACTERS
_CHANCE_CHARACTERS: Final = CODE_CHARACTERS - _MARK_CHARACTERS


class CodeKeeping:
    """Hashes codes under a key outside of the database, and seals the private one.

    A copy of the database reveals neither code. Without the key nobody can look the public code up; without the
    key-encryption key nobody can open the private code, which the browser gets at the end.
    """

    def __init__(self, key: bytes, sealer: Sealer) -> None:
        self._key = key
        self._sealer = sealer
        self.mark_of = functools.lru_cache(maxsize=10_000)(self._mark_of)

    def new_register_code(self, tenant: str) -> str:
        """A public code, from which `mark_in` reads the tenant's mark."""
        chance = base58(secrets.randbelow(58**_CHANCE_CHARACTERS), _CHANCE_CHARACTERS)
        return base58((self.mark_of(tenant) + self._veil(chance)) % _MARKS, _MARK_CHARACTERS) + chance

    def mark_in(self, code: str) -> int:
        """The mark of the tenant that a public code is of. Any text of its form has one."""
        veiled, chance = code[:_MARK_CHARACTERS], code[_MARK_CHARACTERS:]
        return (number_in(veiled) - self._veil(chance)) % _MARKS

    def _mark_of(self, tenant: str) -> int:
        """A number that hardly another tenant has."""
        return self._number(b"tenant\0" + tenant.encode())

    def _veil(self, chance: str) -> int:
        return self._number(b"veil\0" + chance.encode())

    def _number(self, text: bytes) -> int:
        return int.from_bytes(hmac.digest(self._key, text, hashlib.sha256)) % _MARKS

    def register_hash(self, code: str) -> bytes:
        return hmac.digest(self._key, b"register\0" + code.encode(), hashlib.sha256)

    def authorization_hash(self, code: str) -> bytes:
        return hmac.digest(self._key, b"authorization\0" + code.encode(), hashlib.sha256)

    def seal(self, tenant: str, register_hash: bytes, authorization_code: str) -> bytes:
        return self._sealer.seal(authorization_code.encode(), contexts.handshake(tenant, register_hash))

    def open(self, tenant: str, register_hash: bytes, sealed: bytes) -> str:
        """Raises shared.sealing.CannotOpen if the row was changed or its key is missing."""
        return self._sealer.open(sealed, contexts.handshake(tenant, register_hash)).decode()
