"""What administrators did in other services stands in the one audit, once; operators hear of a vendor's new secret."""

from typing import Any

import pytest
from partner_onboarding.register.acts import OF_SERVICE
from platform_testing.acts import noted_actions

from .mail_post import Post
from .onboarding_house import House

ACT: dict[str, Any] = {
    "act_id": "act-1",
    "client_id": "platform-client",
    "action": "vendor_secret_added",
    "subject": "shop & co",
    "before": {"live_secrets": ["a"]},
    "after": {"live_secrets": ["a", "b"]},
    "details": {"vendor": "Rewards Shop"},
    "origin": "203.0.113.7",
    "request_id": "request-7",
    "acted_at": "2026-11-21T08:15:30.123Z",
}


async def test_an_act_is_written_once_however_often_it_is_told(house: House, post: Post) -> None:
    await house.user("anna", roles=["operator"])
    path, issuer = f"/internal/tenants/{house.tenant}/acts", house.service("sso-issuer")
    for _ in range(2):
        answer = await house.http.post(path, json=ACT, headers=issuer)
        assert (answer.status_code, answer.json()) == (200, {"act_id": "act-1"})
    operator = await house.caller("clients:admin")
    (entry,) = (await house.http.get("/v1/audit?action=vendor_secret_added", headers=operator)).json()["entries"]
    assert (entry["actor_kind"], entry["actor"], entry["subject"]) == ("client", "platform-client", "shop & co")
    assert (entry["origin"], entry["request_id"]) == ("203.0.113.7", "request-7")
    assert entry["details"] == {
        "vendor": "Rewards Shop",
        "acted_at": "2026-11-21T08:15:30.123Z",
        "before": {"live_secrets": ["a"]},
        "after": {"live_secrets": ["a", "b"]},
    }
    mails = [text for to, text in await post.sent() if to == house.address("anna") and "Rewards Shop" in text]
    assert len(mails) == 1
    assert "Client platform-client" in mails[0]
    assert "/operations/audit?q=shop+%26+co" in mails[0]


async def test_a_command_has_no_client_and_other_acts_make_no_mail(house: House, post: Post) -> None:
    await house.user("anna", roles=["operator"])
    act = ACT | {"act_id": "act-2", "client_id": None, "action": "signing_keys_rotated"}
    answer = await house.http.post(
        f"/internal/tenants/{house.tenant}/acts", json=act, headers=house.service("sso-issuer")
    )
    assert answer.status_code == 200
    operator = await house.caller("clients:admin")
    (entry,) = (await house.http.get("/v1/audit?action=signing_keys_rotated", headers=operator)).json()["entries"]
    assert (entry["actor_kind"], entry["actor"]) == ("shell", "")
    assert all("Rewards Shop" not in text for _, text in await post.sent())


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"action": "signed_in"}, 400),
        ({"action": "token_revoked"}, 403),
        ({"before": {str(n): n for n in range(60)}}, 400),
    ],
)
async def test_a_service_tells_its_own_acts_alone(house: House, changed: dict[str, Any], status: int) -> None:
    path = f"/internal/tenants/{house.tenant}/acts"
    assert (await house.http.post(path, json=ACT | changed, headers=house.service("sso-issuer"))).status_code == status


async def test_an_act_of_no_tenant_is_refused(house: House) -> None:
    answer = await house.http.post("/internal/tenants/nobody/acts", json=ACT, headers=house.service("sso-issuer"))
    assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")


@pytest.mark.parametrize("service", sorted(OF_SERVICE))
def test_the_audit_takes_what_a_service_tells_and_nothing_else(service: str) -> None:
    assert noted_actions(service.replace("-", "_")) == set(OF_SERVICE[service])
