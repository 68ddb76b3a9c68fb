"""The Python client against the real platform, over a network that loses, doubles and delays."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from platform_testing.unreliable import UnreliableTransport
from points_client import (
    AsyncPoints,
    Entry,
    Order,
    Points,
    Refused,
    Step,
    TokenRejected,
    TokenVerifier,
    campaigns,
    handshake,
)

from .running_platform import RunningPlatform

PRICE = 7
ORDERS = 40


class Journal:
    """The shop's database: what it wrote last of each order."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}

    async def save(self, order: Order) -> None:
        self.orders[order.order_id] = order

    @property
    def open(self) -> list[Order]:
        return [order for order in self.orders.values() if order.is_open]


@pytest.fixture
def network() -> UnreliableTransport:
    return UnreliableTransport(httpx.AsyncHTTPTransport(), seed=7)


@pytest.fixture
async def shop(platform: RunningPlatform, network: UnreliableTransport) -> AsyncIterator[AsyncPoints]:
    async with AsyncPoints(platform.gateway, *platform.auth("vendor"), transport=network) as client:
        yield client


@pytest.fixture
async def quiet_shop(platform: RunningPlatform) -> AsyncIterator[AsyncPoints]:
    async with AsyncPoints(platform.gateway, *platform.auth("vendor")) as client:
        yield client


async def test_every_order_ends_once_and_right_whatever_the_network_does(
    platform: RunningPlatform, http: httpx.AsyncClient, shop: AsyncPoints, network: UnreliableTransport
) -> None:
    customer = await platform.new_customer(http, 10_000)
    journal = Journal()
    wanted = [Order(f"kit-{secrets.token_hex(6)}", customer.user_id, PRICE, "a cup") for _ in range(ORDERS)]
    crashed = set(wanted[::5])

    async def can_deliver(order: Order) -> bool:
        return order.order_id not in {one.order_id for one in wanted[::3]}

    async def buy(order: Order) -> None:
        try:
            # A shop that dies in the middle: its orders stay open.
            async with asyncio.timeout(0.05 if order in crashed else None):
                await shop.redeem(order, journal, can_deliver)
        except TimeoutError:
            assert order in crashed

    await asyncio.gather(*(buy(order) for order in wanted))
    while journal.open:
        await asyncio.gather(*(shop.resume(order, journal) for order in journal.open))
    assert network.troubles.keys() == {"request lost", "answer lost", "doubled", "late", "unavailable"}
    confirmed = [order for order in journal.orders.values() if order.step is Step.CONFIRMED]
    assert confirmed
    assert {order.step for order in journal.orders.values()} == {Step.CONFIRMED, Step.RELEASED}
    assert await platform.balance(http, customer.user_id) == (10_000 - PRICE * len(confirmed), 0)
    for order in confirmed:
        assert (await shop.look_up(order.order_id))["state"] == "confirmed"


def test_the_client_that_waits_does_the_same(platform: RunningPlatform) -> None:
    user = platform.description["users"][0]["user_id"]
    order_id = f"kit-{secrets.token_hex(6)}"
    with Points(platform.gateway, *platform.auth("vendor")) as shop:
        before = shop.balance(user)
        assert shop.hold(order_id, user, 5, "a pen")["state"] == "held"
        with pytest.raises(Refused) as refused:
            shop.hold(order_id, user, 6, "a pen")
        assert refused.value.code == "idempotency_key_reused"
        assert shop.confirm(order_id, user, 3)["state"] == "confirmed"
        assert shop.refund(order_id, user, "r-1", 2)["refundid"] == "r-1"
        assert shop.balance(user) == before - 1
        assert any(one["transactionid"] == order_id for one in shop.transactions(state="confirmed"))


async def test_books_are_compared_over_any_network_and_each_difference_is_found(
    platform: RunningPlatform, http: httpx.AsyncClient, quiet_shop: AsyncPoints
) -> None:
    customer = await platform.new_customer(http, 100)
    since = (await http.get("/eai/v1/points", params={"limit": 1}, auth=platform.auth("vendor"))).headers["date"]
    begin = parsedate_to_datetime(since).isoformat()
    names = {what: f"kit-{what}-{secrets.token_hex(4)}" for what in ("agreed", "less", "held", "forgotten", "dreamt")}
    for what in ("agreed", "less", "held", "forgotten"):
        await quiet_shop.hold(names[what], customer.user_id, 5, "a pen")
    for what in ("agreed", "less", "forgotten"):
        await quiet_shop.confirm(names[what], customer.user_id)
    books = [
        Entry(names["agreed"], "confirmed", 5),
        Entry(names["less"], "confirmed", 4),
        Entry(names["held"], "held", 5),
        Entry(names["dreamt"], "confirmed", 5),
    ]
    wanted = {
        names["less"]: "points_differ",
        names["held"]: "still_held",
        names["forgotten"]: "only_ours",
        names["dreamt"]: "only_yours",
    }
    network = UnreliableTransport(httpx.AsyncHTTPTransport(), seed=3, share=0.4)
    async with AsyncPoints(platform.gateway, *platform.auth("vendor"), transport=network) as shop:
        for _ in range(8):
            found = await shop.reconcile(books, since=begin)
            kinds = {one["transactionid"]: one["finding"] for one in found.findings}
            assert {name: kinds[name] for name in names.values() if name in kinds} == wanted
            assert (found.summary["yours"], found.summary["agreed"]) == (4, 1)
    assert network.troubles
    with Points(platform.gateway, *platform.auth("vendor")) as waiting:
        assert waiting.reconcile(books[:1]).summary["agreed"] == 1


async def test_the_token_of_a_redirect_is_believed_once_and_a_changed_one_never(
    platform: RunningPlatform, http: httpx.AsyncClient, quiet_shop: AsyncPoints
) -> None:
    customer = await platform.new_customer(http, 50)
    vendor_id = platform.description["clients"]["vendor"]["vendor_id"]
    answer = await http.post(
        "/sso/v1/redirects",
        auth=platform.auth("platform"),
        json={"user_id": customer.user_id, "vendor_id": vendor_id},
    )
    token = _token_of(answer.json())
    claims = jwt.decode(token, options={"verify_signature": False})
    algorithm = jwt.get_unverified_header(token)["alg"]

    def verifier(**changed: Any) -> TokenVerifier:
        agreed = {"issuer": claims["iss"], "audience": claims["aud"], "algorithm": algorithm}
        return TokenVerifier(**(agreed | changed))

    visitor = await quiet_shop.verify_token(verifier(), token)
    assert (visitor.user_id, visitor.points) == (customer.user_id, 50)
    head, body, signature = token.split(".")
    turned = "A" if signature[10] != "A" else "B"
    for changed, agreement, code in (
        (f"{head}.{body}.{signature[:10]}{turned}{signature[11:]}", {}, "invalid_signature"),
        (token, {"audience": "somebody-else"}, "wrong_audience"),
        (token, {"issuer": "https://evil.example"}, "wrong_issuer"),
        ("no.token.at-all", {}, "malformed_token"),
    ):
        with pytest.raises(TokenRejected) as rejected:
            await quiet_shop.verify_token(verifier(**agreement), changed)
        assert rejected.value.code == code
    assert (await quiet_shop.redeem_token(token))["points_now"] == 50
    with pytest.raises(Refused) as again:
        await quiet_shop.redeem_token(token)
    assert again.value.code == "token_already_redeemed"


async def test_a_partner_and_a_campaign_use_the_same_client(platform: RunningPlatform) -> None:
    async with AsyncPoints(platform.gateway, *platform.auth("partner")) as partner:
        codes = await partner.run(handshake.begin())
        assert len(codes["registerCode"]) == 22
        with pytest.raises(Refused) as refused:
            await partner.run(handshake.activate("nobody-at-all"))
        assert refused.value.status == 404
    async with AsyncPoints(platform.gateway, *platform.auth("campaign")) as campaign:
        order = {"base_url": "https://shop.example/c", "customer_id": "c-1", "campaign_id": "kit", "duration": "PT1H"}
        issued = await campaign.run(campaigns.issue("one", **order, max_uses=1))
        assert await campaign.run(campaigns.issue("one", **order, max_uses=1)) == issued
        verified = await campaign.run(campaigns.verify(issued["token"], "visit-1"))
        assert verified["customer_id"] == "c-1"
        with pytest.raises(Refused) as used_up:
            await campaign.run(campaigns.verify(issued["token"], "visit-2"))
        assert used_up.value.code == "token_used_up"


def _token_of(redirect: dict[str, Any]) -> str:
    if redirect.get("fields"):
        return str(next(iter(redirect["fields"].values())))
    (token,) = parse_qs(urlsplit(redirect["url"]).query)["token"]
    return token
