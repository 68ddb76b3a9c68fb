"""The issuer's keys: fetched seldom, found by exact id, kept through a bad minute."""

from typing import Any

import httpx
import pytest
from rewards_shop.keys import IssuerKeys, KeysUnavailable
from rewards_shop.rehearsal.platform import RehearsalPlatform


class Shelf:
    """Where the issuer shows its keys."""

    def __init__(self, entries: list[Any]) -> None:
        self.entries = entries
        self.cache_control = "public, max-age=300"
        self.down = False
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.down:
            return httpx.Response(503)
        return httpx.Response(200, json={"keys": self.entries}, headers={"Cache-Control": self.cache_control})


@pytest.fixture
def shelf(stage: RehearsalPlatform) -> Shelf:
    return Shelf(stage.public_keys()["keys"])


@pytest.fixture
def keys(shelf: Shelf, clock: Any) -> IssuerKeys:
    http = httpx.AsyncClient(transport=httpx.MockTransport(shelf), auth=("vendor", "secret"))
    return IssuerKeys(http, "http://issuer/jwks.json", clock=clock)


async def test_keys_are_fetched_once_for_as_long_as_the_issuer_says(keys: IssuerKeys, shelf: Shelf, clock: Any) -> None:
    for passed in (0, 100, 199):
        clock.now += passed
        assert await keys.find("rehearsal-1")
    assert len(shelf.requests) == 1
    clock.now += 1
    assert await keys.find("rehearsal-1")
    assert len(shelf.requests) == 2


async def test_the_shops_password_is_not_sent_for_public_keys(keys: IssuerKeys, shelf: Shelf) -> None:
    await keys.find("rehearsal-1")
    assert "Authorization" not in shelf.requests[0].headers


async def test_a_new_key_is_found_at_once_after_a_rotation(keys: IssuerKeys, shelf: Shelf, clock: Any) -> None:
    await keys.find("rehearsal-1")
    shelf.entries.append(shelf.entries[0] | {"kid": "rehearsal-2"})
    clock.now += 10
    assert await keys.find("rehearsal-2")


async def test_unknown_key_ids_cost_one_request_in_ten_seconds(keys: IssuerKeys, shelf: Shelf, clock: Any) -> None:
    for number in range(50):
        assert await keys.find(f"made-up-{number}") is None
    assert len(shelf.requests) == 1
    clock.now += 10
    for number in range(50):
        assert await keys.find(f"made-up-{number}") is None
    assert len(shelf.requests) == 2


async def test_known_keys_stay_good_while_the_issuer_is_down_but_not_for_ever(
    keys: IssuerKeys, shelf: Shelf, clock: Any
) -> None:
    await keys.find("rehearsal-1")
    shelf.down = True
    clock.now += 1800
    assert await keys.find("rehearsal-1")
    clock.now += 1800
    with pytest.raises(KeysUnavailable):
        await keys.find("rehearsal-1")


async def test_without_keys_nothing_is_judged_until_they_come(keys: IssuerKeys, shelf: Shelf, clock: Any) -> None:
    shelf.down = True
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            await keys.find("rehearsal-1")
    assert len(shelf.requests) == 1
    shelf.down = False
    clock.now += 1
    assert await keys.find("rehearsal-1")


@pytest.mark.parametrize("entries", [None, "text", 5])
async def test_nonsense_in_the_place_of_keys_is_no_answer(keys: IssuerKeys, shelf: Shelf, entries: Any) -> None:
    shelf.entries = entries
    with pytest.raises(KeysUnavailable):
        await keys.find("rehearsal-1")


async def test_a_key_taken_back_is_no_longer_believed(keys: IssuerKeys, shelf: Shelf, clock: Any) -> None:
    assert await keys.find("rehearsal-1")
    shelf.entries.clear()
    clock.now += 300
    assert await keys.find("rehearsal-1") is None
