"""Using a token up: a signature says who made it, only the platform can say that nobody used it before."""

import logging
from uuid import uuid4

from rewards_shop.platform_client import NoAnswer, PlatformClient
from rewards_shop.tokens import TokenRejected, Visitor

log = logging.getLogger(__name__)


async def redeem_once(platform: PlatformClient, token: str, visitor: Visitor) -> int:
    """Redeems a token that was verified, and returns the person's points as of now.

    The Idempotency-Key is new for every visit: a retry after a lost answer is told the first answer again, while a
    second visit with the same link is refused. A key made of the token would let the second visit in.

    Raises TokenRejected (used before, or the platform knows better than the shop), NoAnswer if it cannot be known.
    """
    reply = await platform.call("POST", "/sso/v1/tokens/redeem", body={"token": token}, idempotency_key=str(uuid4()))
    if reply.status == 200:
        points_now = reply.body.get("points_now")
        return points_now if isinstance(points_now, int) else visitor.points
    if reply.status in {401, 403}:
        log.error("the platform refuses this shop: status %d, code %s", reply.status, reply.body.get("code"))
        raise NoAnswer("the platform does not let this shop redeem tokens")
    raise TokenRejected(str(reply.body.get("code", "invalid_signature")))
