"""A consent is widened, withdrawn, handed to another user, and shown."""

import asyncio
from datetime import UTC, datetime

import pytest
from partner_onboarding.erasing import build_erasing
from partner_onboarding.register.audit.domain import SHELL
from partner_onboarding.register.users.erasing import AccountIsNeeded
from partner_onboarding.third_parties.consents.domain import Consent, UnknownUser, next_consent
from partner_onboarding.third_parties.consents.service import Consents
from shared.dependencies import provided

from .integration_partner import (
    audit,
    consented_code,
    link,
    present_consent,
    redeem,
    sign_in_as,
    third_party,
    told_consent,
)
from .onboarding_house import House, Shell, hidden_fields


async def test_more_scope_needs_consent_to_what_is_new_and_keeps_the_rest(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    await consented_code(house, client_id, link(scope="points:read"))
    page = (await house.http.get(f"/setup/{client_id}", params=link(scope="users:read"))).text
    assert page.index("would be allowed to") < page.index("users:read") < page.index("You have already allowed")
    assert page.index("You have already allowed") < page.index('<code class="tag">points:read')
    code = await consented_code(house, client_id, link(scope="users:read"))
    assert (await present_consent(house, client_id))["scopes"] == ["points:read", "users:read"]
    assert (await redeem(house, client_id, code)).json()["scopes"] == ["users:read"]
    assert (await present_consent(house, client_id))["version"] == 2


async def test_asking_again_for_what_is_allowed_writes_nothing_new(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    await consented_code(house, client_id)
    page = await house.http.get(f"/setup/{client_id}", params=link(scope=None))
    assert "asks for nothing more" in page.text
    code = await consented_code(house, client_id, link(scope=None))
    assert (await redeem(house, client_id, code)).json()["consent_version"] == 1


def test_words_are_kept_as_they_were_read() -> None:
    """A later change of a text does not change what somebody has consented to."""
    first = next_consent(None, ["points:read"], "robot", {"points:read": "See points"}, "en")
    assert first is not None
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    present = Consent("demo", "c", 1, first.event, first.subject, first.scopes, first.words, "en", SHELL, moment)
    second = next_consent(present, ["users:read"], "robot", {"points:read": "Other", "users:read": "Namen"}, "de")
    assert second is not None
    assert (second.event, second.version) == ("extended", 2)
    assert dict(second.words) == {"points:read": "See points", "users:read": "Namen"}


async def test_withdrawal_holds_at_once_for_consent_and_codes(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    page = await house.http.get(f"/consents/{client_id}")
    done = await house.http.post(f"/consents/{client_id}/withdraw", data=hidden_fields(page.text))
    assert done.headers["location"] == f"/consents/{client_id}?done=withdrawn"
    assert await told_consent(house, client_id) is None
    assert (await redeem(house, client_id, code)).status_code == 404
    assert "The permission is withdrawn." in (await house.http.get(done.headers["location"])).text
    await consented_code(house, client_id, link(scope="users:read"))
    await consented_code(house, client_id, link(scope="points:read"))
    anew = await present_consent(house, client_id)
    assert (anew["version"], anew["since_version"]) == (4, 3)
    assert anew["scopes"] == ["points:read", "users:read"]
    # Consent that is given again brings nothing back of what the withdrawal has ended.
    assert (await redeem(house, client_id, code)).status_code == 404


async def test_disabling_the_client_ends_consent_and_codes_at_once(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    await house.register.clients.disable(house.tenant, client_id)
    assert await told_consent(house, client_id) is None
    assert (await redeem(house, client_id, code)).status_code == 404
    known = await house.http.get(f"/internal/clients/{client_id}", headers=house.service("sso-issuer"))
    assert (known.status_code, known.json()["code"]) == (404, "client_not_found")
    assert "Switched off by operations" in (await house.http.get("/consents")).text


async def test_the_designated_user_can_be_changed(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    await house.user("robot", firstname="Rob", lastname="Ot")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    form = hidden_fields((await house.http.get(f"/consents/{client_id}")).text)
    path = f"/consents/{client_id}/designated-user"
    wrong = await house.http.post(path, data=form | {"designated_user": "nobody"})
    assert wrong.status_code == 400
    changed = await house.http.post(path, data=form | {"designated_user": "robot"})
    assert changed.status_code == 303
    assert "Rob Ot" in (await house.http.get("/consents")).text
    assert (await redeem(house, client_id, code)).json()["subject"] == "robot"
    assert ("tenant_admin:boss", "consent_redesignated", client_id) in await audit(house)


@pytest.mark.parametrize("end", ["withdrawal", "another user", "disabled client"])
async def test_an_account_stays_while_an_integration_acts_for_it(house: House, shell: Shell, end: str) -> None:
    await sign_in_as(house, "tenant_admin")
    await house.user("robot")
    client_id = await third_party(house)
    await consented_code(house, client_id, designated_user="robot")
    refused = await shell("erase-user", "robot", "--tenant", house.tenant)
    assert (refused.exit_code, "account_is_needed" in refused.stderr) == (1, True)
    assert (await present_consent(house, client_id))["subject"] == "robot"
    consents = provided(house.app, Consents)
    match end:
        case "withdrawal":
            await consents.withdraw(house.tenant, client_id, by=SHELL)
        case "another user":
            await consents.redesignate(house.tenant, client_id, "boss", by=SHELL)
        case _:
            await house.register.clients.disable(house.tenant, client_id)
    assert (await shell("erase-user", "robot", "--tenant", house.tenant)).answer["erased"]


async def test_nobody_is_erased_who_is_being_designated(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    await consented_code(house, client_id)
    consents, erasing = provided(house.app, Consents), build_erasing(house.register)
    for n in range(10):
        robot = f"robot-{n}"
        await house.user(robot)
        erased, designated = await asyncio.gather(
            erasing.erase(house.tenant, robot, by=SHELL),
            consents.redesignate(house.tenant, client_id, robot, by=SHELL),
            return_exceptions=True,
        )
        assert (erased is None) == isinstance(designated, UnknownUser)
        assert isinstance(erased, AccountIsNeeded) == isinstance(designated, Consent)


async def test_the_receipt_says_who_allowed_whom_what_in_which_words(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    house.http.headers["Accept-Language"] = "de"
    await consented_code(house, client_id, link(scope="points:read"))
    answer = await house.http.get(f"/consents/{client_id}/receipts/1")
    assert answer.headers["content-disposition"] == f'attachment; filename="consent-{client_id}-1.json"'
    told = answer.json()
    assert told["controller"] == {"tenant": house.tenant, "name": f"Tenant {house.tenant}"}
    assert told["recipient"]["client_id"] == client_id
    assert told["given_by"] == {"role": "tenant_admin", "id": "boss"}
    assert (told["language"], told["version"], told["event"]) == ("de", 1, "granted")
    assert told["data"] == [
        {"scope": "points:read", "words": "Punktestände sehen, und was gesammelt und ausgegeben wurde"}
    ]
    for missing in (f"/consents/{client_id}/receipts/2", "/consents/nobody/receipts/1", "/consents/%00"):
        assert (await house.http.get(missing)).status_code == 404


async def test_the_api_lists_and_withdraws_for_a_session_on_this_site(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    await consented_code(house, client_id)
    listed = await house.http.get("/v1/consents")
    (told,) = listed.json()["consents"]
    assert (told["client_id"], told["state"], told["designated_user"]) == (client_id, "granted", "boss")
    for foreign in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Referer": "https://evil.example/"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.points.example"},
    ):
        forged = await house.http.delete(f"/v1/consents/{client_id}", headers=foreign)
        assert (forged.status_code, forged.json()["code"]) == (403, "cross_site_request")
    assert await told_consent(house, client_id) is not None
    for ours in ({}, {"Origin": "https://points.example", "Sec-Fetch-Site": "same-origin"}):
        assert (await house.http.delete(f"/v1/consents/{client_id}", headers=ours)).status_code == 204
    assert await told_consent(house, client_id) is None
    history = (await house.http.get(f"/v1/consents/{client_id}")).json()
    assert [version["event"] for version in history["versions"]] == ["withdrawn", "granted"]
    assert (await house.http.delete("/v1/consents/nobody")).status_code == 404


async def test_the_api_takes_operators_clients_of_the_tenant_and_nobody_else(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    await consented_code(house, client_id)
    house.http.cookies.clear()
    assert (await house.http.get("/v1/consents")).status_code == 401
    unscoped = await house.caller("points:admin")
    assert (await house.http.get("/v1/consents", headers=unscoped)).status_code == 403
    stranger = await house.caller("clients:admin", tenant=await house.another_tenant())
    assert (await house.http.get("/v1/consents", headers=stranger)).json()["consents"] == []
    assert (await house.http.delete(f"/v1/consents/{client_id}", headers=stranger)).status_code == 404
    operator = await house.caller("clients:admin")
    assert (await house.http.delete(f"/v1/consents/{client_id}", headers=operator)).status_code == 204
    await sign_in_as(house, user_id="plain")
    assert (await house.http.get("/v1/consents")).status_code == 403
