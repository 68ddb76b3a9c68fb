"""Taking a token back, once."""

from dataclasses import dataclass

from shared.errors import Conflict, Malformed


@dataclass(frozen=True, kw_only=True)
class Redemption:
    """That a vendor has taken a token, and how many points the user had then."""

    tenant: str
    jti: str
    client_id: str
    request_id: str
    points_now: int


class TokenRefused(Malformed):
    """The token is not good; the code says why."""

    code = "invalid_signature"


class TokenNotIssued(Malformed):
    """Signed with a good key, and yet not by this service: a vendor can do so with the secret it shares with us."""

    code = "token_not_issued"

    def __init__(self) -> None:
        super().__init__("This token was not issued here as it stands.")


class TokenAlreadyRedeemed(Conflict):
    code = "token_already_redeemed"

    def __init__(self, redeemed_at: str | None) -> None:
        super().__init__("This token has been redeemed before.", redeemed_at=redeemed_at)
