"""partner-onboarding's audit hears of every change by a client's administrator or a command; every other route and
command has its reason why it leaves no row."""

import asyncio
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from platform_testing.acts import COMMON_COMMANDS, changing_routes, commands_of, noted_actions
from platform_testing.databases import alone_with
from shared.dependencies import provided
from token_service.__main__ import cli
from token_service.keys.ring import KeyRing

from .campaign_house import OFFER, FakeSessions, House

#: What each changing route or command writes down.
WRITTEN: Mapping[tuple[str, str], set[str]] = {
    ("PATCH", "/v1/tokens/{token}"): {"token_changed"},
    ("DELETE", "/v1/tokens/{token}"): {"token_revoked"},
    ("DELETE", "/v1/campaigns/{campaign_id}/tokens"): {"campaign_revoked"},
    ("PUT", "/v1/campaigns/{campaign_id}/landing"): {"landing_page_changed"},
    ("DELETE", "/v1/campaigns/{campaign_id}/landing"): {"landing_page_removed"},
}
#: Why the others leave no row.
NOT_WRITTEN = {
    ("POST", "/v1/tokens"): "issues: the token has a row of its own, and is counted",
    ("POST", "/v1/tokens/batch"): "issues",
    ("POST", "/v1/tokens/import"): "issues",
    ("POST", "/v1/tokens/{token}/verify"): "uses a token up, which its row and an event tell",
    ("POST", "/t/{token}"): "uses a token up",
    ("POST", "/campaign-lists"): "keeps a list for half an hour, and issues nothing",
    ("POST", "/campaign-lists/{upload_id}"): "issues",
    ("POST", "/internal/sandboxes/{tenant}"): "follows partner-onboarding, which has written it",
}
COMMANDS = {"rotate-keys": {"token_keys_rotated"}}
COMMANDS_NOT_WRITTEN = COMMON_COMMANDS | {"mint": "issues", "stats": "reads", "list-keys": "reads"}


async def told(house: House, sessions: FakeSessions) -> list[dict[str, Any]]:
    """All acts of this tenant in the order in which they were done, once none waits any more."""
    async with asyncio.timeout(30):
        while await house.fetch("SELECT 1 FROM token_service.acts WHERE tenant = :tenant", tenant=house.tenant):
            # Other tests, whose services know no partner-onboarding, have left acts that would come before, and put off
            # these.
            async with house.database.transaction() as connection:
                await connection.execute(sa.text(alone_with("token_service.acts")))
                due = sa.text("UPDATE token_service.acts SET next_attempt_at = '-infinity' WHERE tenant = :tenant")
                await connection.execute(due, {"tenant": house.tenant})
            await asyncio.sleep(0.02)
    found = [act for act in sessions.acts.values() if act["tenant"] == house.tenant]
    return sorted(found, key=lambda act: str(act["acted_at"]))


def test_every_route_that_changes_something_has_its_row_or_a_reason(house: House) -> None:
    assert changing_routes(house.app) == set(WRITTEN) | set(NOT_WRITTEN)
    assert not set(WRITTEN) & set(NOT_WRITTEN)


def test_every_command_that_changes_something_has_its_row_or_a_reason() -> None:
    assert commands_of(cli) == set(COMMANDS) | set(COMMANDS_NOT_WRITTEN)


def test_every_action_is_noted_somewhere_and_stands_in_the_tables() -> None:
    assert noted_actions("token_service") == set().union(*WRITTEN.values(), *COMMANDS.values())


async def test_a_change_of_a_landing_page_is_told_with_what_was_before_and_after(
    house: House, sessions: FakeSessions
) -> None:
    path, other = "/v1/campaigns/spring/landing", OFFER | {"destination_url": "https://mystore.example/other"}
    for offer in (OFFER, other, other):
        assert (await house.client.put(path, json=offer, headers=house.headers)).is_success
    assert (await house.client.delete(path, headers=house.headers)).status_code == 204
    made, changed, removed = await told(house, sessions)
    assert [act["action"] for act in (made, changed, removed)] == [
        *("landing_page_changed", "landing_page_changed", "landing_page_removed")
    ]
    assert {act["subject"] for act in (made, changed, removed)} == {"spring"}
    assert (made["before"], made["after"]) == (None, OFFER)
    assert (changed["before"], changed["after"]) == (OFFER, other)
    assert (removed["before"], removed["after"]) == (other, None)
    assert made["client_id"] == changed["client_id"] == removed["client_id"]
    assert made["client_id"] is not None
    assert made["origin"] is not None
    assert made["request_id"] != changed["request_id"]


async def test_a_refused_change_of_a_landing_page_is_not_told(house: House, sessions: FakeSessions) -> None:
    path = "/v1/campaigns/spring/landing"
    refused = await house.client.put(path, json=OFFER, headers=house.headers | {"If-Match": '"another"'})
    assert refused.status_code == 412
    assert (await house.client.delete(path, headers=house.headers)).status_code == 404
    assert await told(house, sessions) == []


async def test_a_changed_and_revoked_token_is_told_without_the_token(house: House, sessions: FakeSessions) -> None:
    token = await house.issue(max_uses=1, attributes={"nick": "first value"})
    path = f"/v1/tokens/{token}"
    for _ in range(2):
        body = {"max_uses": 3, "attributes": {"nick": "second value"}}
        assert (await house.client.patch(path, json=body, headers=house.headers)).status_code == 200
    for _ in range(2):
        assert (await house.client.delete(path, headers=house.headers)).status_code == 200
    changed, revoked = await told(house, sessions)
    assert (changed["action"], revoked["action"]) == ("token_changed", "token_revoked")
    assert (changed["before"]["max_uses"], changed["after"]["max_uses"]) == (1, 3)
    assert changed["details"] == {"campaign_id": "spring", "attributes_changed": True}
    assert revoked["before"] == {"revoked_at": None}
    assert revoked["after"]["revoked_at"] is not None
    assert changed["subject"] == revoked["subject"]
    for secret in (token, "first value", "second value", "customer-1"):
        assert secret not in str((changed, revoked))


async def test_a_revocation_of_a_campaign_is_told_with_the_one_before(house: House, sessions: FakeSessions) -> None:
    await house.issue()
    path = "/v1/campaigns/spring/tokens"
    for _ in range(2):
        assert (await house.client.delete(path, headers=house.headers)).status_code == 200
    assert (await house.client.delete("/v1/campaigns/none/tokens", headers=house.headers)).status_code == 404
    first, second = await told(house, sessions)
    assert (first["action"], first["subject"]) == ("campaign_revoked", "spring")
    assert first["before"] == {"revoked_at": None}
    assert second["before"] == first["after"]
    assert second["after"] != first["after"]


async def test_a_rotation_of_keys_is_told_as_a_commands(house: House, sessions: FakeSessions) -> None:
    await house.issue()
    await provided(house.app, KeyRing).rotate(house.tenant)
    (rotated,) = await told(house, sessions)
    assert (rotated["action"], rotated["client_id"], rotated["subject"]) == ("token_keys_rotated", None, "2")
    assert (rotated["before"]["newest_key"], rotated["after"]["newest_key"]) == (1, 2)
