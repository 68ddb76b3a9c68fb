"""Agreements with vendors, and their rules."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from shared.errors import Conflict, Malformed, NotFound
from shared.identifiers import Identifier
from shared.paging import Listing
from shared.web.addresses import check_address

LONGEST_LIFETIME_SECONDS = 300
#: The order in which secrets take slots: a third secret replaces the first.
SECRET_SLOTS = 2
LONGEST_OVERLAP = timedelta(days=30)


class Delivery(StrEnum):
    """The delivery of a token: in the query of a redirect, or as a field of a posted form."""

    QUERY = "query"
    FORM_POST = "form_post"


class VendorAlgorithm(StrEnum):
    ES256 = "ES256"
    RS256 = "RS256"
    HS256 = "HS256"


class ClaimSpelling(StrEnum):
    LOWER = "lower"
    CAMEL = "camel"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The part of a vendor that an administrator sets."""

    name: str
    redirect_url: str
    delivery: Delivery
    algorithm: VendorAlgorithm
    lifetime_seconds: int
    claim_spelling: ClaimSpelling
    audience: str


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """A vendor of a tenant."""

    tenant: str
    vendor_id: str
    agreement: Agreement
    created_at: datetime
    updated_at: datetime


class VendorPlace(NamedTuple):
    """Where a vendor stands among the tenant's, by its id."""

    vendor_id: Identifier


VENDORS: Final = Listing("vendors", VendorPlace)


@dataclass(frozen=True, kw_only=True)
class Secret:
    """An HS256 secret of a vendor, still sealed."""

    n: int
    kid: str
    sealed: bytes
    created_at: datetime
    #: The secret signs from this time on, unless a later one does.
    signs_from: datetime
    #: The end of the secret; None for the newest.
    expires_at: datetime | None


def agreement_of_test_client(client_id: str) -> Agreement:
    """What is agreed with a vendor that a developer has made for tests.

    Nobody has the name of the address: a browser that follows a redirect takes the token to nobody.
    """
    return Agreement(
        name="Test client",
        redirect_url="https://shop.example/redeem",
        delivery=Delivery.QUERY,
        algorithm=VendorAlgorithm.ES256,
        # Long enough to try everything by hand.
        lifetime_seconds=LONGEST_LIFETIME_SECONDS,
        claim_spelling=ClaimSpelling.LOWER,
        audience=client_id,
    )


class VendorNotFound(NotFound):
    code = "vendor_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such vendor.")


class InvalidRedirectUrl(Malformed):
    code = "invalid_redirect_url"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The redirect_url {reason}.")


class AudienceReserved(Malformed):
    code = "audience_reserved"

    def __init__(self) -> None:
        super().__init__("This audience is the platform's own. A vendor's tokens must not fit there.")


class AudienceTaken(Conflict):
    code = "audience_taken"

    def __init__(self) -> None:
        super().__init__("Another vendor has this audience: its tokens and this vendor's could be mixed up.")


class FormerSecretLive(Conflict):
    """A third secret would end one that may still be in use; a request that is sent twice must not do that."""

    code = "former_secret_live"

    def __init__(self, expires_at: str) -> None:
        super().__init__(
            "Two secrets are live. Wait until the former one ends, or end it now with end_former.",
            expires_at=expires_at,
        )


class VendorWithoutSecret(Conflict):
    code = "vendor_without_secret"

    def __init__(self) -> None:
        super().__init__("The vendor's tokens are signed with HS256, and it has no secret yet.")


def check_redirect_url(url: str, *, plain_http_allowed: bool) -> None:
    """Refuses an address that must not receive tokens.

    Raises:
        InvalidRedirectUrl: it breaks the rule for addresses, has a fragment or a `token` of its own.
    """
    try:
        check_address(url, plain_http=plain_http_allowed)
    except ValueError as error:
        raise InvalidRedirectUrl(str(error)) from None
    if any(name == "token" for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)):
        raise InvalidRedirectUrl("must not have a parameter called token, which is ours")


def check_audience(audience: str, public_url: str) -> None:
    """Refuses the audience of the platform's own access tokens.

    Raises:
        AudienceReserved: it is the public URL or lies below it.
    """
    if audience.rstrip("/") == public_url or audience.startswith(f"{public_url}/"):
        raise AudienceReserved


def former_live(secrets: list[Secret], now: datetime) -> Secret | None:
    """The older one of two live secrets; None while fewer are live."""
    live = [secret for secret in secrets if is_live(secret, now)]
    return min(live, key=lambda secret: secret.n) if len(live) >= SECRET_SLOTS else None


def is_live(secret: Secret, now: datetime) -> bool:
    """Whether tokens under this secret are good."""
    return secret.expires_at is None or secret.expires_at > now


def signing_secret(secrets: list[Secret], now: datetime) -> Secret:
    """The signing secret: the newest live one that may sign now.

    Raises:
        VendorWithoutSecret: none is live.
    """
    live = [secret for secret in secrets if is_live(secret, now)]
    ready = [secret for secret in live if secret.signs_from <= now]
    if not live:
        raise VendorWithoutSecret
    return max(ready, key=lambda secret: secret.n) if ready else min(live, key=lambda secret: secret.n)
