"""Cursors of the issuer's lists lead on in the list for which they were given out, and nowhere else."""

import pytest
from platform_testing.issuer_world import World

VENDORS, ISSUANCES, EVENTS = "/sso/v1/vendors", "/sso/v1/issuances", "/sso/v1/authority-events"


async def _cursor(world: World, path: str, **filters: str) -> str:
    answer = await world.client.get(path, params={"limit": "1", **filters}, headers=world.admin)
    cursor: str = answer.json()["next_cursor"]
    return cursor


async def _code(world: World, path: str, cursor: str, headers: dict[str, str], **filters: str) -> str:
    answer = await world.client.get(path, params={"cursor": cursor, **filters}, headers=headers)
    assert answer.status_code == 400
    code: str = answer.json()["code"]
    return code


async def test_a_cursor_is_good_for_its_list_its_filters_and_its_tenant(world: World) -> None:
    for vendor in ("one", "two"):
        await world.put_vendor(vendor)
    for _ in range(2):
        await world.redirect("one")
    issuances = await _cursor(world, ISSUANCES, vendor_id="one")
    vendors = await _cursor(world, VENDORS)
    for cursor, path, filters in ((issuances, ISSUANCES, {"vendor_id": "one"}), (vendors, VENDORS, {})):
        answer = await world.client.get(path, params={"cursor": cursor, **filters}, headers=world.admin)
        assert answer.status_code == 200

    assert await _code(world, ISSUANCES, issuances, world.admin) == "invalid_cursor"
    assert await _code(world, ISSUANCES, issuances, world.admin, vendor_id="two") == "invalid_cursor"
    assert await _code(world, VENDORS, issuances, world.admin) == "invalid_cursor"
    assert await _code(world, ISSUANCES, vendors, world.admin) == "invalid_cursor"
    stranger = world.register.add("t-other", "sso:admin")
    assert await _code(world, VENDORS, vendors, stranger) == "invalid_cursor"


@pytest.mark.parametrize("path", [VENDORS, ISSUANCES, EVENTS])
@pytest.mark.parametrize("cursor", ["", "shop", "\x00", "A" * 5000, "é", "AQ"])
async def test_what_somebody_made_up_has_one_code_everywhere(world: World, path: str, cursor: str) -> None:
    assert await _code(world, path, cursor, world.admin) == "invalid_cursor"
