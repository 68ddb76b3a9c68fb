"""The platform's EAI interface, as a vendor uses it: hold points, then take them or give them back."""

from dataclasses import dataclass
from urllib.parse import quote

from rewards_shop.orders import Order
from rewards_shop.platform_client import PlatformClient, Reply


@dataclass(frozen=True)
class Answer:
    """One answer about one transaction. `state` is where the platform says the transaction stands, if it says."""

    call: str
    status: int
    state: str
    code: str
    attempts: int


class Eai:
    """Every operation may be repeated: it carries an Idempotency-Key made of the order and the operation.

    Refusals (4xx) are answers, not exceptions: what they mean depends on the order, and `orders.learn` decides.
    All four raise NoAnswer when the outcome could not be learnt.
    """

    def __init__(self, platform: PlatformClient) -> None:
        self._platform = platform

    async def commit(self, order: Order) -> Answer:
        """Phase 1: holds the points, so that they cannot be spent elsewhere."""
        return await self._post("commit", order, pointstodeduct=order.points, description=order.description)

    async def confirm(self, order: Order) -> Answer:
        """Phase 2, the order can be fulfilled: takes the held points for good."""
        return await self._post("confirm", order)

    async def rollback(self, order: Order) -> Answer:
        """Phase 2, the order cannot be fulfilled: gives the held points back.

        Of a transaction nobody has heard of, it answers 404 and makes sure that a commit still on its way will be
        refused when it arrives.
        """
        return await self._post("rollback", order)

    async def look_up(self, order: Order) -> Answer:
        """Where the transaction stands: what to ask when an answer was lost."""
        path = f"/eai/v1/points/{quote(order.order_id, safe='')}"
        return _answer("GET /eai/v1/points/{transactionid}", await self._platform.call("GET", path))

    async def _post(self, operation: str, order: Order, **more: object) -> Answer:
        path = f"/eai/v1/points?{operation}"
        reply = await self._platform.call(
            "POST",
            path,
            body={"userid": order.user_id, "transactionid": order.order_id, **more},
            idempotency_key=f"{order.order_id}-{operation}",
        )
        return _answer(f"POST {path}", reply)


def _answer(call: str, reply: Reply) -> Answer:
    def word(name: str) -> str:
        value = reply.body.get(name)
        return value if isinstance(value, str) else ""

    return Answer(call, reply.status, word("state"), word("code"), reply.attempts)
