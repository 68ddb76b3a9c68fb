"""Campaigns: their list, revoking all their tokens, their landing settings, their statistics' edges."""

import asyncio
import csv
import io
from typing import Any
from urllib.parse import quote

import pytest
from platform_testing.callers import FakeRegister

from .campaign_house import OFFER, ORDER, House, refusal


async def test_revoking_a_campaign_spares_what_is_issued_later_and_other_campaigns(house: House) -> None:
    spring = [await house.issue() for _ in range(3)]
    autumn = await house.issue(campaign_id="autumn")
    answer = await house.client.delete("/v1/campaigns/spring/tokens", headers=house.headers)
    assert answer.status_code == 200
    assert set(answer.json()) == {"campaign_id", "revoked_at"}
    for token in spring:
        assert refusal(await house.verify(token)) == (403, "token_revoked")
    assert (await house.verify(autumn)).status_code == 200
    assert (await house.verify(await house.issue())).status_code == 200


async def test_tokens_issued_while_their_campaign_is_revoked_are_revoked_or_issued_later(house: House) -> None:
    """Whatever the order: a token whose answer came before the revocation began is revoked, a later one is good."""
    before = await house.issue()
    _, *issued = await asyncio.gather(
        house.client.delete("/v1/campaigns/spring/tokens", headers=house.headers),
        *(house.issue() for _ in range(50)),
    )
    after = await house.issue()
    assert refusal(await house.verify(before)) == (403, "token_revoked")
    assert {(await house.verify(token)).status_code for token in issued} <= {200, 403}
    assert (await house.verify(after)).status_code == 200


@pytest.mark.parametrize("campaign_id", ["a/b/c", "Frühling 2026", "50% off?", "x;y", "stats"])
async def test_campaigns_may_have_any_name(house: House, campaign_id: str) -> None:
    await house.issue(campaign_id=campaign_id)
    path = f"/v1/campaigns/{quote(campaign_id, safe='').replace('.', '%2E')}"
    assert (await house.get(f"{path}/stats"))["campaign_id"] == campaign_id
    assert (await house.client.delete(f"{path}/tokens", headers=house.headers)).status_code == 200


async def test_an_unknown_campaign_is_not_found_also_when_another_tenant_has_it(
    house: House, register: FakeRegister
) -> None:
    await house.issue()
    await house.client.put("/v1/campaigns/spring/landing", json=OFFER, headers=house.headers)
    stranger = register.add(f"{house.tenant}-x", "tokens:issue", "tokens:verify", "tokens:stats")
    for method, path in (("GET", "stats"), ("DELETE", "tokens"), ("GET", "landing"), ("DELETE", "landing")):
        for headers, name in ((house.headers, "unknown"), (stranger, "spring")):
            answer = await house.client.request(method, f"/v1/campaigns/{name}/{path}", headers=headers)
            assert answer.status_code == 404
            assert answer.json()["code"] in {"campaign_not_found", "landing_not_found"}
    listed = await house.client.get("/v1/campaigns", headers=stranger)
    assert listed.json() == {"campaigns": [], "next_cursor": None}


@pytest.mark.parametrize("cursor", ["", "c0", "\x00", "A" * 5000, "é"])
async def test_a_cursor_that_was_not_given_out_is_refused(house: House, cursor: str) -> None:
    answer = await house.client.get("/v1/campaigns", params={"cursor": cursor}, headers=house.headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


async def test_campaigns_are_listed_page_by_page(house: House) -> None:
    for number in range(5):
        await house.verify(await house.issue(campaign_id=f"c{number}"))
    first = await house.get("/v1/campaigns", limit="3")
    assert [each["campaign_id"] for each in first["campaigns"]] == ["c0", "c1", "c2"]
    rest = await house.get("/v1/campaigns", limit="3", cursor=first["next_cursor"])
    assert [each["campaign_id"] for each in rest["campaigns"]] == ["c3", "c4"]
    assert rest["next_cursor"] is None
    assert {name: rest["campaigns"][0][name] for name in ("issued", "verified", "distinct", "refused")} == {
        "issued": 1,
        "verified": 1,
        "distinct": 1,
        "refused": 0,
    }


@pytest.mark.parametrize(
    "query", ["bucket=week", "since=yesterday", "since=2026-01-01", "since=0001-01-01T00:00:00%2B23:00", "until=x"]
)
async def test_malformed_questions(house: House, query: str) -> None:
    await house.issue()
    answer = await house.client.get(f"/v1/campaigns/spring/stats?{query}", headers=house.headers)
    assert refusal(answer) == (400, "malformed_request")


async def test_a_landing_page_is_set_read_changed_and_removed(house: House) -> None:
    path = "/v1/campaigns/new/landing"
    assert (await house.client.put(path, json=OFFER, headers=house.headers)).status_code == 201
    again = await house.client.put(path, json=OFFER, headers=house.headers)
    assert again.status_code == 200
    assert (await house.get(path)) == again.json()
    assert (await house.client.delete(path, headers=house.headers)).status_code == 204
    assert refusal(await house.client.get(path, headers=house.headers)) == (404, "landing_not_found")
    assert refusal(await house.client.delete(path, headers=house.headers)) == (404, "landing_not_found")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"destination_url": "javascript:alert(1)"}, "malformed_destination_url"),
        ({"destination_url": "https://a:b@shop.example"}, "malformed_destination_url"),
        ({"destination_url": 5}, "malformed_request"),
        ({"offer": {}}, "malformed_offer"),
        ({"offer": {"fr": {"title": "a", "text": "b", "button": "c"}}}, "malformed_request"),
        ({"offer": {"en": {"title": " ", "text": "b", "button": "c"}}}, "malformed_request"),
        ({"offer": {"en": {"title": "a\0", "text": "b", "button": "c"}}}, "malformed_request"),
        ({"offer": {"en": {"title": "a" * 121, "text": "b", "button": "c"}}}, "malformed_request"),
    ],
)
async def test_a_malformed_landing_page(house: House, changed: dict[str, Any], code: str) -> None:
    answer = await house.client.put("/v1/campaigns/c/landing", json=OFFER | changed, headers=house.headers)
    assert refusal(answer) == (400, code)


async def test_scopes_of_campaigns(house: House, register: FakeRegister, tenant: str) -> None:
    await house.issue()
    verifier = register.add(tenant, "tokens:verify")
    for method, path in (
        ("GET", "/v1/campaigns"),
        ("GET", "/v1/campaigns/spring/stats"),
        ("DELETE", "/v1/campaigns/spring/tokens"),
        ("GET", "/v1/campaigns/spring/landing"),
        ("DELETE", "/v1/campaigns/spring/landing"),
    ):
        answer = await house.client.request(method, path, headers=verifier)
        assert refusal(answer) == (403, "insufficient_scope"), path
    answer = await house.client.put("/v1/campaigns/spring/landing", json=OFFER, headers=verifier)
    assert refusal(answer) == (403, "insufficient_scope")
    reader = register.add(tenant, "tokens:stats")
    assert refusal(await house.client.post("/v1/tokens", json=ORDER, headers=reader)) == (403, "insufficient_scope")


async def recipients(house: House, campaign: str = "spring", **params: str) -> Any:
    return await house.get(f"/v1/campaigns/{campaign}/tokens", **params)


async def test_the_tokens_of_a_campaign_say_whose_they_are_and_what_has_become_of_them(house: House) -> None:
    tokens = {
        name: await house.issue(customer_id=name, max_uses=2) for name in ("unused", "used", "used_up", "revoked")
    }
    await house.issue(customer_id="another campaign", campaign_id="summer")
    await house.issue(customer_id="another link", base_url="https://mystore.example/other")
    for name, times in (("used", 1), ("used_up", 2)):
        for _ in range(times):
            await house.verify(tokens[name], {"user_agent": "curl/8"})
    await house.client.delete(f"/v1/tokens/{tokens['revoked']}", headers=house.headers)
    body = await recipients(house)
    found = {each["customer_id"]: each for each in body["tokens"]}
    assert {name: found[name]["state"] for name in tokens} == {name: name for name in tokens}
    assert found.keys() == {*tokens, "another link"}
    assert (found["used_up"]["uses"], found["used_up"]["verified_by"]["bot"]) == (2, 2)
    assert found["used"]["first_used_at"] is not None
    assert not any(token in str(body) for token in tokens.values())
    assert body["next_cursor"] is None
    assert [each["customer_id"] for each in (await recipients(house, state="used_up"))["tokens"]] == ["used_up"]


async def test_pages_of_a_campaigns_tokens_miss_none_and_show_none_twice(house: House) -> None:
    for number in range(7):
        await house.issue(customer_id=f"c{number}", base_url=f"https://mystore.example/{number % 2}")
    seen: list[str] = []
    params = {"limit": "2"}
    while True:
        body = await recipients(house, **params)
        seen += [each["customer_id"] for each in body["tokens"]]
        if body["next_cursor"] is None:
            break
        params["cursor"] = body["next_cursor"]
    assert sorted(seen) == [f"c{number}" for number in range(7)]
    path = "/v1/campaigns/spring/tokens"
    for wrong in ({"cursor": params["cursor"], "state": "used"}, {"cursor": "made-up"}):
        answer = await house.client.get(path, params=wrong, headers=house.headers)
        assert refusal(answer) == (400, "invalid_cursor")
    answer = await house.client.get("/v1/campaigns/unknown/tokens", headers=house.headers)
    assert refusal(answer) == (404, "campaign_not_found")


async def test_a_page_looks_through_so_many_rows_and_leads_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("token_service.campaigns.recipients._LOOKED_THROUGH", 3)
    for number in range(5):
        token = await house.issue(customer_id=f"c{number}")
    await house.verify(token)
    first = await recipients(house, state="used")
    assert first["tokens"] == []
    second = await recipients(house, state="used", cursor=first["next_cursor"])
    assert [each["customer_id"] for each in second["tokens"]] == ["c4"]


async def test_the_tokens_of_a_campaign_as_csv_with_their_references(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("token_service.campaigns.routes._CSV_ROWS", 2)
    headers = house.headers | {"Content-Type": "text/csv"}
    params = {"base_url": "https://x.example", "campaign_id": "list", "duration": "P1D"}
    rows = b"customer_id,reference\n" + b"".join(b"c%d,r%d\n" % (number, number) for number in range(5))
    await house.client.post("/v1/tokens/import", params=params, content=rows, headers=headers)
    answer = await house.client.get("/v1/campaigns/list/tokens", headers=house.headers | {"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    found = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["customer_id"], row["reference"], row["state"]) for row in found] == [
        (f"c{number}", f"r{number}", "unused") for number in range(5)
    ]
