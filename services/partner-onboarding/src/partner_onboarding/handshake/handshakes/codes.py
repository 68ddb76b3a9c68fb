"""Storage of codes: as keyed hashes, and sealed if the service must show them again."""

import hashlib
import hmac

from shared.sealing import Sealer

from partner_onboarding import contexts


class CodeKeeping:
    """Hashes codes under a key outside of the database, and seals the private one.

    A copy of the database reveals neither code. Without the key nobody can look the public code up; without the
    key-encryption key nobody can open the private code, which the browser gets at the end.
    """

    def __init__(self, key: bytes, sealer: Sealer) -> None:
        self._key = key
        self._sealer = sealer

    def register_hash(self, code: str) -> bytes:
        return hmac.digest(self._key, b"register\0" + code.encode(), hashlib.sha256)

    def authorization_hash(self, code: str) -> bytes:
        return hmac.digest(self._key, b"authorization\0" + code.encode(), hashlib.sha256)

    def seal(self, tenant: str, register_hash: bytes, authorization_code: str) -> bytes:
        return self._sealer.seal(authorization_code.encode(), contexts.handshake(tenant, register_hash))

    def open(self, tenant: str, register_hash: bytes, sealed: bytes) -> str:
        """Raises shared.sealing.CannotOpen if the row was changed or its key is missing."""
        return self._sealer.open(sealed, contexts.handshake(tenant, register_hash)).decode()
