"""Changing a token: quota, attributes and end; and what verifying may spare."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from shared.times import iso

from .campaign_house import House, refusal, until_async


async def change(house: House, token: str, **changed: Any) -> httpx.Response:
    return await house.client.patch(f"/v1/tokens/{token}", json=changed, headers=house.headers)


def soon(**later: float) -> str:
    return iso(datetime.now(UTC) + timedelta(**later))


async def test_quota_and_attributes_are_changed_and_stay_authentic(house: House) -> None:
    token = await house.issue(max_uses=1, attributes={"discount": 50}, product_id="housing")
    assert (await house.verify(token)).status_code == 200
    assert refusal(await house.verify(token)) == (409, "token_used_up")
    changed = (await change(house, token, max_uses=2, attributes={"discount": 60})).json()
    assert (changed["max_uses"], changed["attributes"], changed["state"]) == (2, {"discount": 60}, "used")
    body = (await house.verify(token)).json()
    assert (body["uses"], body["attributes"], body["product_id"]) == (2, {"discount": 60}, "housing")
    await house.execute("UPDATE token_service.tokens SET max_uses = 9 WHERE tenant = :tenant", tenant=house.tenant)
    assert refusal(await house.verify(token)) == (403, "invalid_signature")


async def test_an_end_may_come_earlier_and_go_back_and_never_beyond_the_first(house: House) -> None:
    token = await house.issue(duration="PT2H")
    first = (await house.look(token)).json()["expires_at"]
    early = soon(hours=1)
    assert (await change(house, token, expires_at=early)).json()["expires_at"] == early
    assert (await house.verify(token)).status_code == 200
    assert refusal(await change(house, token, expires_at=soon(hours=3))) == (409, "beyond_first_expiry")
    assert refusal(await change(house, token, expires_at=None)) == (409, "beyond_first_expiry")
    assert (await change(house, token, expires_at=first)).json()["expires_at"] == first
    assert (await house.verify(token)).json()["uses"] == 2


async def test_a_token_for_ever_may_get_an_end_and_lose_it_again(house: House) -> None:
    token = await house.issue(duration="never")
    assert (await change(house, token, expires_at=soon(days=1))).status_code == 200
    assert (await house.verify(token)).status_code == 200
    assert (await change(house, token, expires_at=None)).json()["expires_at"] is None
    assert (await house.verify(token)).json()["expires_at"] is None


async def test_an_earlier_end_is_kept_to_the_instant(house: House) -> None:
    token = await house.issue(duration="PT2H")
    assert (await change(house, token, expires_at=soon(seconds=0.4))).status_code == 200

    async def has_expired() -> bool:
        return (await house.verify(token)).status_code == 403

    await until_async(has_expired)
    assert refusal(await house.verify(token)) == (403, "token_expired")
    answer = await house.client.get(f"/v1/tokens/{token}?any_state=true", headers=house.headers)
    assert answer.json()["state"] == "expired"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, (400, "malformed_request")),
        ({"customer_id": "another"}, (400, "malformed_request")),
        ({"max_uses": 0}, (400, "malformed_request")),
        ({"expires_at": "yesterday"}, (400, "malformed_request")),
        ({"expires_at": "2026-01-02T00:00:00Z"}, (400, "never_valid")),
        ({"max_uses": 1}, (409, "fewer_than_used")),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    house: House, changed: dict[str, Any], code: tuple[int, str]
) -> None:
    token = await house.issue(max_uses=5)
    before = [(await house.verify(token)).json() for _ in range(2)][-1]
    assert refusal(await change(house, token, **changed)) == code
    after = (await house.look(token)).json()
    assert {name: after[name] for name in before} == before


async def test_a_revoked_token_is_not_changed(house: House) -> None:
    token = await house.issue()
    await house.client.delete(f"/v1/tokens/{token}", headers=house.headers)
    assert refusal(await change(house, token, max_uses=2)) == (403, "token_revoked")


async def test_a_quota_that_comes_later_counts_what_was_used_before(house: House) -> None:
    """Also uses that were still waiting to be written, whichever process had counted them."""
    token = await house.issue()
    for _ in range(3):
        assert (await house.verify(token)).status_code == 200
    assert refusal(await change(house, token, max_uses=2)) == (409, "fewer_than_used")
    assert (await change(house, token, max_uses=4)).status_code == 200
    answers = await asyncio.gather(*(house.verify(token) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_a_changed_token_keeps_its_reference(house: House) -> None:
    headers = house.headers | {"Content-Type": "application/x-ndjson"}
    params = {"base_url": "https://x.example", "campaign_id": "k", "duration": "P1D"}
    row = b'{"customer_id": "c", "reference": "r", "max_uses": 3}\n'

    async def import_row() -> Any:
        answer = await house.client.post("/v1/tokens/import", params=params, content=row, headers=headers)
        return answer.json()

    first = await import_row()
    assert (await change(house, first["token"], max_uses=5, expires_at=soon(hours=1))).status_code == 200
    assert (await import_row())["token"] == first["token"]


SCANNER = {"user_agent": "Mozilla/5.0 SafeLinks", "spare": ["scanner", "bot"]}


async def test_kinds_that_are_spared_are_counted_and_use_nothing_up(house: House) -> None:
    for changed in ({"max_uses": 1}, {}):
        token = await house.issue(**changed)
        for _ in range(3):
            assert (await house.verify(token, SCANNER)).json()["uses"] == 0
        assert (await house.verify(token, {"user_agent": "Mozilla/5.0 Firefox"})).json()["uses"] == 1
        stats = await house.get(f"/v1/tokens/{token}/stats")
        assert (stats["verified"], stats["spared"], stats["verified_by"]["scanner"]) == (4, 3, 3)
        assert stats["distinct"] == 1
    limited = await house.issue(max_uses=1)
    unspared = {"user_agent": "curl/8", "spare": ["scanner"]}
    assert (await house.verify(limited, unspared)).json()["uses"] == 1
    assert refusal(await house.verify(limited, SCANNER)) == (409, "token_used_up")


async def test_people_are_never_spared(house: House) -> None:
    token = await house.issue(max_uses=1)
    assert refusal(await house.verify(token, {"spare": ["person"]})) == (400, "malformed_request")


async def test_support_sees_a_token_in_any_state(house: House) -> None:
    used_up, revoked, waiting = (
        await house.issue(max_uses=1),
        await house.issue(),
        await house.issue(not_before=soon(minutes=10)),
    )
    await house.verify(used_up)
    await house.client.delete(f"/v1/tokens/{revoked}", headers=house.headers)
    states = []
    for token in (used_up, revoked, waiting):
        assert (await house.look(token)).status_code in {403, 409}
        body = await house.get(f"/v1/tokens/{token}", any_state="true")
        states.append(body["state"])
    assert states == ["used_up", "revoked", "unused"]
    assert refusal(await house.client.get(f"/v1/tokens/{'0' * 32}?any_state=true", headers=house.headers)) == (
        403,
        "invalid_signature",
    )


async def test_uses_of_a_quota_are_counted_with_their_row(house: House) -> None:
    """In the same transaction: a crash cannot part the campaign's sums from its tokens'."""
    token = await house.issue(max_uses=3, campaign_id="durable")
    for _ in range(3):
        assert (await house.verify(token)).status_code == 200
    rows = await house.fetch(
        "SELECT event, detail, count FROM token_service.campaign_counts"
        " WHERE tenant = :tenant AND campaign_id = 'durable' AND event <> 'issued' ORDER BY 1",
        tenant=house.tenant,
    )
    assert [tuple(row) for row in rows] == [("distinct", "", 1), ("verified", "person", 3)]
