"""People with roles, and what happens when somebody else changes an account."""

import pytest
from platform_testing.callers import basic

from .integration_partner import audit, consented_code, link, sign_in_as, third_party
from .mail_post import Post
from .onboarding_house import PASSWORD, House, Shell

ANOTHER = "seven herons over the grey weir"


def body(house: House, name: str = "erika", **fields: str) -> dict[str, str]:
    return {"email": house.address(name), "firstname": "Erika", "lastname": "Mustermann"} | fields


@pytest.mark.parametrize("role", ["operator", "tenant_admin"])
async def test_a_user_with_a_role_is_out_of_a_clients_reach(house: House, role: str) -> None:
    email = await house.user("boss", roles=[role])
    headers = await house.caller("users:write", "users:read")
    same = body(house, "boss")
    for change in (same, same | {"password": ANOTHER}, body(house, "thief"), same | {"firstname": "Erna"}):
        refused = await house.http.put("/v1/users/boss", json=change, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "privileged_user")
    assert (await house.sign_in(email, ANOTHER)).status_code == 401
    assert (await house.sign_in(email)).status_code == 303
    assert (await house.http.get("/v1/users/boss", headers=headers)).json()["email"] == email


async def test_a_third_party_changes_users_but_sets_no_password(house: House) -> None:
    await house.user("erika")
    client_id = await third_party(house, "users:write")
    await sign_in_as(house, "tenant_admin")
    await consented_code(house, client_id, link(scope="users:write"))
    headers = house.neighbours.access_token(house.tenant, client_id, "users:write")
    for name in ("erika", "somebody-new"):
        refused = await house.http.put(f"/v1/users/{name}", json=body(house, name, password=ANOTHER), headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    changed = await house.http.put("/v1/users/erika", json=body(house, firstname="Rika"), headers=headers)
    assert (changed.status_code, changed.json()["firstname"]) == (200, "Rika")
    house.http.cookies.clear()
    assert (await house.sign_in(house.address("erika"))).status_code == 303


async def test_one_rule_for_passwords_holds_wherever_one_is_set(house: House, shell: Shell) -> None:
    headers = await house.caller("users:write")
    options = ["--tenant", house.tenant, "--user-id", "max", "--email", house.address("max")]
    options += ["--firstname", "Max", "--lastname", "Muster", "--password-stdin"]
    for password, code in (("fourteen chars", "password_too_short"), ("passwordpassword", "password_guessable")):
        by_api = await house.http.put("/v1/users/erika", json=body(house, password=password), headers=headers)
        assert (by_api.status_code, by_api.json()["code"]) == (400, code)
        by_shell = await shell("create-user", *options, typed=f"{password}\n")
        assert by_shell.exit_code == 1
        assert code in by_shell.stderr
    assert (await house.http.get("/v1/users/erika", headers=await house.caller("users:read"))).status_code == 404


async def test_an_address_that_the_tenant_sets_counts_as_confirmed(house: House) -> None:
    headers = await house.caller("users:write")
    made = await house.http.put("/v1/users/erika", json=body(house), headers=headers)
    assert made.json()["email_verified"] is True
    moved = await house.http.put("/v1/users/erika", json=body(house, "moved"), headers=headers)
    assert moved.json()["email_verified"] is True
    profile = await house.profile("erika")
    assert profile is not None
    assert profile["email_verified"] is True


async def test_another_password_is_audited_and_told_to_the_person(house: House, post: Post) -> None:
    client_id, secret = await house.client("users:write")
    headers = basic(client_id, secret)
    await house.user("erika")
    await house.http.put("/v1/users/erika", json=body(house, password=PASSWORD), headers=headers)
    assert await post.sent() == []
    await house.http.put("/v1/users/erika", json=body(house, password=ANOTHER), headers=headers)
    assert (f"client:{client_id}", "user_changed", "erika") in await audit(house)
    [(recipient, text)] = await post.sent()
    assert recipient == house.address("erika")
    assert "your password was changed" in text


async def test_another_address_is_told_to_the_former_and_to_the_new_one(house: House, post: Post) -> None:
    headers = await house.caller("users:write")
    await house.user("erika")
    await house.http.put("/v1/users/erika", json=body(house, "moved"), headers=headers)
    sent = await post.sent()
    assert sorted(recipient for recipient, _ in sent) == sorted([house.address("erika"), house.address("moved")])
    assert all("the e-mail address of your account" in text for _, text in sent)
    entries = (await house.http.get("/v1/audit", headers=await house.caller("clients:admin"))).json()["entries"]
    changed = next(entry for entry in entries if entry["action"] == "user_changed")
    assert changed["details"] == {"changed": ["email"]}
    assert house.address("moved") not in str(entries)
    assert changed["origin"] == house.ip_address
    assert changed["request_id"]


async def test_roles_are_listed_and_taken_away(house: House, shell: Shell, post: Post) -> None:
    await house.user("boss", roles=["operator", "tenant_admin"])
    await house.user("erika")
    email = house.address("boss")
    await house.sign_in(email)
    listed = await shell("list-users", "--tenant", house.tenant, "--role", "operator")
    assert [(user["user_id"], user["roles"]) for user in listed.answer["users"]] == [
        ("boss", ["operator", "tenant_admin"])
    ]
    everybody = await shell("list-users", "--tenant", house.tenant)
    assert [user["user_id"] for user in everybody.answer["users"]] == ["boss", "erika"]
    for _ in range(2):
        revoked = await shell("revoke-role", "boss", "--tenant", house.tenant, "--role", "operator")
        assert revoked.answer["roles"] == ["tenant_admin"]
    assert (await house.http.get("/account")).status_code == 303
    assert [entry for entry in await audit(house) if entry[1] == "role_revoked"] == [("shell:", "role_revoked", "boss")]
    [(recipient, text)] = await post.sent()
    assert recipient == email
    assert "your role was changed" in text
    await house.sign_in(email)
    assert (await house.http.get("/operations", headers={"Accept": "text/html"})).status_code == 403
    unknown = await shell("revoke-role", "boss", "--tenant", house.tenant, "--role", "king")
    assert unknown.exit_code == 1


async def test_a_disabled_user_is_kept_out_until_enabled_again(house: House, shell: Shell) -> None:
    email = await house.user("erika")
    issuer = house.service("sso-issuer")
    session = (await house.sign_in(email)).cookies["__Host-session"]
    for _ in range(2):
        disabled = await shell("disable-user", "erika", "--tenant", house.tenant)
        assert disabled.answer["disabled_at"] is not None
    check = await house.http.post("/internal/sessions/check", json={"session": session}, headers=issuer)
    assert check.status_code == 404
    assert (await house.sign_in(email)).status_code == 401
    assert await house.profile("erika") is None
    enabled = await shell("enable-user", "erika", "--tenant", house.tenant)
    assert enabled.answer["disabled_at"] is None
    assert (await house.sign_in(email)).status_code == 303
    assert await house.profile("erika") is not None
    assert [entry[1] for entry in await audit(house) if entry[2] == "erika" and entry[0] == "shell:"] == [
        *("user_created", "user_disabled", "user_enabled")
    ]


async def test_all_sessions_of_a_person_end(house: House, shell: Shell) -> None:
    email = await house.user("erika")
    await house.sign_in(email)
    async with house.browser() as other:
        assert (await other.get("/login")).status_code == 200
    ended = await shell("end-sessions", "erika", "--tenant", house.tenant)
    assert ended.answer == {"user_id": "erika", "ended": 1}
    assert (await house.http.get("/account")).status_code == 303
    assert ("shell:", "sessions_ended", "erika") in await audit(house)
    nobody = await shell("end-sessions", "nobody", "--tenant", house.tenant)
    assert "user_not_found" in nobody.stderr
