"""Events of redirects and keys: a vendor hears of its own, the platform of all of its tenant."""

import httpx
import pytest
from platform_testing.events import heard, types_heard
from platform_testing.issuer_world import World
from platform_testing.openapi import operations_of, try_all
from shared.idempotency import Answers

TOPIC = "/events/v1/redirects"


async def test_a_vendor_hears_of_its_own_redirects_and_never_sees_a_token(world: World) -> None:
    await world.put_vendor()
    await world.put_vendor("other")
    vendor = world.vendor_client("shop")
    issued = await world.redirect()
    await world.redirect("other")
    await world.redeem(issued["token"], vendor)
    await world.redeem(issued["token"], vendor)
    events = await heard(world.app, world.client, vendor)
    assert [event["type"] for event in events] == ["redirect.issued", "redirect.redeemed", "redirect.replayed"]
    assert {event["data"]["jti"] for event in events} == {issued["jti"]}
    assert events[1]["data"]["points_now"] == 500
    assert issued["token"] not in str(events)


async def test_a_repetition_that_was_on_its_way_already_is_no_replay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network doubles a request: the second one looks for an answer before the first one has kept it."""
    await world.put_vendor()
    vendor = world.vendor_client("shop")
    issued = await world.redirect()
    first = await world.redeem(issued["token"], vendor, **{"Idempotency-Key": "visit-1"})

    async def nothing_yet(*_: object) -> None:
        return None

    monkeypatch.setattr(Answers, "recall", nothing_yet)
    second = await world.redeem(issued["token"], vendor, **{"Idempotency-Key": "visit-1"})
    assert (second.status_code, second.json()) == (200, first.json())
    other = await world.redeem(issued["token"], vendor, **{"Idempotency-Key": "visit-2"})
    assert other.json()["code"] == "token_already_redeemed"
    told = await types_heard(world.app, world.client, vendor)
    assert told == ["redirect.issued", "redirect.redeemed", "redirect.replayed"]


async def test_the_platform_hears_of_all_of_its_tenant_and_of_keys(world: World) -> None:
    await world.put_vendor()
    await world.redirect()
    rotated = await world.client.post("/sso/v1/keys/rotate", headers=world.admin, json={})
    assert rotated.status_code in {200, 201}, rotated.text
    assert await types_heard(world.app, world.client, world.admin) == ["redirect.issued", "key.rotated"]


async def test_other_scopes_and_other_tenants_hear_nothing(world: World) -> None:
    await world.put_vendor()
    await world.redirect()
    stranger = world.register.add("another-tenant", "sso:admin")
    assert await heard(world.app, world.client, stranger) == []
    refused = await world.client.get(TOPIC, headers=world.platform)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert (await world.client.get(TOPIC)).status_code == 401


async def test_an_endpoint_s_life_over_http(world: World) -> None:
    """Made, seen, changed, rotated, removed; by the client that made it alone."""
    url = "https://shop.example/points-events"
    endpoints, admin = f"{TOPIC}/endpoints", world.admin
    keyed = admin | {"Idempotency-Key": "make-it"}
    made = await world.client.post(endpoints, headers=keyed, json={"url": url, "types": ["key.rotated"]})
    assert made.status_code == 201, made.text
    assert made.json()["secret"].startswith("whsec_")
    again = await world.client.post(endpoints, headers=keyed, json={"url": url, "types": ["key.rotated"]})
    assert (again.json(), again.headers["idempotency-replayed"]) == (made.json(), "true")
    one = f"{endpoints}/{made.json()['endpoint_id']}"
    listed = (await world.client.get(endpoints, headers=admin)).json()
    assert [endpoint["endpoint_id"] for endpoint in listed["endpoints"]] == [made.json()["endpoint_id"]]
    assert "secret" not in (await world.client.get(one, headers=admin)).json()
    disabled = await world.client.patch(one, headers=admin, json={"enabled": False})
    assert (disabled.json()["state"], disabled.json()["disabled_because"]) == ("disabled", "disabled_by_client")
    rotated = await world.client.post(f"{one}/secrets", headers=admin, json={"overlap_seconds": 60})
    assert rotated.status_code == 201
    assert rotated.json()["secret"] != made.json()["secret"]
    assert (await world.client.get(f"{one}/deliveries", headers=admin)).json() == {
        "deliveries": [],
        "next_cursor": None,
    }
    replayed = await world.client.post(f"{one}/replay", headers=admin, json={"since": "2026-01-01T00:00:00Z"})
    assert (replayed.status_code, replayed.json()["code"]) == (409, "endpoint_disabled")
    stranger = world.register.add(world.tenant, "sso:admin")
    assert (await world.client.get(one, headers=stranger)).status_code == 404
    assert (await world.client.delete(one, headers=admin)).status_code == 204
    assert (await world.client.get(one, headers=admin)).status_code == 404


async def _refused(world: World, **body: object) -> httpx.Response:
    return await world.client.post(f"{TOPIC}/endpoints", headers=world.admin, json=body)


async def test_addresses_and_types_that_cannot_be_are_refused_by_name(world: World) -> None:
    refusals = [
        await _refused(world, url="http://shop.example/hook"),
        await _refused(world, url="https://10.0.0.1/hook"),
        await _refused(world, url="https://shop.example/hook", types=["points.held"]),
        await _refused(world, url="https://shop.example/hook", color="red"),
    ]
    assert [answer.status_code for answer in refusals] == [400] * 4
    codes = [answer.json()["code"] for answer in refusals]
    assert codes == ["malformed_url", "private_address", "unknown_event_type", "malformed_request"]
    made_up = await world.client.get(f"{TOPIC}?after=made-up", headers=world.admin)
    assert (made_up.status_code, made_up.json()["code"]) == (400, "invalid_cursor")


async def test_whatever_is_sent_about_an_endpoint_that_exists_the_answer_is_one_that_openapi_names(
    world: World,
) -> None:
    await world.put_vendor()
    await world.redirect()
    (event,) = await heard(world.app, world.client, world.admin)
    url = "https://shop.example/points-events"
    made = await world.client.post(f"{TOPIC}/endpoints", headers=world.admin, json={"url": url})
    known = {"endpoint_id": made.json()["endpoint_id"], "event_id": event["id"], "url": url}
    operations = operations_of(world.app, lambda path: path.startswith(TOPIC))
    # What changes the endpoint comes behind what needs it as it is; its end is last.
    operations.sort(key=lambda operation: ("GET", "POST", "PATCH", "DELETE").index(operation.method.upper()))
    answers = await try_all(world.client, operations, examples=20, headers=world.admin, known=known)
    assert len(operations) == 10
    for operation in operations:
        assert {status // 100 for status in answers.of(operation.path, operation.method)} >= {2}, operation.label
