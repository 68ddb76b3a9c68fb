"""The claims of a token for a vendor, and its delivery."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from shared.errors import Conflict, NotFound
from shared.identifiers import Identifier
from shared.paging import Listing
from shared.sandboxes.domain import TEST_USERS
from shared.times import Instant

from sso_issuer.vendors.domain import ClaimSpelling, Delivery, VendorNotFound

#: A token says that it was issued so long ago, so that a vendor's clock may be behind.
BACKDATED_SECONDS = 5

#: The claims of the source document ("Teleskope generates JWT") in the two spellings vendors ask for.
_SPELLED: Mapping[ClaimSpelling, tuple[str, str, str]] = {
    ClaimSpelling.LOWER: ("firstname", "lastname", "userid"),
    ClaimSpelling.CAMEL: ("firstName", "lastName", "userId"),
}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A user's profile from partner-onboarding."""

    user_id: str
    firstname: str
    lastname: str
    email: str


@dataclass(frozen=True, kw_only=True)
class Asker:
    """The requester of a token: a back end's client, or the user's own browser (`client_id` None)."""

    tenant: str
    client_id: str | None
    request_id: str


@dataclass(frozen=True, kw_only=True)
class Issuance:
    """The audit row of one token, without the token."""

    tenant: str
    jti: str
    user_id: str
    vendor_id: str
    delivery: Delivery
    algorithm: str
    kid: str
    points: int
    client_id: str | None
    request_id: str
    #: Whom the token is for; None of an issuance that was written before this was.
    audience: str | None
    #: SHA-256 of the token, with which it is told from every other that a vendor could sign with a secret it shares;
    #: None as above.
    token_digest: bytes | None
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class ListedIssuance(Issuance):
    """An issuance as the audit shows it."""

    redeemed_at: datetime | None


class IssuancePlace(NamedTuple):
    """Where an issuance stands among the others, from the newest on."""

    issued_at: Instant
    jti: Identifier


ISSUANCES: Final = Listing("issuances", IssuancePlace)


@dataclass(frozen=True, kw_only=True)
class Redirect:
    """Everything needed to send a user to a vendor."""

    vendor_id: str
    vendor_name: str
    delivery: Delivery
    url: str
    fields: Mapping[str, str]
    token: str
    jti: str
    expires_at: datetime


def digest_of(token: str) -> bytes:
    """The digest that is stored instead of a token."""
    return hashlib.sha256(token.encode()).digest()


class UserNotFound(NotFound):
    code = "user_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such user.")


class EmailUnconfirmed(Conflict):
    """A vendor takes the address in a token for the user's. So no token says an address that may be somebody else's."""

    code = "email_unconfirmed"

    def __init__(self) -> None:
        super().__init__("The user's e-mail address is not confirmed.")


def check_test_client(asker: Asker, user_id: str, vendor_id: str) -> None:
    """A test client, which anybody can make, sends test users, and to itself: people may have registered there as well.

    Raises:
        VendorNotFound, UserNotFound: as for a vendor or a user that does not exist.
    """
    if vendor_id != asker.client_id:
        raise VendorNotFound
    if user_id not in TEST_USERS:
        raise UserNotFound


def claims_of(
    profile: Profile,
    points: int,
    *,
    spelling: ClaimSpelling,
    issuer: str,
    audience: str,
    jti: str,
    issued_at: int,
    expires_at: int,
) -> dict[str, Any]:
    """The claims of the source document, and `iss`, `aud`, `jti`."""
    firstname, lastname, userid = _SPELLED[spelling]
    return {
        firstname: profile.firstname,
        lastname: profile.lastname,
        "points": points,
        "email": profile.email,
        "email_verified": True,
        userid: profile.user_id,
        "iat": issued_at,
        "exp": expires_at,
        "iss": issuer,
        "aud": audience,
        "jti": jti,
    }


def user_of(claims: Mapping[str, Any]) -> str | None:
    """The user id in a token, in either spelling."""
    user_id = claims.get("userid", claims.get("userId"))
    return user_id if isinstance(user_id, str) else None


def destination(redirect_url: str, delivery: Delivery, token: str) -> tuple[str, dict[str, str]]:
    """The URL for the browser and the form fields to post there. The vendor's own query stays unchanged."""
    if delivery is Delivery.FORM_POST:
        return redirect_url, {"token": token}
    own_query = redirect_url.partition("?")[2]
    joint = "?" if "?" not in redirect_url else "&" if own_query and not own_query.endswith("&") else ""
    return f"{redirect_url}{joint}token={token}", {}
