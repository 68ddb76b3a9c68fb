"""A public code leads to its tenant, and shows nobody else which one."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from partner_onboarding.handshake.handshakes import store
from partner_onboarding.handshake.handshakes.codes import CodeKeeping
from partner_onboarding.handshake.handshakes.domain import BASE58, CODE, base58, new_code, number_in
from partner_onboarding.handshake.handshakes.service import Handshakes
from shared.dependencies import provided
from shared.sealing import Sealer

from .handshake_partner import Partner
from .onboarding_house import House


def keeping(key: bytes = bytes(32)) -> CodeKeeping:
    return CodeKeeping(key, Sealer({1: bytes(32)}))


@pytest.mark.parametrize("number", [0, 1, 57, 58, 58**6 - 1, 123_456_789])
def test_a_number_comes_back_from_its_characters(number: int) -> None:
    assert number_in(base58(number, 6)) == number


def test_a_code_says_its_tenant_to_who_has_the_key() -> None:
    ours, others = keeping(), keeping(b"k" * 32)
    codes = {tenant: [ours.new_register_code(tenant) for _ in range(50)] for tenant in ("demo", "other")}
    assert all(CODE.fullmatch(code) for made in codes.values() for code in made)
    assert {ours.mark_in(code) for code in codes["demo"]} == {ours.mark_of("demo")}
    assert {ours.mark_in(code) for code in codes["other"]} == {ours.mark_of("other")}
    assert ours.mark_of("demo") != ours.mark_of("other")
    # With another key, each code seems to be of another tenant.
    assert len({others.mark_in(code) for code in codes["demo"]}) == 50


def test_codes_of_one_tenant_have_every_character_in_every_place() -> None:
    ours = keeping()
    codes = [ours.new_register_code("demo") for _ in range(5000)]
    assert len(set(codes)) == 5000
    assert all({code[place] for code in codes} == set(BASE58) for place in range(22))


async def test_a_code_is_looked_up_at_its_tenant_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    given = await (await Partner.of(house)).codes()

    async def fail(*_: object) -> None:
        raise AssertionError("every server was asked")

    # The tenant is new: its first code may still be looked for everywhere.
    assert (await house.http.get("/registrieren/", params={"registerCode": given["registerCode"]})).status_code == 200
    handshakes = provided(house.app, Handshakes)
    monkeypatch.setattr(handshakes, "_tenants_read_at", float("-inf"))
    monkeypatch.setattr(store, "tenant_of", fail)
    page = await house.http.get("/registrieren/", params={"registerCode": given["registerCode"]})
    assert page.status_code == 200
    assert f"Tenant {house.tenant}" in page.text


async def test_a_code_of_a_former_version_is_found(house: House) -> None:
    partner = await Partner.of(house)
    handshakes, code = provided(house.app, Handshakes), new_code()
    kept = handshakes._keeping
    register_hash, now = kept.register_hash(code), datetime.now(UTC)
    row = store.NewHandshake(
        tenant=house.tenant,
        client_id=partner.client_id,
        register_hash=register_hash,
        authorization_hash=secrets.token_bytes(32),
        sealed_code=kept.seal(house.tenant, register_hash, new_code()),
        hint=None,
    )
    async with house.register.database.transaction() as connection:
        await store.add_handshake(connection, row, now, now + timedelta(hours=1))
    assert (await house.http.get("/registrieren/", params={"registerCode": code})).status_code == 200
    assert (await house.http.get("/registrieren/", params={"registerCode": new_code()})).status_code == 400
