"""Events of links, consents and clients: each hears of its own, the platform of all of its tenant."""

from datetime import UTC, datetime

from partner_onboarding.handshake.handshakes.service import Handshakes
from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import SHELL
from platform_testing.callers import basic
from platform_testing.events import heard, types_heard
from shared.dependencies import provided

from .handshake_partner import Partner
from .onboarding_house import House


async def test_a_partner_hears_of_its_links_and_months_and_the_platform_too(house: House) -> None:
    partner, user_id = await Partner.of(house), "erika"
    await house.user(user_id)
    codes = await partner.codes()
    for _ in range(2):
        await provided(house.app, Handshakes).link(codes["registerCode"], house.tenant, user_id)
        assert (await partner.get(f"activate-user/{user_id}")).status_code == 200
    assert (await partner.remove(user_id)).status_code == 200
    expected = ["link.created", "link.activated", "assignment.made", "link.removed"]
    events = await heard(house.app, house.http, partner.headers)
    assert sorted(event["type"] for event in events) == sorted(expected)
    assert {event["data"]["userId"] for event in events} == {user_id}
    platform = await house.caller("users:read")
    assert sorted(await types_heard(house.app, house.http, platform)) == sorted(expected)
    stranger = await house.caller("partner:handshake")
    assert await heard(house.app, house.http, stranger) == []


async def test_months_are_told_as_the_event_list_has_them_though_a_person_comes_back_within_one(house: House) -> None:
    partner, user_id = await Partner.of(house), "erika"
    await house.user(user_id)
    for _ in range(3):
        await partner.link(user_id, datetime.now(UTC))
        assert (await partner.get(f"activate-user/{user_id}")).status_code == 200
        assert (await partner.remove(user_id)).status_code == 200
    listed = [one["assignedAt"] for one in (await partner.events())[user_id]["assignments"]]
    events = await heard(house.app, house.http, partner.headers)
    assert [event["data"]["assigned_at"] for event in events if event["type"] == "assignment.made"] == listed


async def test_a_client_hears_of_its_rotated_secret_and_of_nobody_else_s(house: House) -> None:
    client_id, secret = await house.client("partner:handshake")
    other = await house.caller("partner:handshake")
    operator = await house.caller("clients:admin")
    rotated = await house.http.post(f"/v1/clients/{client_id}/secrets", headers=operator, json={})
    assert rotated.status_code in {200, 201}, rotated.text
    events = await heard(house.app, house.http, basic(client_id, secret))
    assert [event["type"] for event in events] == ["secret.rotated"]
    assert rotated.json()["client_secret"] not in str(events)
    assert await heard(house.app, house.http, other) == []


async def test_a_third_party_hears_of_its_consent_with_its_secret(house: House) -> None:
    """Its access token ends with the consent, so it cannot be asked for one."""
    client_id, secret = await house.client("points:read", kind="third_party", redirect_uris=("https://app.example/cb",))
    async with house.register.database.transaction() as connection:
        for action in ("consent_granted", "consent_withdrawn", "consent_refused"):
            await audit_store.add(connection, house.tenant, SHELL, action, client_id, {"scopes": ["points:read"]})
    own = basic(client_id, secret)
    assert await types_heard(house.app, house.http, own) == ["consent.granted", "consent.withdrawn"]
    other = basic(*await house.client("points:read", kind="third_party", redirect_uris=("https://app.example/cb",)))
    assert await heard(house.app, house.http, other) == []
