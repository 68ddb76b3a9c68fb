"""The rules of redeeming a token."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import Conflict, Malformed
from shared.jwt import REASONS, GoodSignatures, Parts, VerificationKey

from sso_issuer.redirects.domain import ListedIssuance, digest_of, user_of


@dataclass(frozen=True, kw_only=True)
class Redemption:
    """A vendor's redemption of a token, and the user's points at that moment."""

    tenant: str
    jti: str
    client_id: str
    request_id: str
    points_now: int


def is_the_very_token(issuance: ListedIssuance, token: str) -> bool:
    """Whether a token is the one that was issued, with the very signature that was made then.

    A vendor can sign with the secret that it shares with us, and anybody can turn an ECDSA signature into another good
    one. So the digest of the whole token decides.
    """
    digest = issuance.token_digest
    return digest is not None and hmac.compare_digest(digest, digest_of(token))


def is_issued(issuance: ListedIssuance, token: str, claims: Mapping[str, Any]) -> bool:
    """Whether a well-signed token is the very one that was issued.

    Of an issuance from before digests were kept, what else was written decides.
    """
    if issuance.token_digest is not None:
        return is_the_very_token(issuance, token)
    written = (issuance.user_id, issuance.points, issuance.expires_at.timestamp())
    return written == (user_of(claims), claims.get("points"), claims["exp"])


class _Issued(GoodSignatures):
    """The signature of a token that is known to be the very one that was issued is good: it was made here.

    To verify it anew would cost more than all else that is done for a redemption. Key, algorithm, type and claims are
    judged like those of any other token.
    """

    def is_good(self, parts: Parts, key: VerificationKey) -> bool:
        return True


ISSUED: Final = _Issued(0)


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
