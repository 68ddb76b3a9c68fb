"""Users over HTTP, for the platform's back end."""

import asyncio
from datetime import UTC, datetime
from urllib.parse import unquote

import httpx
import pytest

from .handshake_partner import Partner
from .onboarding_house import PASSWORD, House


def body(house: House, name: str = "erika", **fields: str) -> dict[str, str]:
    return {"email": house.address(name), "firstname": "Erika", "lastname": "Mustermann"} | fields


async def test_putting_the_same_again_changes_nothing(house: House) -> None:
    headers = await house.caller("users:write")
    wanted = body(house, password=PASSWORD)
    first = await house.http.put("/v1/users/erika", json=wanted, headers=headers)
    again = await house.http.put("/v1/users/erika", json=wanted, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json() | {"created_at": "", "updated_at": ""} == {
        "user_id": "erika",
        "email": wanted["email"],
        "firstname": "Erika",
        "lastname": "Mustermann",
        "email_verified": True,
        "has_password": True,
        "created_at": "",
        "updated_at": "",
    }


@pytest.mark.parametrize("path", ["a%2Fb", "a/b/c", "%2F", "a%2F"])
async def test_an_id_may_contain_a_slash_on_every_path(house: House, path: str) -> None:
    headers, user_id = await house.caller("users:write", "users:read"), unquote(path)
    made = await house.http.put(f"/v1/users/{path}", json=body(house), headers=headers)
    assert (made.status_code, made.json()["user_id"]) == (201, user_id)
    assert (await house.http.get(f"/v1/users/{path}", headers=headers)).json() == made.json()
    entitled = (await house.http.get(f"/v1/users/{path}/entitlements", headers=headers)).json()
    assert (entitled["user_id"], entitled["plans"]) == (user_id, [])
    partner = await Partner.of(house)
    await partner.link(user_id, datetime.now(UTC))
    assert (await partner.get(f"activate-user/{path}")).json()["userId"] == user_id
    assert (await partner.remove(path)).json()["userId"] == user_id


async def test_puts_of_one_user_at_once_create_one(house: House) -> None:
    headers = await house.caller("users:write")
    answers = await asyncio.gather(
        *(house.http.put("/v1/users/erika", json=body(house, password=PASSWORD), headers=headers) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 200, 201]


async def test_a_change_is_read_back_and_keeps_the_password(house: House) -> None:
    headers = await house.caller("users:write", "users:read")
    await house.http.put("/v1/users/erika", json=body(house, password=PASSWORD), headers=headers)
    changed = body(house, "new", firstname="Ériká", lastname="O’Neill-Müller")
    assert (await house.http.put("/v1/users/erika", json=changed, headers=headers)).status_code == 200
    read = (await house.http.get("/v1/users/erika", headers=headers)).json()
    assert {name: read[name] for name in changed} == changed
    assert read["updated_at"] > read["created_at"]
    assert (await house.sign_in(house.address("erika"))).status_code == 401
    assert (await house.sign_in(house.address("new"))).status_code == 303


async def test_an_address_belongs_to_one_user_of_a_tenant_however_it_is_spelt(house: House) -> None:
    headers = await house.caller("users:write")
    await house.http.put("/v1/users/erika", json=body(house), headers=headers)
    wanted = body(house, email=house.address("ERIKA").upper())
    new = await house.http.put("/v1/users/other", json=wanted, headers=headers)
    assert (new.status_code, new.json()["code"]) == (409, "email_taken")
    await house.http.put("/v1/users/max", json=body(house, "max"), headers=headers)
    changed = await house.http.put("/v1/users/max", json=wanted, headers=headers)
    assert (changed.status_code, changed.json()["code"]) == (409, "email_taken")
    assert (await house.http.put("/v1/users/erika", json=wanted, headers=headers)).status_code == 200


async def test_an_address_taken_in_another_tenant_is_free_here(house: House) -> None:
    """Else one tenant could find out by a conflict who is a customer of another."""
    other = await house.another_tenant()
    await house.user("erika", tenant=other)
    headers = await house.caller("users:write")
    assert (await house.http.put("/v1/users/erika", json=body(house), headers=headers)).status_code == 201


async def test_a_user_of_another_tenant_does_not_exist(house: House) -> None:
    await house.user("erika", tenant=await house.another_tenant())
    headers = await house.caller("users:read")
    foreign = await house.http.get("/v1/users/erika", headers=headers)
    unknown = await house.http.get("/v1/users/nobody", headers=headers)
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json() | {"request_id": 0} == unknown.json() | {"request_id": 0}
    assert foreign.json()["code"] == "user_not_found"


async def test_reading_needs_users_read_and_writing_users_write(house: House) -> None:
    reader, stranger = await house.caller("users:read"), await house.caller("points:admin")
    assert (await house.http.put("/v1/users/erika", json=body(house), headers=reader)).status_code == 403
    assert (await house.http.get("/v1/users/erika", headers=stranger)).status_code == 403
    assert (await house.http.get("/v1/users/erika")).status_code == 401


async def test_another_password_ends_all_sessions_and_the_same_one_does_not(house: House) -> None:
    headers = await house.caller("users:write")
    email = await house.user()
    await house.sign_in(email)
    same = body(house, password=PASSWORD)
    assert (await house.http.put("/v1/users/erika", json=same, headers=headers)).status_code == 200
    assert (await house.http.get("/account")).status_code == 200
    changed = body(house, password="quite another phrase")
    assert (await house.http.put("/v1/users/erika", json=changed, headers=headers)).status_code == 200
    assert (await house.http.get("/account")).status_code == 303
    assert (await house.sign_in(email)).status_code == 401
    assert (await house.sign_in(email, "quite another phrase")).status_code == 303


async def test_what_is_read_of_a_user_is_kept_by_no_cache(house: House) -> None:
    headers = await house.caller("users:read", "users:write")
    written = await house.http.put("/v1/users/erika", json=body(house), headers=headers)
    read = await house.http.get("/v1/users/erika", headers=headers)
    assert written.headers["cache-control"] == read.headers["cache-control"] == "no-store"
    assert read.json()["has_password"] is False


async def test_of_changes_to_one_state_of_a_user_one_is_made(house: House) -> None:
    headers = await house.caller("users:write", "users:read")

    async def put(name: str, condition: str, tag: str, **fields: str) -> httpx.Response:
        wanted = body(house, firstname=name, **fields)
        return await house.http.put("/v1/users/erika", json=wanted, headers={**headers, condition: tag})

    made = await asyncio.gather(*(put(name, "If-None-Match", "*") for name in "ABC"))
    assert sorted(answer.status_code for answer in made) == [201, 412, 412]
    tag = (await house.http.get("/v1/users/erika", headers=headers)).headers["ETag"]
    changed = await asyncio.gather(*(put(name, "If-Match", tag) for name in "DEF"))
    assert sorted(answer.status_code for answer in changed) == [200, 412, 412]
    (winner,) = [answer for answer in changed if answer.status_code == 200]
    present = await house.http.get("/v1/users/erika", headers=headers)
    assert (present.json(), present.headers["ETag"]) == (winner.json(), winner.headers["ETag"])
    # A password that nobody reads back is a change, too.
    again = await put(winner.json()["firstname"], "If-Match", present.headers["ETag"], password=PASSWORD)
    assert again.status_code == 200
    assert (await put("G", "If-Match", present.headers["ETag"])).status_code == 412
