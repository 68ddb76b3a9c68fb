"""The operators' pages: requests, clients and the audit, for operators of the tenant and nobody else."""

import re
from datetime import timedelta

import httpx
import pytest
from partner_onboarding.register.tables import idempotent_answers
from sqlalchemy import select, update

from .integration_partner import audit, sign_in_as, submit, third_party
from .onboarding_house import House, hidden_fields


async def handed_over(house: House, answer: httpx.Response) -> dict[str, str]:
    """What the page shows to which a new secret leads."""
    page = await house.http.get(answer.headers["location"])
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    return dict(re.findall(r'<code class="value" id="(\w+)">([^<]+)</code>', page.text))


HTML = {"Accept": "text/html"}
PAGES = ("/operations", "/operations/clients", "/operations/audit")


@pytest.mark.parametrize("path", PAGES)
async def test_only_operators_see_the_pages(house: House, path: str) -> None:
    signed_out = await house.http.get(path)
    assert signed_out.headers["location"] == f"/login?next={path.replace('/', '%2F')}"
    for role in ((), ("tenant_admin",)):
        await sign_in_as(house, *role, user_id=f"somebody{len(role)}")
        refused = await house.http.get(path, headers=HTML)
        assert refused.status_code == 403
        assert "For operators only" in refused.text
    await sign_in_as(house, "operator", user_id="operator")
    shown = await house.http.get(path)
    assert shown.status_code == 200
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    assert "form-action 'self'" in shown.headers["content-security-policy"]
    assert shown.headers["cache-control"] == "no-store"


async def test_a_request_is_shown_in_words_and_approved_once(house: House) -> None:
    request_id = await submit(house, goals="Line one\nLine <two>")
    await sign_in_as(house, "operator")
    listed = await house.http.get("/operations")
    assert f'href="/operations/requests/{request_id}"' in listed.text
    page = await house.http.get(f"/operations/requests/{request_id}")
    assert "See people&#39;s points and what was earned and spent" in page.text
    assert "Line one\nLine &lt;two&gt;" in page.text
    form = hidden_fields(page.text)
    handover = await house.http.post(f"/operations/requests/{request_id}/approve", data=form)
    assert handover.status_code == 303
    values = await handed_over(house, handover)
    assert set(values) == {"client_id", "client_secret", "tenant_authority_url", "cloud_api_url"}
    assert (await house.check(values["client_id"], values["client_secret"])).status_code == 200
    fresh = hidden_fields((await house.http.get("/account/password")).text)
    again = await house.http.post(f"/operations/requests/{request_id}/approve", data=fresh)
    assert again.status_code == 409
    for shown in (again, await house.http.get(f"/operations/clients/{values['client_id']}")):
        assert values["client_secret"] not in shown.text
        assert values["client_id"] in shown.text
    assert ("operator:boss", "request_approved", request_id) in await audit(house)


async def test_a_request_is_declined_with_a_reason(house: House) -> None:
    request_id = await submit(house)
    await sign_in_as(house, "operator")
    form = hidden_fields((await house.http.get(f"/operations/requests/{request_id}")).text)
    empty = await house.http.post(f"/operations/requests/{request_id}/decline", data=form | {"reason": " "})
    assert empty.status_code == 400
    assert 'href="#reason"' in empty.text
    done = await house.http.post(f"/operations/requests/{request_id}/decline", data=form | {"reason": "Too much."})
    assert done.status_code == 303
    page = (await house.http.get(done.headers["location"])).text
    assert "The request is declined." in page
    assert "Too much." in page
    again = await house.http.post(f"/operations/requests/{request_id}/decline", data=form | {"reason": "Again."})
    assert again.status_code == 409


async def test_secrets_are_rotated_with_an_overlap_and_shown_once(house: House) -> None:
    client_id, first = await house.client("points:read")
    await sign_in_as(house, "operator")
    path = f"/operations/clients/{client_id}"
    form = hidden_fields((await house.http.get(path)).text)
    rotated = await house.http.post(f"{path}/secrets", data=form | {"overlap_seconds": "3600"})
    second = (await handed_over(house, rotated))["client_secret"]
    assert [(await house.check(client_id, secret)).status_code for secret in (first, second)] == [200, 200]
    page = (await house.http.get(path)).text
    assert second not in page
    assert "Valid until" in page
    ended = await house.http.post(f"{path}/secrets/1/end", data=form)
    assert ended.status_code == 303
    assert [(await house.check(client_id, secret)).status_code for secret in (first, second)] == [404, 200]
    for wrong in ("", "-1", "5", "many"):
        refused = await house.http.post(f"{path}/secrets", data=form | {"overlap_seconds": wrong})
        assert refused.status_code == 400
    disabled = await house.http.post(f"{path}/disable", data=form)
    assert "The client is disabled." in (await house.http.get(disabled.headers["location"])).text
    assert (await house.check(client_id, second)).status_code == 404
    assert [entry[:2] for entry in await audit(house) if entry[2] == client_id] == [
        ("shell:", "client_registered"),
        ("operator:boss", "secret_added"),
        ("operator:boss", "secret_revoked"),
        ("operator:boss", "client_disabled"),
    ]


async def test_forms_of_another_session_change_nothing(house: House) -> None:
    request_id = await submit(house)
    client_id = await third_party(house)
    await sign_in_as(house, "operator")
    for path in (
        *(f"/operations/requests/{request_id}/approve", f"/operations/requests/{request_id}/decline"),
        *(f"/operations/clients/{client_id}/secrets", f"/operations/clients/{client_id}/disable"),
        f"/operations/clients/{client_id}/secrets/1/end",
    ):
        refused = await house.http.post(path, data={"csrf_token": "x", "reason": "x", "overlap_seconds": "0"})
        assert (refused.status_code, refused.json()["code"]) == (403, "form_expired")


async def test_another_tenants_requests_and_clients_do_not_exist(house: House) -> None:
    request_id, client_id = await submit(house), await third_party(house)
    await sign_in_as(house, "operator", user_id="stranger", tenant=await house.another_tenant())
    form = hidden_fields((await house.http.get("/account/password")).text)
    for path in (f"/operations/requests/{request_id}", f"/operations/clients/{client_id}"):
        assert (await house.http.get(path)).status_code == 404
        action = "approve" if "requests" in path else "disable"
        assert (await house.http.post(f"{path}/{action}", data=form)).status_code == 404
    assert (await house.http.get("/operations/clients/%00")).status_code == 404
    assert (await house.http.get("/operations/requests/nothing")).status_code == 400
    assert request_id not in (await house.http.get("/operations/audit")).text


async def test_the_audit_is_paged_newest_first(house: House) -> None:
    made = [await submit(house) for _ in range(3)]
    operator = await house.caller("clients:admin")
    seen, cursor = [], ""
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await house.http.get("/v1/audit", params=params, headers=operator)).json()
        seen += [entry["subject"] for entry in page["entries"] if entry["action"] == "request_submitted"]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert seen == made[::-1]
    assert (await house.http.get("/v1/audit", headers=await house.caller("users:read"))).status_code == 403
    await sign_in_as(house, "operator")
    text = (await house.http.get("/operations/audit?before=99999999999999999999999")).text
    assert made[0] in text
    assert "Applicant" in text


async def test_the_account_leads_to_what_somebody_looks_after(house: House) -> None:
    await sign_in_as(house, user_id="plain")
    assert 'href="/operations"' not in (await house.http.get("/account")).text
    await sign_in_as(house, "operator", "tenant_admin")
    page = (await house.http.get("/account")).text
    assert 'href="/operations"' in page
    assert 'href="/consents"' in page


async def test_a_new_secret_can_be_seen_again_until_it_is_handed_over_by_nobody_else(house: House) -> None:
    client_id, _ = await house.client("points:read")
    await sign_in_as(house, "operator")
    form = hidden_fields((await house.http.get(f"/operations/clients/{client_id}")).text)
    rotated = await house.http.post(f"/operations/clients/{client_id}/secrets", data=form | {"overlap_seconds": "0"})
    place = rotated.headers["location"]
    first, again = await handed_over(house, rotated), await handed_over(house, rotated)
    assert first == again
    page = (await house.http.get(place)).text
    mine = dict(house.http.cookies)
    await sign_in_as(house, "operator", user_id="colleague")
    for path in (place, "/operations/handovers/" + "x" * 22):
        other = await house.http.get(path, headers=HTML)
        assert (other.status_code, first["client_secret"] in other.text) == (410, False)
    house.http.cookies.clear()
    house.http.cookies.update(mine)
    done = await house.http.post(f"{place}/done", data=hidden_fields(page))
    assert (done.status_code, done.headers["location"]) == (303, f"/operations/clients/{client_id}")
    over = await house.http.get(place, headers=HTML)
    assert (over.status_code, first["client_secret"] in over.text) == (410, False)


async def test_a_secret_that_is_being_handed_over_lies_sealed_and_ends_by_itself(house: House) -> None:
    client_id, _ = await house.client("points:read")
    await sign_in_as(house, "operator")
    form = hidden_fields((await house.http.get(f"/operations/clients/{client_id}")).text)
    rotated = await house.http.post(f"/operations/clients/{client_id}/secrets", data=form | {"overlap_seconds": "0"})
    secret = (await handed_over(house, rotated))["client_secret"]
    async with house.register.database.transaction() as connection:
        kept = await connection.execute(select(idempotent_answers.c.answer))
        assert not any(secret.encode() in row.answer for row in kept)
        ago = idempotent_answers.c.created_at - timedelta(minutes=11)
        await connection.execute(
            update(idempotent_answers).where(idempotent_answers.c.tenant == house.tenant).values(created_at=ago)
        )
    assert (await house.http.get(rotated.headers["location"])).status_code == 410
