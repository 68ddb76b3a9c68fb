"""Guesses at passwords: they tell nothing, are slowed down, and shut no owner out."""

import asyncio
from dataclasses import replace

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from .handshake_partner import Partner
from .handshake_people import GOOD_PASSWORD, browser, fill_in, landed
from .onboarding_house import PASSWORD, House, hidden_fields

#: One for each guesser: of ten drawn by chance, two were the same in one run of six.
NETWORKS = (f"198.51.100.{last}" for last in range(1, 255))


async def test_unknown_address_wrong_password_and_no_password_get_the_same_answer(house: House) -> None:
    known, without = await house.user(), await house.user("none", password=None)
    pages = []
    for email in (known, without, house.address("nobody")):
        answer = await house.sign_in(email, "not the password")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Cookie ")
        assert "__Host-session" not in answer.cookies
        text = answer.text.replace(email, "")
        pages.append(text.replace(hidden_fields(text)["csrf_token"], ""))
    assert len(set(pages)) == 1
    assert "The e-mail address or the password is wrong." in pages[0]


async def test_a_wrong_guess_costs_as_many_comparisons_whoever_knows_the_address(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured in comparisons: else the time would tell whether another tenant has the same customer."""
    only_here, everywhere = await house.user("here"), await house.user("everywhere")
    await house.user("everywhere", tenant=await house.another_tenant(), email=everywhere)
    verify, compared = Argon2Hasher.verify, []

    def counted(self: Argon2Hasher, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002 — its name there
        compared.append(hash)
        return verify(self, password, hash)

    monkeypatch.setattr(Argon2Hasher, "verify", counted)
    counts = []
    for email in (only_here, everywhere, house.address("nobody")):
        compared.clear()
        await house.sign_in(email, "not the password")
        counts.append(len(compared))
    assert counts == [4, 4, 4]


async def test_whoever_claims_an_address_cannot_count_whether_it_has_an_owner(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a wrong password nor by the right one of an account that was made for this very purpose."""
    partner = await Partner.of(house)
    elsewhere = await house.another_tenant()
    emails = {name: house.address(name) for name in ("nobodys", "ours", "another", "both", "claimed")}
    async with browser(house) as http:
        landed(await fill_in(http, (await partner.codes())["registerCode"], emails["claimed"], password=PASSWORD * 2))
    for name in ("ours", "both"):
        await house.user(name)
    for name in ("another", "both"):
        await house.user(name, tenant=elsewhere, email=emails[name])
    verify, compared = Argon2Hasher.verify, []

    def counted(self: Argon2Hasher, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002 — its name there
        compared.append(hash)
        return verify(self, password, hash)

    monkeypatch.setattr(Argon2Hasher, "verify", counted)
    counts: dict[str, list[int]] = {name: [] for name in emails}
    for name, email in emails.items():
        for claim in range(2):
            compared.clear()
            async with browser(house) as http:
                code = (await partner.codes())["registerCode"]
                landed(await fill_in(http, code, email, password=f"{GOOD_PASSWORD} {claim}"))
            counts[name].append(len(compared))
        for password in ("not the password", f"{GOOD_PASSWORD} 1"):
            compared.clear()
            house.http.cookies.clear()
            await house.sign_in(email, password)
            counts[name].append(len(compared))
    assert len({tuple(one) for one in counts.values()}) == 1, counts


async def test_guessing_at_one_account_is_slowed_down(house: House) -> None:
    email = await house.user()
    for _ in range(4):
        assert (await house.sign_in(email, "not the password")).status_code == 401
    refused = await house.sign_in(email)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 900
    assert "Too many wrong passwords" in refused.text
    assert (await house.sign_in(await house.user("other"))).status_code == 303


async def test_guessing_at_unknown_accounts_is_slowed_down_in_the_same_way(house: House) -> None:
    statuses = [(await house.sign_in(house.address("nobody"), "guess")).status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 401, 429]


async def test_guessing_from_one_address_is_slowed_down_for_all_accounts(house: House) -> None:
    statuses = [(await house.sign_in(house.address(f"nobody-{n}"), "guess")).status_code for n in range(9)]
    assert statuses == [401] * 8 + [429]


async def test_guesses_made_all_at_once_are_counted_as_well(house: House) -> None:
    email = await house.user()
    form = await house.login_form()
    # Equal ones would be doubles of one guess.
    guesses = [{**form, "email": email, "password": f"not the password {n}"} for n in range(30)]
    answers = await asyncio.gather(*(house.http.post("/login", data=guess) for guess in guesses))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) <= 4 + 2


async def test_the_right_password_sets_the_account_free_of_earlier_mistakes(house: House) -> None:
    email = await house.user()
    for _ in range(2):
        for _ in range(3):
            assert (await house.sign_in(email, "not the password")).status_code == 401
        assert (await house.sign_in(email)).status_code == 303
        house.http.cookies.clear()


async def failed(house: House, name: str, times: int = 4) -> None:
    """Somebody guesses at an account, from another network."""
    house_of_guesser = replace(house, ip_address=next(NETWORKS))
    async with house_of_guesser.http:
        for _ in range(times):
            assert (await house_of_guesser.sign_in(house.address(name), "not the password")).status_code == 401
        assert (await house_of_guesser.sign_in(house.address(name))).status_code == 429


async def test_who_guesses_locks_out_the_own_network_and_not_the_owner(house: House) -> None:
    email = await house.user()
    await failed(house, "erika")
    assert (await house.sign_in(email)).status_code == 303


async def test_a_known_device_gets_in_while_the_whole_world_guesses(house: House) -> None:
    email = await house.user()
    await house.sign_in(email)
    device = house.http.cookies["__Host-device"]
    for _ in range(10):
        await failed(house, "erika")
    house.http.cookies.clear()
    # Guesses from everywhere lock out all strangers, and so the owner at a new machine.
    assert (await house.sign_in(email)).status_code == 429
    house.http.cookies.set("__Host-device", device, domain="points.example", path="/")
    assert (await house.sign_in(email)).status_code == 303
    # The cookie opens nothing, is good for this account only, and a device guesses as little as anybody.
    other = await house.user("other")
    await failed(house, "other")
    house.http.cookies.clear()
    house.http.cookies.set("__Host-device", device, domain="points.example", path="/")
    for _ in range(4):
        assert (await house.sign_in(email, "not the password")).status_code == 401
    assert (await house.sign_in(email)).status_code == 429
    assert (await house.sign_in(other)).status_code == 303


async def test_a_right_password_forgives_the_guesses_at_its_own_account_only(house: House) -> None:
    """An account that somebody makes on another's address is no way to guess at the other's for ever."""
    email = await house.user()
    partner = await Partner.of(house)
    async with browser(house) as http:
        landed(await fill_in(http, (await partner.codes())["registerCode"], email, password=GOOD_PASSWORD))
    for _ in range(3):
        assert (await house.sign_in(email, "not the password")).status_code == 401
        assert (await house.sign_in(email, GOOD_PASSWORD)).status_code == 303
        house.http.cookies.clear()
    assert (await house.sign_in(email, GOOD_PASSWORD)).status_code == 303
    house.http.cookies.clear()
    # The guess of the registration and three at the sign-in: now the owner's account is closed to this network.
    assert (await house.sign_in(email)).status_code == 401
    elsewhere = replace(house, ip_address="203.0.113.9")
    async with elsewhere.http:
        assert (await elsewhere.sign_in(email)).status_code == 303


async def test_a_registration_counts_as_a_guess_at_the_account_of_its_address(house: House) -> None:
    email = await house.user()
    partner = await Partner.of(house)
    for n in range(4):
        async with browser(house) as http:
            await fill_in(http, (await partner.codes())["registerCode"], email, password=f"{GOOD_PASSWORD} {n}")
    # Closed to this network. Not 429: that would tell the maker of the other account that this one exists.
    assert (await house.sign_in(email)).status_code == 401
    elsewhere = replace(house, ip_address="203.0.113.10")
    async with elsewhere.http:
        assert (await elsewhere.sign_in(email)).status_code == 303
