"""How codes are kept: as keyed hashes, and sealed where they must be told once more."""

import hashlib
import hmac

from shared.sealing import Sealer


class CodeKeeping:
    """Hashes codes under a key that lies outside the database, and seals the private one.

    A database that somebody copies tells neither code: the public one cannot be looked up in it without the key, and
    the private one, which is told to the browser at the end, does not open without the key-encryption key.
    """

    def __init__(self, key: bytes, sealer: Sealer) -> None:
        self._key = key
        self._sealer = sealer

    def register_hash(self, code: str) -> bytes:
        return hmac.digest(self._key, b"register\0" + code.encode(), hashlib.sha256)

    def authorization_hash(self, code: str) -> bytes:
        return hmac.digest(self._key, b"authorization\0" + code.encode(), hashlib.sha256)

    def seal(self, tenant: str, register_hash: bytes, authorization_code: str) -> bytes:
        return self._sealer.seal(authorization_code.encode(), _context(tenant, register_hash))

    def open(self, tenant: str, register_hash: bytes, sealed: bytes) -> str:
        """Raises shared.sealing.CannotOpen when the row was tampered with or its key is gone."""
        return self._sealer.open(sealed, _context(tenant, register_hash)).decode()


def _context(tenant: str, register_hash: bytes) -> str:
    return f"partner-onboarding/handshake/{tenant}/{register_hash.hex()}"
