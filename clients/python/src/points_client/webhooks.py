"""Events that the platform sends you, and the list to poll instead."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from standardwebhooks import Webhook, WebhookVerificationError

from points_client.exchanges import Exchange, Request, told
from points_client.schemas import Events, PlatformEvent


class WebhookRejected(Exception):
    """The request does not come from the platform, or came too late. Answer 400."""


def check_webhook(body: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> PlatformEvent:
    """The event. Ignore it if you know its `id`: events come at least once, in any order.

    Args:
        headers: names in any case.
        secrets: those of the endpoint (`whsec_…`); two while one replaces the other.

    Raises:
        WebhookRejected
    """
    given = {name.lower(): value for name, value in headers.items()}
    for webhook in [Webhook(secret) for secret in secrets]:
        try:
            event: PlatformEvent = webhook.verify(body, given)
        except (WebhookVerificationError, ValueError, RecursionError):
            # ValueError: the library does not expect all that a stranger may send.
            continue
        return event
    raise WebhookRejected("No secret of yours signed this.")


def page_of_events(topic: str, after: str | None, *, types: Sequence[str] = ()) -> Exchange[Events]:
    """`{events, next_after}`: keep `next_after` with what you did, and go on from it.

    Raises:
        Refused, Unanswered
    """
    query: dict[str, str] = {} if after is None else {"after": after}
    if types:
        query["type"] = ",".join(types)
    path = f"/events/v1/{topic}?{urlencode(query)}" if query else f"/events/v1/{topic}"
    return told(Events, Request("GET", path))
