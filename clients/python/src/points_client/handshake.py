"""For partners: users link their account with yours, and are assigned month by month."""

from urllib.parse import quote

from points_client.exchanges import Exchange, Request, fresh_key, granted, once, told
from points_client.schemas import Bill, HandshakeCodes, RedeemedHandshake, UserEvents

_BASE = "/user/partner"


def begin() -> Exchange[HandshakeCodes]:
    """`registerCode` for the link, `authorizationCode` to compare, `expiresAt`: an hour, for one use.

    Raises:
        Refused, Unanswered
    """
    return told(HandshakeCodes, Request("GET", f"{_BASE}/init-register-handshake"))


def redeem(authorization_code: str, key: str | None = None) -> Exchange[str]:
    """The user's id, from server to server: a partner need not believe what a browser carried.

    Args:
        key: yours for this visit. With it you may ask again after a crash, and get the same answer. Without one, only
            the retries of this call do.

    Raises:
        Refused: `handshake_redeemed`: somebody has brought this code before.
        Unanswered
    """
    body = {"authorizationCode": authorization_code}
    request = once("POST", f"{_BASE}/redeem-handshake", body, key or fresh_key())
    redeemed = yield from told(RedeemedHandshake, request)
    return redeemed["userId"]


def activate(user_id: str) -> Exchange[None]:
    """Gives the user what the partner pays for; again changes nothing. Raises as `begin`."""
    yield from granted(Request("GET", f"{_BASE}/activate-user/{quote(user_id, safe='')}"))


def remove(user_id: str) -> Exchange[None]:
    """Ends the link. Raises as `begin`: 404 where there is none, or no more."""
    yield from granted(once("DELETE", f"{_BASE}/remove-user/{quote(user_id, safe='')}", None, fresh_key()))


def event_list() -> Exchange[dict[str, UserEvents]]:
    """User id → activations, removals and assigned months. Raises as `begin`."""
    return told(dict[str, UserEvents], Request("GET", f"{_BASE}/event-list"))


def billing(month: str) -> Exchange[Bill]:
    """The month's assignments and their sum; `month` as `2026-11`. Raises as `begin`."""
    return told(Bill, Request("GET", f"{_BASE}/billing?month={quote(month, safe='')}"))
