"""Signatures that need no check: this process made them itself, or has checked them."""

from hashlib import sha256
from typing import Final

from shared.bounded import Bounded
from shared.jwt import GoodSignatures, Parts, VerificationKey

#: The algorithm whose key a vendor has as well.
SHARED: Final = "HS256"
_REMEMBERED: Final = 10_000


class OwnSignatures(GoodSignatures):
    """Remembers the access tokens that were signed here. Most are asked about soon, in the process that signed them.

    The digest of a token stands beside the `kid` that signed it. A `kid` is the thumbprint of its key (decision 0016),
    so the key that the database has under it is the one that signed. Whether that key still counts, and all else that
    makes a token good, is judged each time.
    """

    def __init__(self) -> None:
        super().__init__(_REMEMBERED)
        self._made: Bounded[bytes, str] = Bounded(_REMEMBERED)

    def note(self, token: str, kid: str) -> None:
        """Remembers a token that the private key `kid` has just signed."""
        self._made.keep(sha256(token.encode()).digest(), kid)

    def is_good(self, parts: Parts, key: VerificationKey) -> bool:
        # A secret is built anew for each token, and checked as quickly as a digest is looked up.
        if key.algorithm == SHARED:
            return parts.is_signed_by(key)
        return self._made.get(parts.digest()) == key.kid or super().is_good(parts, key)
