"""Events of tokens: what a campaign's back end hears, and that no event carries a token."""

from platform_testing.events import heard, types_heard

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
