"""For campaign back ends: unique tokens that can be verified."""

from typing import Unpack
from urllib.parse import quote

from points_client.exchanges import Exchange, Request, granted, once, told
from points_client.schemas import FoundToken, IssuedToken, TokenOrder, VerifiedToken, Visit


def issue(key: str, **order: Unpack[TokenOrder]) -> Exchange[IssuedToken]:
    """A token and its link.

    Args:
        key: yours for this token; with the same key the same token comes again.
        order: `base_url`, `customer_id`, `campaign_id`, `duration` or `expires_at`, and what `POST /v1/tokens` takes.

    Raises:
        Refused, Unanswered
    """
    return told(IssuedToken, once("POST", "/v1/tokens", order, key))


def verify(token: str, key: str, **visit: Unpack[Visit]) -> Exchange[VerifiedToken]:
    """What is encoded in the token. It is counted, and used up by one: once for each key. Raises as `issue`."""
    return told(VerifiedToken, once("POST", f"/v1/tokens/{quote(token, safe='')}/verify", visit, key))


def look_at(token: str) -> Exchange[FoundToken]:
    """The same without counting. Raises as `issue`."""
    return told(FoundToken, Request("GET", f"/v1/tokens/{quote(token, safe='')}"))


def revoke(token: str) -> Exchange[None]:
    """From now on the token is refused. Raises as `issue`."""
    yield from granted(Request("DELETE", f"/v1/tokens/{quote(token, safe='')}"))
