"""Client secrets: generation, storage and comparison.

A secret has 256 random bits and cannot be guessed, so a slow hash would only give attackers a way to keep the service
busy. The table holds HMAC-SHA256(pepper, salt ‖ secret); the pepper lies outside of the database.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from partner_onboarding.register.clients.domain import MalformedClient, SecretHash

SALT_BYTES = 16
#: At most two secrets of a client are live; every check makes two comparisons, also for an unknown id.
LIVE_SECRETS = 2
_MIN_GIVEN_CHARACTERS = 32
_MAX_GIVEN_CHARACTERS = 512
_NOBODYS = SecretHash(bytes(SALT_BYTES), bytes(32))


def new_secret() -> str:
    """43 characters of 256 random bits."""
    return secrets.token_urlsafe(32)


def check_given(secret: str) -> None:
    """Checks the form of a secret that an operator generated elsewhere.

    Raises:
        MalformedClient: too short, too long, or not printable ASCII.
    """
    printable = secret.isascii() and secret.isprintable() and " " not in secret
    if not _MIN_GIVEN_CHARACTERS <= len(secret) <= _MAX_GIVEN_CHARACTERS or not printable:
        raise MalformedClient(
            f"A client secret has {_MIN_GIVEN_CHARACTERS} to {_MAX_GIVEN_CHARACTERS} printable ASCII characters.",
            code="malformed_secret",
        )


class SecretHashing:
    """Hashes and compares client secrets under one pepper."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper

    def hash(self, secret: str) -> SecretHash:
        salt = secrets.token_bytes(SALT_BYTES)
        return SecretHash(salt, self._digest(salt, secret))

    def find(self, presented: str, kept: Sequence[SecretHash]) -> int | None:
        """The index of the hash that `presented` matches; None if it matches none.

        It always makes the same number of hashes and comparisons, so that the time reveals nothing.
        """
        padded = (*kept, *[_NOBODYS] * LIVE_SECRETS)[: max(LIVE_SECRETS, len(kept))]
        equal = [hmac.compare_digest(self._digest(one.salt, presented), one.digest) for one in padded]
        return next((place for place, same in enumerate(equal[: len(kept)]) if same), None)

    def _digest(self, salt: bytes, secret: str) -> bytes:
        # JSON's \ud800 can carry a lone surrogate, which UTF-8 cannot: no match, and no error.
        return hmac.digest(self._pepper, salt + secret.encode("utf-8", "surrogatepass"), hashlib.sha256)
