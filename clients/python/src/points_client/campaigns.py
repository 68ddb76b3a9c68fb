"""For campaign back ends: unique tokens that can be verified."""

from typing import Any
from urllib.parse import quote

from points_client.exchanges import Exchange, Request, granted, once


def issue(key: str, **order: Any) -> Exchange[dict[str, Any]]:
    """A token and its link.

    Args:
        key: yours for this token; with the same key the same token comes again.
        order: `base_url`, `customer_id`, `campaign_id`, `duration` or `expires_at`, and what `POST /v1/tokens` takes.

    Raises:
        Refused, Unanswered
    """
    answer = yield from granted(once("POST", "/v1/tokens", order, key))
    return answer.body


def verify(token: str, key: str, **visit: Any) -> Exchange[dict[str, Any]]:
    """What is encoded in the token. It is counted, and used up by one: once for each key. Raises as `issue`."""
    answer = yield from granted(once("POST", f"/v1/tokens/{quote(token, safe='')}/verify", visit, key))
    return answer.body


def look_at(token: str) -> Exchange[dict[str, Any]]:
    """The same without counting. Raises as `issue`."""
    answer = yield from granted(Request("GET", f"/v1/tokens/{quote(token, safe='')}"))
    return answer.body


def revoke(token: str) -> Exchange[None]:
    """From now on the token is refused. Raises as `issue`."""
    yield from granted(Request("DELETE", f"/v1/tokens/{quote(token, safe='')}"))
