"""Events that the platform sends (Standard Webhooks): points that came free although the shop did not ask.

A hold runs out, or a rollback whose answer was lost has worked: without events, the shop would learn it only by asking.
The route verifies, writes the event down and answers; the order is looked at afterwards, again after a restart if need
be. Events come at least once and in any order: an id that is known changes nothing, and only states that never change
again are acted upon.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from standardwebhooks import Webhook, WebhookVerificationError

from rewards_shop.platform_client import Clock
from rewards_shop.store import Store

log = logging.getLogger(__name__)

#: Type of the event → state that the transaction is in for good.
RELEASED: Final = {"points.expired": "expired", "points.rolled_back": "rolled_back"}
#: The platform sends nothing again that is older than 30 days.
KEPT_SECONDS: Final = 31 * 86_400


class NotFromPlatform(Exception):
    """The signature is missing, wrong or older than five minutes."""


@dataclass(frozen=True)
class Release:
    """The points of a transaction are free again. It can be learnt from like an answer (`orders.learn`)."""

    event_id: str
    type: str
    order_id: str
    status: int = 200
    code: str = ""

    @property
    def state(self) -> str:
        return RELEASED[self.type]


class Inbox:
    """Verifies events and writes them down, each once.

    Args:
        secret: the endpoint's, `whsec_…`. While the platform rotates it, it signs with both: change it at any moment.
    """

    def __init__(self, store: Store, secret: str, *, clock: Clock) -> None:
        self._store = store
        self._webhook = Webhook(secret)
        self._clock = clock

    async def take(self, body: bytes, headers: Mapping[str, str]) -> Release | None:
        """The event, once it is on disk; None if it is known already, or about something else.

        Raises:
            NotFromPlatform
        """
        try:
            event = self._webhook.verify(body, dict(headers))
        except (WebhookVerificationError, ValueError, RecursionError):
            raise NotFromPlatform from None
        release = _release(event)
        if release is None:
            return None
        now = self._clock()
        is_new = await self._store.write_event(
            release.event_id, json.dumps([release.type, release.order_id]), at=now, forget_before=now - KEPT_SECONDS
        )
        return release if is_new else None

    async def waiting(self) -> list[Release]:
        """Events that were written down and not yet acted upon: the shop ended in between."""
        return [Release(event_id, *json.loads(body)) for event_id, body in await self._store.waiting_events()]


def _release(event: Any) -> Release | None:
    """What the event says of an order. Types of next year are no fault, so they are taken and ignored."""
    match event:
        case {"id": str(event_id), "type": str(kind), "data": {"transactionid": str(order_id)}} if kind in RELEASED:
            return Release(event_id, kind, order_id)
    return None
