"""Who wants to build something asks, and operators decide: once, and of their own tenant only."""

import asyncio
from typing import Any

import pytest
from partner_onboarding.tables import metadata
from sqlalchemy import select

from .integration_partner import CALLBACK, REQUEST, audit, submit
from .onboarding_house import House, hidden_fields

PATH = "/v1/integration-requests"


async def test_anyone_may_ask_and_operators_see_it(house: House) -> None:
    request_id = await submit(house)
    operator = await house.caller("clients:admin")
    shown = (await house.http.get(f"{PATH}/{request_id}", headers=operator)).json()
    assert {key: shown[key] for key in REQUEST} == REQUEST | {"scopes": ["points:read", "users:read"]}
    assert (shown["state"], shown["tenant"], shown["client_id"]) == ("submitted", house.tenant, None)
    assert ("applicant:", "request_submitted", request_id) in await audit(house)


async def test_a_tenant_that_does_not_exist_gets_the_same_answer(house: House) -> None:
    """Nobody finds out by asking who the platform's customers are."""
    known = await house.http.post(PATH, json=REQUEST | {"tenant": house.tenant})
    unknown = await house.http.post(PATH, json=REQUEST | {"tenant": "nobody-here"})
    assert known.status_code == unknown.status_code == 201
    assert known.json().keys() == unknown.json().keys()
    assert len(known.json()["request_id"]) == len(unknown.json()["request_id"])
    assert known.json()["state"] == unknown.json()["state"] == "submitted"
    differing = {"x-request-id", "traceparent"}
    assert {*known.headers} - differing == {*unknown.headers} - differing


async def test_with_credentials_the_tenant_is_the_callers(house: House) -> None:
    operator = await house.caller("clients:admin")
    answer = await house.http.post(PATH, json=REQUEST, headers=operator)
    assert answer.status_code == 201
    refused = await house.http.post(PATH, json=REQUEST | {"tenant": "other"}, headers=operator)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "tenant")
    assert (await house.http.post(PATH, json=REQUEST)).status_code == 400
    unscoped = await house.caller("points:read")
    assert (await house.http.post(PATH, json=REQUEST, headers=unscoped)).status_code == 403
    wrong = {"Authorization": "Basic YTpi"}
    assert (await house.http.post(PATH, json=REQUEST | {"tenant": house.tenant}, headers=wrong)).status_code == 401


async def test_lists_page_by_page_newest_first_and_by_state(house: House) -> None:
    made = [await submit(house, name=f"Number {n}") for n in range(5)]
    operator = await house.caller("clients:admin")
    await house.http.post(f"{PATH}/{made[1]}/decline", json={"reason": "No."}, headers=operator)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await house.http.get(PATH, params=params, headers=operator)).json()
        seen += [one["request_id"] for one in page["requests"]]
        cursor = page["next_cursor"]
    assert seen == made[::-1]
    declined = (await house.http.get(PATH, params={"state": "declined"}, headers=operator)).json()["requests"]
    assert [one["request_id"] for one in declined] == [made[1]]
    for wrong in ({"state": "lost"}, {"cursor": "x"}, {"limit": "0"}):
        assert (await house.http.get(PATH, params=wrong, headers=operator)).status_code == 400
    page = (await house.http.get(PATH, params={"limit": "1"}, headers=operator)).json()
    of_another_list = await house.http.get(
        PATH, params={"cursor": page["next_cursor"], "state": "declined"}, headers=operator
    )
    assert (of_another_list.status_code, of_another_list.json()["code"]) == (400, "invalid_cursor")


async def test_approving_registers_the_client_and_hands_over_four_things_once(house: House) -> None:
    request_id = await submit(house)
    operator = await house.caller("clients:admin")
    answer = await house.http.post(f"{PATH}/{request_id}/approve", headers=operator)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["state"] == "approved"
    assert told["tenant_authority_url"] == f"https://points.example/tenants/{house.tenant}"
    assert told["cloud_api_url"] == "https://points.example"
    checked = await house.check(told["client_id"], told["client_secret"])
    assert checked.json()["kind"] == "third_party"
    assert checked.json()["scopes"] == ["points:read", "users:read"]
    shown = await house.http.get(f"{PATH}/{request_id}", headers=operator)
    assert shown.json()["client_id"] == told["client_id"]
    assert told["client_secret"] not in shown.text
    again = await house.http.post(f"{PATH}/{request_id}/approve", headers=operator)
    assert (again.status_code, again.json()["code"]) == (409, "integration_request_decided")
    assert again.json()["state"] == "approved"
    decline = await house.http.post(f"{PATH}/{request_id}/decline", json={"reason": "No."}, headers=operator)
    assert decline.status_code == 409


async def test_with_a_key_the_approval_is_answered_again_and_done_once(house: House) -> None:
    request_id = await submit(house)
    operator = await house.caller("clients:admin") | {"Idempotency-Key": "approve-it"}
    first, again = [await house.http.post(f"{PATH}/{request_id}/approve", headers=operator) for _ in range(2)]
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    clients = (await house.http.get("/v1/clients", headers=operator)).json()["clients"]
    assert len([client for client in clients if client["kind"] == "third_party"]) == 1


async def test_of_two_operators_at_once_one_approves(house: House) -> None:
    request_id = await submit(house)
    operators = [await house.caller("clients:admin") for _ in range(4)]
    answers = await asyncio.gather(
        *(house.http.post(f"{PATH}/{request_id}/approve", headers=operator) for operator in operators)
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert [entry[1] for entry in await audit(house)].count("request_approved") == 1


async def test_declining_needs_a_reason_and_keeps_it(house: House) -> None:
    request_id = await submit(house)
    operator = await house.caller("clients:admin")
    for body in ({}, {"reason": ""}, {"reason": "   "}, {"reason": "a\x00"}, {"reason": "x" * 4001}):
        refused = await house.http.post(f"{PATH}/{request_id}/decline", json=body, headers=operator)
        assert refused.status_code == 400
    answer = await house.http.post(f"{PATH}/{request_id}/decline", json={"reason": "Too much."}, headers=operator)
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (200, "declined", "Too much.")
    assert answer.json()["decided_by"].startswith("client:")
    assert (await house.http.post(f"{PATH}/{request_id}/approve", headers=operator)).status_code == 409


async def test_another_tenants_operator_sees_and_decides_nothing(house: House) -> None:
    request_id = await submit(house)
    stranger = await house.caller("clients:admin", tenant=await house.another_tenant())
    assert (await house.http.get(PATH, headers=stranger)).json()["requests"] == []
    answers = [
        await house.http.get(f"{PATH}/{request_id}", headers=stranger),
        await house.http.post(f"{PATH}/{request_id}/approve", headers=stranger),
        await house.http.post(f"{PATH}/{request_id}/decline", json={"reason": "x"}, headers=stranger),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
        (404, "integration_request_not_found")
    }
    for caller in ({}, await house.caller("users:read")):
        assert (await house.http.get(PATH, headers=caller)).status_code in {401, 403}
    assert (await house.http.get("/v1/audit", headers=stranger)).json()["entries"][0]["action"] == "client_registered"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"organisation": "a\x00"}, "organisation"),
        ({"goals": ""}, "goals"),
        ({"goals": "x" * 4001}, "goals"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": ["clients:admin"]}, "scopes"),
        ({"scopes": ["sso:admin"]}, "scopes"),
        ({"contact_email": "ines"}, "contact_email"),
        ({"contact_name": ""}, "contact_name"),
        ({"redirect_uris": []}, "redirect_uris"),
        ({"redirect_uris": ["http://integrator.example/"]}, "redirect_uris"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "redirect_uris"),
        ({"redirect_uris": [CALLBACK + "#x"]}, "redirect_uris"),
        ({"redirect_uris": [CALLBACK] * 11}, "redirect_uris"),
        ({"details": 7}, "details"),
        ({"tenant": "Not A Tenant"}, "tenant"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_what_is_wrong_is_named(house: House, changes: dict[str, Any], field: str) -> None:
    answer = await house.http.post(PATH, json=REQUEST | {"tenant": house.tenant} | changes)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"].partition(".")[0] == field


async def test_the_public_form_asks_in_words_and_thanks_everybody_alike(house: House) -> None:
    page = await house.http.get("/integrations/apply?lang=de")
    assert "Ihre Software anbinden" in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
    form = hidden_fields(page.text) | REQUEST | {"redirect_uris": f"{CALLBACK}\r\nhttps://integrator.example/b"}
    references = []
    for name in (house.tenant, f"tenant {house.tenant.upper()}", "Nobody Inc.", "a\x00", "x" * 5000):
        answer = await house.http.post("/integrations/apply", data=form | {"tenant": name})
        assert answer.status_code == 303, answer.text
        references.append(answer.headers["location"].removeprefix("/integrations/thanks?reference="))
        assert references[-1] in (await house.http.get(answer.headers["location"])).text
    operator = await house.caller("clients:admin")
    listed = (await house.http.get(PATH, headers=operator)).json()["requests"]
    assert [one["request_id"] for one in listed] == references[1::-1]
    assert listed[0]["redirect_uris"] == [CALLBACK, "https://integrator.example/b"]
    assert (await house.http.get("/integrations/thanks?reference=%3Cb%3E")).status_code == 404


async def test_mistakes_in_the_form_are_all_named_and_nothing_typed_is_lost(house: House) -> None:
    form = hidden_fields((await house.http.get("/integrations/apply")).text)
    answer = await house.http.post("/integrations/apply", data=form | {"goals": "Mine & <yours>"})
    assert answer.status_code == 400
    for field in ("tenant", "name", "organisation", "scopes", "redirect_uris", "contact_name", "contact_email"):
        assert f'href="#{field}"' in answer.text
    assert "Mine &amp; &lt;yours&gt;</textarea>" in answer.text
    whole = form | REQUEST | {"tenant": house.tenant, "redirect_uris": CALLBACK}
    wrong = await house.http.post("/integrations/apply", data=whole | {"contact_email": "ines"})
    assert wrong.status_code == 400
    assert 'id="contact_email-error"' in wrong.text
    assert 'value="users:read" checked' in wrong.text
    forged = await house.http.post("/integrations/apply", data=whole | {"csrf_token": "x"})
    assert forged.status_code == 403


async def test_an_address_may_ask_only_so_often(house: House) -> None:
    limit = 20
    answers = [await house.http.post(PATH, json=REQUEST | {"tenant": house.tenant}) for _ in range(limit + 1)]
    assert {answer.status_code for answer in answers[:limit]} == {201}
    assert answers[limit].status_code == 429
    assert int(answers[limit].headers["retry-after"]) > 0
    form = hidden_fields((await house.http.get("/integrations/apply")).text)
    page = await house.http.post(
        "/integrations/apply", data=form | REQUEST | {"tenant": house.tenant, "redirect_uris": CALLBACK}
    )
    assert page.status_code == 429
    assert "retry-after" in page.headers


async def test_a_copy_of_the_tables_names_nobody_who_asked_and_opens_nothing(house: House) -> None:
    request_id = await submit(house, goals="Secretplans", details="Secretdetails")
    declined = await submit(house)
    operator = await house.caller("clients:admin") | {"Idempotency-Key": "approve-it"}
    approved = (await house.http.post(f"{PATH}/{request_id}/approve", headers=operator)).json()
    await house.http.post(
        f"{PATH}/{declined}/decline", json={"reason": "Secretreason"}, headers=operator | {"Idempotency-Key": "no"}
    )
    hidden = [
        *(approved["client_secret"], "Integratorova", "ines@integrator.example"),
        *("Secretplans", "Secretdetails", "Secretreason", "Example Analytics"),
    ]
    async with house.register.database.transaction() as connection:
        for table in metadata.sorted_tables:
            for row in await connection.execute(select(table)):
                kept = b"\n".join(
                    bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode() for value in row
                )
                assert not [word for word in hidden if word.encode() in kept], table.name
