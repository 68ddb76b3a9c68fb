"""Operators change a client by page, seeing the change first, and make clients of the platform's own."""

from typing import Any

import pytest
from partner_onboarding.register.clients.domain import Registration, own_client_id

from .integration_partner import sign_in_as, third_party
from .onboarding_house import House, hidden_fields
from .test_onboarding_operations import handed_over

HTML = {"Accept": "text/html"}
NEW = "/operations/new-client"
FILLED: dict[str, Any] = {"name": "Test", "scopes": [], "landing_url": "", "redirect_uris": "", "ip_allow_list": ""}


async def asked(house: House, path: str, **wanted: Any) -> dict[str, Any]:
    """The form as an operator fills it in."""
    page = await house.http.get(path, headers=HTML)
    assert page.status_code == 200, page.text
    return hidden_fields(page.text) | FILLED | wanted


async def shown(house: House, client_id: str) -> dict[str, Any]:
    """The client, as the register has it."""
    answer = await house.http.get(f"/v1/clients/{client_id}", headers=await house.caller("clients:admin"))
    told: dict[str, Any] = answer.json()
    return told


async def changes(house: House, client_id: str) -> list[dict[str, Any]]:
    entries = (await house.http.get("/v1/audit", headers=await house.caller("clients:admin"))).json()["entries"]
    return [one["details"] for one in entries if (one["action"], one["subject"]) == ("client_changed", client_id)]


async def test_a_change_is_shown_before_it_is_made_and_audited(house: House) -> None:
    client_id, _ = await house.client("points:read", ip_allow_list=("192.0.2.0/24",))
    await sign_in_as(house, "operator")
    path = f"/operations/clients/{client_id}/edit"
    wanted = {"name": "Renamed", "scopes": ["points:read", "points:admin"], "ip_allow_list": "10.0.0.0/8"}
    page = await house.http.post(path, data=await asked(house, path, **wanted), headers=HTML)
    assert page.status_code == 200
    for words in ("<del>Test</del>", "<ins>Renamed</ins>", "<del>192.0.2.0/24</del>", "<ins>10.0.0.0/8</ins>"):
        assert words in page.text
    assert (await shown(house, client_id))["name"] == "Test", "nothing has changed yet"
    confirmed = hidden_fields(page.text) | wanted
    done = await house.http.post(path, data=confirmed, headers=HTML)
    assert done.status_code == 303
    assert "The client is changed." in (await house.http.get(done.headers["location"])).text
    now = await shown(house, client_id)
    assert (now["name"], now["scopes"], now["ip_allow_list"]) == (
        "Renamed",
        ["points:read", "points:admin"],
        ["10.0.0.0/8"],
    )
    assert await changes(house, client_id) == [
        {
            "before": {"name": "Test", "scopes": ["points:read"], "ip_allow_list": ["192.0.2.0/24"]},
            "after": {"name": "Renamed", "scopes": ["points:read", "points:admin"], "ip_allow_list": ["10.0.0.0/8"]},
        }
    ]


async def test_of_two_operators_who_change_one_client_the_second_is_asked_again(house: House) -> None:
    client_id, _ = await house.client("points:read")
    await sign_in_as(house, "operator")
    path = f"/operations/clients/{client_id}/edit"
    first = await asked(house, path, name="First", scopes=["points:read"], confirmed="yes")
    second = await asked(house, path, name="Second", scopes=["points:read"], confirmed="yes")
    assert (await house.http.post(path, data=first, headers=HTML)).status_code == 303
    late = await house.http.post(path, data=second, headers=HTML)
    assert late.status_code == 409
    assert "Somebody has changed this client meanwhile." in late.text
    assert (await shown(house, client_id))["name"] == "First"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"name": " "}, "name"),
        ({"scopes": ["clients:admin"]}, "scopes"),
        ({"scopes": ["no:such"]}, "scopes"),
        ({"redirect_uris": "ftp://x.example/"}, "redirect_uris"),
        ({"ip_allow_list": "192.0.2.1/24"}, "ip_allow_list"),
    ],
)
async def test_a_third_party_cannot_be_given_what_third_parties_may_not_have(
    house: House, wanted: dict[str, Any], field: str
) -> None:
    client_id = await third_party(house)
    await sign_in_as(house, "operator")
    path = f"/operations/clients/{client_id}/edit"
    assert 'value="clients:admin"' not in (await house.http.get(path)).text
    good = {"scopes": ["points:read"], "redirect_uris": "https://integrator.example/callback", "confirmed": "yes"}
    refused = await house.http.post(path, data=await asked(house, path, **good | wanted), headers=HTML)
    assert refused.status_code == 400
    assert f'href="#{field}"' in refused.text
    assert await changes(house, client_id) == []


async def test_nothing_is_written_where_nothing_differs(house: House) -> None:
    client_id, _ = await house.client("points:read")
    await sign_in_as(house, "operator")
    path = f"/operations/clients/{client_id}/edit"
    page = await house.http.post(path, data=await asked(house, path, scopes=["points:read"]), headers=HTML)
    assert "Nothing would change." in page.text
    same = await asked(house, path, scopes=["points:read"], confirmed="yes")
    assert (await house.http.post(path, data=same, headers=HTML)).status_code == 303
    assert await changes(house, client_id) == []


async def test_a_client_of_the_platform_is_made_by_page(house: House) -> None:
    await sign_in_as(house, "operator")
    form = await asked(house, NEW, name="New shop", scopes=["points:redeem"], vendor_id="shop")
    made = await house.http.post(NEW, data=form, headers=HTML)
    assert made.status_code == 303
    values = await handed_over(house, made)
    assert (await house.check(values["client_id"], values["client_secret"])).status_code == 200
    now = await shown(house, values["client_id"])
    assert (now["kind"], now["vendor_id"], now["scopes"]) == ("first_party", "shop", ["points:redeem"])
    again = await house.http.post(NEW, data=await asked(house, NEW, name="Other", vendor_id="shop"), headers=HTML)
    assert again.status_code == 409
    assert 'name="takes_over"' in again.text
    taken = await asked(house, NEW, name="Other", vendor_id="shop", takes_over="yes")
    assert (await house.http.post(NEW, data=taken, headers=HTML)).status_code == 303
    assert (await shown(house, values["client_id"]))["disabled_at"] is not None
    for wrong in ({"name": ""}, {"vendor_id": "a\x00b"}, {"landing_url": "nonsense"}, {"ip_allow_list": "everywhere"}):
        refused = await house.http.post(NEW, data=await asked(house, NEW, **wrong), headers=HTML)
        assert refused.status_code == 400, wrong


async def test_the_platforms_own_clients_and_disabled_ones_are_not_touched(house: House) -> None:
    own = own_client_id(house.tenant, "12345678")
    disabled, _ = await house.client("points:read")
    await house.register.clients.disable(house.tenant, disabled)
    async with house.register.database.transaction() as connection:
        await house.register.clients.register(connection, house.tenant, Registration(name="Own"), client_id=own)
    await sign_in_as(house, "operator")
    page = (await house.http.get(f"/operations/clients/{own}")).text
    for act in ("edit", "secrets", "disable", "secrets/1/end"):
        assert f"/operations/clients/{own}/{act}" not in page
    token = hidden_fields((await house.http.get("/account/password")).text) | {"overlap_seconds": "0"} | FILLED
    for act in ("edit", "secrets", "disable", "secrets/1/end"):
        refused = await house.http.post(f"/operations/clients/{own}/{act}", data=token)
        assert (refused.status_code, refused.json()["code"]) == (409, "client_internal")
    refused = await house.http.post(f"/operations/clients/{disabled}/edit", data=token)
    assert (refused.status_code, refused.json()["code"]) == (409, "client_disabled")


async def test_ending_a_secret_asks_first_and_says_when_it_was_last_used(house: House) -> None:
    client_id, _ = await house.client("points:read")
    await sign_in_as(house, "operator")
    page = (await house.http.get(f"/operations/clients/{client_id}")).text
    asks = page.partition('<summary aria-label="End secret 1 now">')[2].partition("</details>")[0]
    assert "is refused at once" in asks
    assert "Never used" in asks
    assert f"/operations/clients/{client_id}/secrets/1/end" in asks
