"""Events of tokens: what a campaign's back end hears, and that no event carries a token."""

from datetime import UTC, datetime
from typing import Any

from platform_testing.events import heard, types_heard
from shared.dependencies import provided
from token_service.tokens.domain import CallerKind
from token_service.tokens.verifying import Verifying, Visit

from .campaign_house import House


async def test_a_token_that_is_used_up_is_told_once_and_without_the_token(house: House) -> None:
    token = await house.issue(max_uses=2)
    for _ in range(4):
        await house.verify(token)
    events = await heard(house.app, house.client, house.headers)
    assert [event["type"] for event in events] == ["token.used_up"]
    assert events[0]["data"] == {
        "campaign_id": "spring",
        "customer_id": "customer-1",
        "product_id": None,
        "uses": 2,
        "max_uses": 2,
    }
    assert token not in str(events)


async def change(house: House, token: str, **changed: Any) -> None:
    answer = await house.client.patch(f"/v1/tokens/{token}", json=changed, headers=house.headers)
    assert answer.status_code == 200, answer.text


async def numbers_told(house: House) -> list[tuple[int, int]]:
    events = await heard(house.app, house.client, house.headers)
    assert {event["type"] for event in events} <= {"token.used_up"}
    return [(event["data"]["uses"], event["data"]["max_uses"]) for event in events]


async def test_spared_uses_do_not_count_in_what_is_told_of_a_used_up_token(house: House) -> None:
    token = await house.issue(max_uses=1)
    for _ in range(3):
        await house.verify(token, {"user_agent": "Mozilla/5.0 SafeLinks", "spare": ["scanner"]})
    assert (await house.verify(token)).json()["uses"] == 1
    assert await numbers_told(house) == [(1, 1)]


async def test_a_token_that_a_change_of_its_quota_uses_up_is_told_once(house: House) -> None:
    token = await house.issue()
    for _ in range(2):
        await house.verify(token)
    await change(house, token, max_uses=2)
    await change(house, token, max_uses=2)
    await change(house, token, attributes={"segment": "gold"})
    assert await numbers_told(house) == [(2, 2)]
    await change(house, token, max_uses=3)
    assert (await house.verify(token)).status_code == 200
    assert await numbers_told(house) == [(2, 2), (3, 3)]


async def test_uses_that_another_process_still_counted_use_no_token_up_again(house: House) -> None:
    """They were good when they were made: the quota came while they were waiting."""
    token = await house.issue(max_uses=1)
    assert (await house.verify(token)).status_code == 200
    verifying = provided(house.app, Verifying)
    known = await verifying.find(
        await verifying.locate(house.tenant, token, Visit(), only_look=True, count_refusal=False)
    )
    house.tally.used(known, CallerKind.PERSON, datetime.now(UTC))
    await house.tally.flush()
    assert await numbers_told(house) == [(1, 1)]


async def test_a_revocation_is_told_once(house: House) -> None:
    token = await house.issue()
    for _ in range(2):
        assert (await house.client.delete(f"/v1/tokens/{token}", headers=house.headers)).status_code == 200
    assert (await house.client.delete("/v1/campaigns/spring/tokens", headers=house.headers)).status_code == 200
    assert await types_heard(house.app, house.client, house.headers) == ["token.revoked", "campaign.revoked"]


async def test_an_import_is_told_when_its_last_row_was_answered_and_a_dry_run_never(house: House) -> None:
    rows = "customer_id\ncustomer-1\n\x01\ncustomer-3\n"
    query = {"base_url": "https://mystore.example/p", "campaign_id": "spring", "duration": "3600"}
    for dry_run in ("true", "false"):
        answer = await house.client.post(
            "/v1/tokens/import",
            params=query | {"dry_run": dry_run},
            content=rows,
            headers=house.headers | {"Content-Type": "text/csv"},
        )
        assert answer.status_code == 200, answer.text
    events = await heard(house.app, house.client, house.headers)
    assert [event["type"] for event in events] == ["import.finished"]
    told = events[0]["data"]
    assert (told["rows"], told["issued"], told["refused"]) == (3, 2, 1)
