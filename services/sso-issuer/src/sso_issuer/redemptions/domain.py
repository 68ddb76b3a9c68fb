"""The rules of redeeming a token."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import Conflict, Malformed
from shared.jwt import REASONS

from sso_issuer.redirects.domain import ListedIssuance, digest_of, user_of


@dataclass(frozen=True, kw_only=True)
class Redemption:
    """A vendor's redemption of a token, and the user's points at that moment."""

    tenant: str
    jti: str
    client_id: str
    request_id: str
    points_now: int


def is_issued(issuance: ListedIssuance, token: str, claims: Mapping[str, Any]) -> bool:
    """Whether a well-signed token is the very one that was issued.

    A vendor can sign with the secret that it shares with us. So the token's digest decides, for every claim of it; of
    an issuance from before digests were kept, what else was written.
    """
    if issuance.token_digest is not None:
        return hmac.compare_digest(issuance.token_digest, digest_of(token))
    return (issuance.user_id, issuance.points, issuance.expires_at.timestamp()) == (
        user_of(claims),
        claims.get("points"),
        claims["exp"],
    )


class TokenRefused(Malformed):
    """The token is not good; the code says why."""

    code = "invalid_signature"
    # One under an unknown key is called badly signed.
    further_codes = tuple(reason for reason in REASONS if reason != "unknown_key")


class TokenNotIssued(Malformed):
    """The signature is good, but the service issued no such token: a vendor can sign with the secret that it shares
    with us."""

    code = "token_not_issued"

    def __init__(self) -> None:
        super().__init__("This token was not issued here as it stands.")


class TokenAlreadyRedeemed(Conflict):
    code = "token_already_redeemed"

    def __init__(self, redeemed_at: str | None) -> None:
        super().__init__("This token has been redeemed before.", redeemed_at=redeemed_at)
