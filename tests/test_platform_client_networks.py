"""The Python client over a network that loses, doubles and delays: what is not about orders, with and without asyncio.

An answer that is lost after the deed must not look like a refusal when the client asks again.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jwt
import pytest
from platform_testing.receivers import receiving
from platform_testing.unreliable import KINDS_OF_TROUBLE, UnreliableTransport, UnreliableWaitingTransport
from points_client import (
    AsyncPoints,
    Entry,
    Order,
    Points,
    ReceiptRejected,
    Refused,
    Step,
    TokenVerifier,
    WebhookRejected,
    campaigns,
    check_receipt,
    check_webhook,
    handshake,
    receipt_keys,
)

from .running_platform import RunningPlatform

#: So often is each thing done: often enough for every trouble to come.
ROUNDS = 6
#: So often in a row the clients get no answer; they ask once more.
PATIENCE = 3


@pytest.fixture
def network() -> UnreliableTransport:
    return UnreliableTransport(httpx.AsyncHTTPTransport(), seed=11, unanswered_in_a_row=PATIENCE)


@pytest.fixture
async def shop(platform: RunningPlatform, network: UnreliableTransport) -> AsyncIterator[AsyncPoints]:
    async with AsyncPoints(platform.gateway, *platform.auth("vendor"), transport=network) as client:
        yield client


@pytest.fixture
async def partner(platform: RunningPlatform, network: UnreliableTransport) -> AsyncIterator[AsyncPoints]:
    async with AsyncPoints(platform.gateway, *platform.auth("partner"), transport=network) as client:
        yield client


@pytest.fixture
async def campaign(platform: RunningPlatform, network: UnreliableTransport) -> AsyncIterator[AsyncPoints]:
    async with AsyncPoints(platform.gateway, *platform.auth("campaign"), transport=network) as client:
        yield client


@pytest.fixture
def waiting_network() -> UnreliableWaitingTransport:
    return UnreliableWaitingTransport(httpx.HTTPTransport(), seed=5, unanswered_in_a_row=PATIENCE)


@pytest.fixture
def waiting_shop(platform: RunningPlatform, waiting_network: UnreliableWaitingTransport) -> Iterator[Points]:
    with Points(platform.gateway, *platform.auth("vendor"), transport=waiting_network) as client:
        yield client


async def token_for(user_id: str, platform: RunningPlatform, http: httpx.AsyncClient) -> str:
    wanted = {"user_id": user_id, "vendor_id": platform.description["clients"]["vendor"]["vendor_id"]}
    answer = await http.post("/sso/v1/redirects", auth=platform.auth("platform"), json=wanted)
    return str(answer.json()["token"])


def verifier_of(token: str) -> TokenVerifier:
    claims = jwt.decode(token, options={"verify_signature": False})
    algorithm = jwt.get_unverified_header(token)["alg"]
    return TokenVerifier(issuer=claims["iss"], audience=claims["aud"], algorithm=algorithm)


async def test_a_token_is_redeemed_once_and_a_lost_answer_is_no_refusal(
    platform: RunningPlatform, http: httpx.AsyncClient, shop: AsyncPoints, network: UnreliableTransport
) -> None:
    customer = await platform.new_customer(http, 50)
    for _ in range(2 * ROUNDS):
        token = await token_for(customer.user_id, platform, http)
        visitor = await shop.verify_token(verifier_of(token), token)
        assert (visitor.user_id, visitor.points) == (customer.user_id, 50)
        assert (await shop.redeem_token(token))["points_now"] == 50
        with pytest.raises(Refused) as again:
            await shop.redeem_token(token)
        assert again.value.code == "token_already_redeemed"
    assert network.troubles.keys() == {*KINDS_OF_TROUBLE}


async def test_a_visit_is_asked_about_again_by_its_own_key_alone(
    platform: RunningPlatform, http: httpx.AsyncClient, shop: AsyncPoints
) -> None:
    customer = await platform.new_customer(http, 50)
    token = await token_for(customer.user_id, platform, http)
    first = await shop.redeem_token(token, "a visit — besucht am 1. Mai")
    assert await shop.redeem_token(token, "a visit — besucht am 1. Mai") == first
    with pytest.raises(Refused) as other:
        await shop.redeem_token(token, "another visit")
    assert other.value.code == "token_already_redeemed"


async def test_a_receipt_of_the_ledger_is_checked_without_it(
    platform: RunningPlatform, http: httpx.AsyncClient, shop: AsyncPoints, network: UnreliableTransport
) -> None:
    customer = await platform.new_customer(http, 100)
    vendor_id = platform.description["clients"]["vendor"]["vendor_id"]
    authority = f"/tenants/{platform.description['tenant']}"
    for _ in range(ROUNDS):
        order_id = f"kit {secrets.token_hex(6)} für Müller"
        await shop.hold(order_id, customer.user_id, 5, "a pen")
        await shop.confirm(order_id, customer.user_id, 3)
        await shop.refund(order_id, customer.user_id, "r" * 128, 1)
        receipt = await shop.receipt(order_id)
        keys = await shop.run(receipt_keys(authority))
        claims = check_receipt(receipt, keys, vendor_id=vendor_id, issuer=f"{platform.gateway}{authority}")
        assert (claims["transactionid"], claims["userid"], claims["state"]) == (
            order_id,
            customer.user_id,
            "confirmed",
        )
        assert (claims["points_held"], claims["points_deducted"], claims["points_refunded"]) == (5, 3, 1)
        head, body, signature = receipt.split(".")
        turned = "A" if signature[10] != "A" else "B"
        with pytest.raises(ReceiptRejected):
            check_receipt(f"{head}.{body}.{signature[:10]}{turned}{signature[11:]}", keys, vendor_id=vendor_id)
        with pytest.raises(ReceiptRejected):
            check_receipt(receipt, keys, vendor_id="somebody-else")
        with pytest.raises(ReceiptRejected):
            check_receipt(receipt, keys, vendor_id=vendor_id, issuer="https://evil.example")
        with pytest.raises(ReceiptRejected):
            check_receipt(await token_for(customer.user_id, platform, http), keys, vendor_id=vendor_id)
    assert (await platform.balance(http, customer.user_id)) == (100 - 2 * ROUNDS, 0)
    assert network.troubles.keys() == {*KINDS_OF_TROUBLE}


async def test_a_handshake_is_executed_once_whatever_the_network_does(
    platform: RunningPlatform, partner: AsyncPoints, network: UnreliableTransport
) -> None:
    for _ in range(ROUNDS // 2):
        codes = await partner.run(handshake.begin())
        user_id = await platform.link(codes["registerCode"])
        assert await partner.run(handshake.redeem(codes["authorizationCode"])) == user_id
        with pytest.raises(Refused) as again:
            await partner.run(handshake.redeem(codes["authorizationCode"]))
        assert again.value.code == "handshake_already_redeemed"
        await partner.run(handshake.activate(user_id))
        await partner.run(handshake.remove(user_id))
        with pytest.raises(Refused) as removed:
            await partner.run(handshake.remove(user_id))
        assert removed.value.code == "link_not_found"
        happened = (await partner.run(handshake.event_list()))[user_id]
        counted = {name: len(happened[name] or []) for name in ("activationDates", "removalDates", "assignments")}
        assert counted == {"activationDates": 1, "removalDates": 1, "assignments": 1}
        month = str((happened["assignments"] or [])[0]["assignedAt"])[:7]
        bill = await partner.run(handshake.billing(month))
        assert [one["userId"] for one in bill["assignments"]].count(user_id) == 1
    assert network.troubles.keys() == {*KINDS_OF_TROUBLE}


async def test_a_campaigns_token_is_used_up_once_for_each_visit(
    campaign: AsyncPoints, network: UnreliableTransport
) -> None:
    name = secrets.token_hex(6)
    for number in range(ROUNDS):
        key = f"Anna Müller, {name}, {number}"
        issued = await campaign.run(
            campaigns.issue(
                key,
                base_url="https://shop.example/c",
                customer_id="c-1",
                campaign_id=name,
                duration="PT1H",
                max_uses=2,
            )
        )
        first = await campaign.run(campaigns.verify(issued["token"], key))
        assert (first["customer_id"], first["uses"]) == ("c-1", 1)
        assert await campaign.run(campaigns.verify(issued["token"], key)) == first
        assert (await campaign.run(campaigns.verify(issued["token"], f"{key}, again")))["uses"] == 2
        with pytest.raises(Refused) as used_up:
            await campaign.run(campaigns.verify(issued["token"], f"{key}, once more"))
        assert used_up.value.code == "token_used_up"
        await campaign.run(campaigns.revoke(issued["token"]))
        with pytest.raises(Refused) as revoked:
            await campaign.run(campaigns.look_at(issued["token"]))
        assert revoked.value.code == "token_revoked"
    assert network.troubles.keys() == {*KINDS_OF_TROUBLE}


async def test_events_are_read_once_each(
    platform: RunningPlatform, http: httpx.AsyncClient, shop: AsyncPoints, network: UnreliableTransport
) -> None:
    customer = await platform.new_customer(http, 100)
    before = [event["id"] async for event in shop.events("points")]
    after = before[-1] if before else None
    orders = [f"kit-{secrets.token_hex(6)}" for _ in range(ROUNDS)]
    for order_id in orders:
        await shop.hold(order_id, customer.user_id, 1, "x")
        await shop.roll_back(order_id, customer.user_id)
    seen: list[tuple[str, str]] = []
    async with asyncio.timeout(60):
        while len(seen) < 2 * ROUNDS:
            async for event in shop.events("points", after):
                after = event["id"]
                if event["data"]["userid"] == customer.user_id:
                    seen.append((event["data"]["transactionid"], event["type"]))
    assert seen == [(order_id, kind) for order_id in orders for kind in ("points.held", "points.rolled_back")]
    assert network.troubles.keys() == {*KINDS_OF_TROUBLE}


async def test_a_delivery_of_the_platform_is_believed_and_a_strangers_is_not(
    platform: RunningPlatform, http: httpx.AsyncClient, shop: AsyncPoints
) -> None:
    customer = await platform.new_customer(http, 100)
    auth = platform.auth("vendor")
    async with receiving() as receiver:
        endpoint = (await http.post("/events/v1/points/endpoints", auth=auth, json={"url": receiver.url})).json()
        path = f"/events/v1/points/endpoints/{endpoint['endpoint_id']}"
        try:
            order_id = f"kit-{secrets.token_hex(6)}"
            await shop.hold(order_id, customer.user_id, 1, "x")
            async with asyncio.timeout(60):
                while not receiver.deliveries:
                    receiver.arrived.clear()
                    await receiver.arrived.wait()
            delivery = receiver.deliveries[0]
            rotated = await http.post(f"{path}/secrets", auth=auth, json={"overlap_seconds": 600})
            answered = await http.post(f"{path}/test", auth=auth)
            signed_twice = receiver.deliveries[-1]
        finally:
            await http.delete(path, auth=auth)
    former, present = endpoint["secret"], rotated.json()["secret"]
    event = check_webhook(delivery.body, delivery.headers, [former])
    assert (event["type"], event["data"]["transactionid"]) == ("points.held", order_id)
    assert check_webhook(delivery.body, {"X-Other": "", **delivery.headers}, [present, former]) == event
    assert answered.json()["delivered"] is True
    for secret in (former, present):
        tested = check_webhook(signed_twice.body, signed_twice.headers, [secret])
        assert tested["type"] == "endpoint.test"
    signature = delivery.headers["webhook-signature"]
    for body, changed in (
        (delivery.body + b" ", {}),
        (b"\xff", {}),
        (delivery.body, {"webhook-id": "evt_other"}),
        (delivery.body, {"webhook-timestamp": "1700000000"}),
        (delivery.body, {"webhook-timestamp": "yesterday"}),
        (delivery.body, {"webhook-signature": signature.replace("v1,", "v2,")}),
        (delivery.body, {"webhook-signature": "no signature"}),
        (delivery.body, {"webhook-signature": "v1,ä"}),
        (delivery.body, {"webhook-signature": ""}),
    ):
        with pytest.raises(WebhookRejected):
            check_webhook(body, delivery.headers | changed, [former])
    with pytest.raises(WebhookRejected):
        check_webhook(delivery.body, delivery.headers, [present])


async def test_the_client_that_waits_keeps_the_same_promises(
    platform: RunningPlatform,
    http: httpx.AsyncClient,
    waiting_shop: Points,
    waiting_network: UnreliableWaitingTransport,
) -> None:
    customer = await platform.new_customer(http, 1000)
    tokens = [await token_for(customer.user_id, platform, http) for _ in range(ROUNDS)]
    # In a thread, since it waits.
    journal, claims = await asyncio.to_thread(_play, waiting_shop, customer.user_id, tokens)
    assert {order.step for order in journal.orders.values()} == {Step.CONFIRMED, Step.RELEASED}
    confirmed = [order for order in journal.orders.values() if order.step is Step.CONFIRMED]
    assert len(confirmed) == ROUNDS // 2
    assert await platform.balance(http, customer.user_id) == (1000 - 7 * len(confirmed), 0)
    assert [one["userid"] for one in claims] == [customer.user_id] * ROUNDS
    assert waiting_network.troubles.keys() == {*KINDS_OF_TROUBLE}


class _Journal:
    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}

    def save(self, order: Order) -> None:
        self.orders[order.order_id] = order


def _play(shop: Points, user_id: str, tokens: list[str]) -> tuple[_Journal, list[dict[str, Any]]]:
    """A day of a shop: visits, orders of which it can deliver every second one, books, receipts, events."""
    journal = _Journal()
    before = [event["id"] for event in shop.events("points")]
    claims: list[dict[str, Any]] = []
    for number, token in enumerate(tokens):
        visitor = shop.verify_token(verifier_of(token), token)
        claims.append(dict(shop.redeem_token(token)))
        order = Order(f"kit-{number}-{secrets.token_hex(4)}", visitor.user_id, 7, "a cup")
        order = shop.redeem(order, journal, lambda _, number=number: number % 2 == 0)
        while order.is_open:
            order = shop.resume(order, journal)
        assert shop.look_up(order.order_id)["state"] == ("confirmed" if number % 2 == 0 else "rolled_back")
        assert shop.receipt(order.order_id).count(".") == 2
    books = [
        Entry(order.order_id, "confirmed" if order.step is Step.CONFIRMED else "rolled_back", 7 * (number % 2 == 0))
        for number, order in enumerate(journal.orders.values())
    ]
    assert shop.reconcile(books).summary["agreed"] == len(books)
    listed = {one["transactionid"] for one in shop.transactions(state="confirmed")}
    assert {entry.order_id for entry in books if entry.state == "confirmed"} <= listed
    ended: set[str] = set()
    after = before[-1] if before else None
    while len(ended) < len(tokens):
        for event in shop.events("points", after):
            after = event["id"]
            if event["data"]["userid"] == user_id and event["type"] in {"points.confirmed", "points.rolled_back"}:
                assert event["data"]["transactionid"] not in ended
                ended.add(event["data"]["transactionid"])
    assert ended == journal.orders.keys()
    return journal, claims
