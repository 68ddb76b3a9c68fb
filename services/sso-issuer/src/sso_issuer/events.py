"""What happens in this service, for those who want to hear of it: redirects and keys."""

from typing import Any, Final

from shared.callers import Caller
from shared.events.domain import Audience, NewEvent, Topic
from shared.times import iso

from sso_issuer.keys.domain import Key
from sso_issuer.redirects.domain import Issuance


def _vendor(caller: Caller) -> str:
    return caller.vendor


#: The platform sees all of its tenant, a vendor its own redirects.
TOPIC: Final = Topic(
    "redirects",
    ("redirect.issued", "redirect.redeemed", "redirect.replayed", "key.rotated"),
    (Audience(("sso:admin",)), Audience(("points:redeem",), _vendor)),
)


def redirect_issued(issuance: Issuance) -> NewEvent:
    """A token was issued. The event names it by its `jti`, never by itself."""
    return NewEvent("redirect.issued", _issuance(issuance), issuance.vendor_id, issuance.issued_at)


def redirect_redeemed(issuance: Issuance, points_now: int) -> NewEvent:
    """The vendor brought the token back for the first time."""
    return NewEvent("redirect.redeemed", _issuance(issuance) | {"points_now": points_now}, issuance.vendor_id)


def redirect_replayed(issuance: Issuance) -> NewEvent:
    """A token was brought back that had been redeemed before."""
    return NewEvent("redirect.replayed", _issuance(issuance), issuance.vendor_id)


def key_rotated(key: Key) -> NewEvent:
    """A successor was published, by hand or by the schedule."""
    data = {"algorithm": key.algorithm.value, "kid": key.kid, "signs_from": iso(key.signs_from)}
    return NewEvent("key.rotated", data)


def _issuance(issuance: Issuance) -> dict[str, Any]:
    return {
        "jti": issuance.jti,
        "user_id": issuance.user_id,
        "vendor_id": issuance.vendor_id,
        "delivery": issuance.delivery.value,
        "points": issuance.points,
        "issued_at": iso(issuance.issued_at),
        "expires_at": iso(issuance.expires_at),
    }
