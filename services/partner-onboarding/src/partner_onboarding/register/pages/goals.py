"""What a sign-in leads to, in words: the page that asked for it."""

from typing import Final

#: The beginning of a path → what it is called there.
_PLACES: Final = {
    "/account/statement": "statement",
    "/account": "account",
    "/consents": "consents",
    "/campaigns": "campaigns",
    "/campaign-lists": "campaigns",
    "/operations": "operations",
    "/setup": "setup",
    "/sso/v1/redeem": "redeem",
    "/register": "register",
    "/registrieren": "register",
}


def place_of(goal: str) -> str | None:
    """The name of the place to which this address of ours leads; None for one without a name."""
    path = goal.partition("?")[0]
    return next((name for start, name in _PLACES.items() if path == start or path.startswith(f"{start}/")), None)
