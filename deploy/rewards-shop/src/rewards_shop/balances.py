"""The points that the pages show: asked for, or else as last known."""

from urllib.parse import quote

import httpx

from rewards_shop.platform_client import Clock, NoAnswer, PlatformClient
from rewards_shop.store import Balance, Store

BRIEFLY = httpx.Timeout(1.5)


async def present_balance(platform: PlatformClient, store: Store, user_id: str, *, clock: Clock) -> Balance:
    """What can be spent now. A page does not wait long for it: without an answer, what the shop knows must do."""
    try:
        path = f"/eai/v1/balances/{quote(user_id, safe='')}"
        reply = await platform.call("GET", path, attempts=1, within=BRIEFLY)
        available = reply.body.get("available")
    except NoAnswer:
        available = None
    if isinstance(available, int):
        balance = Balance(available, clock())
        await store.note_balance(user_id, balance)
        return balance
    return await store.balance(user_id) or Balance(0, clock())
