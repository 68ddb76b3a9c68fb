"""For partners: users link their account with yours, and are assigned month by month."""

from typing import Any
from urllib.parse import quote

from points_client.exchanges import Exchange, Request, granted

_BASE = "/user/partner"


def begin() -> Exchange[dict[str, Any]]:
    """`registerCode` for the link, `authorizationCode` to compare, `expiresAt`: an hour, for one use.

    Raises:
        Refused, Unanswered
    """
    answer = yield from granted(Request("GET", f"{_BASE}/init-register-handshake"))
    return answer.body


def redeem(authorization_code: str) -> Exchange[str]:
    """The user's id, from server to server: a partner need not believe what a browser carried. Raises as `begin`."""
    body = {"authorizationCode": authorization_code}
    answer = yield from granted(Request("POST", f"{_BASE}/redeem-handshake", body))
    return str(answer.body["userId"])


def activate(user_id: str) -> Exchange[None]:
    """Gives the user what the partner pays for; again changes nothing. Raises as `begin`."""
    yield from granted(Request("GET", f"{_BASE}/activate-user/{quote(user_id, safe='')}"))


def remove(user_id: str) -> Exchange[None]:
    """Ends the link. Raises as `begin`: 404 where there is none, or no more."""
    yield from granted(Request("DELETE", f"{_BASE}/remove-user/{quote(user_id, safe='')}"))


def event_list() -> Exchange[dict[str, Any]]:
    """User id → activations, removals and assigned months. Raises as `begin`."""
    answer = yield from granted(Request("GET", f"{_BASE}/event-list"))
    return answer.body


def billing(month: str) -> Exchange[dict[str, Any]]:
    """The month's assignments and their sum; `month` as `2026-11`. Raises as `begin`."""
    answer = yield from granted(Request("GET", f"{_BASE}/billing?month={quote(month, safe='')}"))
    return answer.body
