"""What a receipt says, and its keys.

A receipt proves years later how a transaction ended. So it never expires, and the public half of its key is never
withdrawn. Its type, its keys and its audience differ from those of every token: no service takes it for one.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from shared.errors import NotFound
from shared.jwt import UnusableKey, VerificationKey

from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.material import thumbprint

TYP: Final = "receipt+jwt"
#: Exactly the members of a public key that RFC 7638 hashes.
_HASHED: Final = ("crv", "kty", "x", "y")


class ReceiptKeyNotFound(NotFound):
    code = "receipt_key_not_found"

    def __init__(self, kid: str) -> None:
        super().__init__(f"The tenant has no receipt key {kid}.")


@dataclass(frozen=True, kw_only=True)
class ReceiptKey:
    """A key without its halves.

    Attributes:
        signs: whether new receipts are signed with it.
        leaked_at: when an operator said that its private half had leaked; None for a good one.
    """

    tenant: str
    kid: str
    created_at: datetime
    signs: bool
    leaked_at: datetime | None


def claims_of(issuer: str, facts: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The claims of a receipt of these facts.

    `jti` follows from the facts: a receipt that is asked for again has the same one, and one that says something else,
    such as a further refund, has another.
    """
    said = {"iss": issuer, "aud": facts["vendor_id"], **facts}
    digest = hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()
    jti = base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
    return {**said, "iat": int(now.timestamp()), "jti": jti}


def check_public(jwk: Mapping[str, Any]) -> None:
    """Passes the public half of a receipt key, as its key set has it.

    Raises:
        UnusableKey: it is something else.
    """
    key = VerificationKey.from_jwk(jwk)
    if key.algorithm != Algorithm.ES256 or thumbprint({name: jwk[name] for name in _HASHED}) != key.kid:
        raise UnusableKey(f"key {key.kid}: is no key of receipts")
