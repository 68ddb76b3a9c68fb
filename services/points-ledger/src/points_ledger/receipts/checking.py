"""Checks a receipt offline, from a saved key set."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, ValidationError
from shared.times import Instant, iso

from shared import jwt

TYP: Final = "receipt+jwt"


class NotGenuine(Exception):
    """The receipt proves nothing; the message says why."""


class ReceiptClaims(BaseModel):
    """What a receipt says."""

    iss: str
    aud: str
    iat: Annotated[int, Field(strict=True)]
    jti: str
    vendor_id: str
    transactionid: str
    userid: str
    state: Literal["confirmed", "rolled_back", "expired"]
    points_held: Annotated[int, Field(strict=True)]
    points_deducted: Annotated[int, Field(strict=True)]
    points_refunded: Annotated[int, Field(strict=True)]
    created_at: Instant
    ended_at: Instant

    def sentence(self) -> str:
        """All that matters, in one sentence."""
        what = {
            "confirmed": f"{self.points_deducted} of {self.points_held} points were deducted"
            f" and {self.points_refunded} refunded",
            "rolled_back": f"{self.points_held} points were held and rolled back",
            "expired": f"{self.points_held} points were held and the hold expired",
        }[self.state]
        return (
            f"{self.iss} says of transaction {self.transactionid} of vendor {self.vendor_id}: {what},"
            f" user {self.userid}, ended {iso(self.ended_at)}"
        )


def check(
    receipt: str,
    key_set: Mapping[str, Any],
    *,
    issuer: str | None = None,
    vendor_id: str | None = None,
    now: float | None = None,
) -> ReceiptClaims:
    """What a genuine receipt says.

    Args:
        key_set: the tenant's `receipts/jwks.json`, as it was saved.
        issuer, vendor_id: whose receipt it must be; None for any that the key set vouches for.
        now: seconds since 1970; the machine's clock by default.

    Raises:
        NotGenuine: as it says.
        UnusableKey: the key set is none.
    """
    keys = jwt.KeySet.from_jwks(key_set)
    try:
        parts = jwt.take_apart(receipt)
        header, said = parts.header, parts.claims
        # Only ES256: a key set of receipts has no other keys.
        if header.get("alg") != "ES256":
            raise NotGenuine("it is not signed with ES256")
        jwt.verify(
            parts,
            keys,
            typ=TYP,
            issuer=issuer or str(said.get("iss")),
            audience=vendor_id or str(said.get("aud")),
            now=now,
            needs_exp=False,
            needs_jti=True,
        )
        claims = ReceiptClaims.model_validate(said)
    except jwt.Rejected as rejected:
        raise NotGenuine(_WHY.get(rejected.reason, rejected.message)) from None
    except ValidationError as error:
        names = ", ".join(sorted({str(detail["loc"][0]) for detail in error.errors()}))
        raise NotGenuine(f"it is signed, but is no receipt: {names}") from None
    if claims.aud != claims.vendor_id:
        raise NotGenuine("it is signed, but is no receipt: aud")
    _check_not_leaked(header["kid"], key_set)
    return claims


_WHY: Final[Mapping[str, str]] = {
    "malformed_token": "it is no receipt, or only a part of one",
    "unknown_key": "the key set lacks its key; fetch the set again, and check that it is that of the right tenant",
    "invalid_signature": "its signature is not valid: it was altered, or forged",
    "wrong_type": "it is signed, but is something other than a receipt",
    "wrong_issuer": "it comes from another issuer",
    "wrong_audience": "it is another vendor's",
    "token_not_yet_valid": "it says that it was signed in the future",
}


def _check_not_leaked(kid: str, key_set: Mapping[str, Any]) -> None:
    """With the private half one can write any time into a receipt, also one before the leak."""
    if any(jwk.get("kid") == kid and "revoked" in jwk for jwk in key_set["keys"] if isinstance(jwk, dict)):
        raise NotGenuine("its key has leaked, so that anybody could have signed it; ask the platform for a new receipt")
