"""HS256 secrets: shown once, two at most, the former one good for as long as was asked."""

import asyncio
import base64
from typing import Any

import pytest
import sqlalchemy as sa
from platform_testing.issuer_world import World, header_of, verify_independently
from sqlalchemy.exc import IntegrityError
from sso_issuer.tables import vendor_secrets


async def _rows(world: World) -> list[dict[str, Any]]:
    async with world.database.connect() as connection:
        query = sa.select(vendor_secrets).where(vendor_secrets.c.tenant == world.tenant).order_by(vendor_secrets.c.n)
        return [dict(row._mapping) for row in await connection.execute(query)]


async def _let_pass(world: World, seconds: int) -> None:
    """As if the secrets had been made so much earlier."""
    earlier = sa.text(f"interval '{seconds} seconds'")
    columns = vendor_secrets.c
    async with world.database.begin() as connection:
        await connection.execute(
            sa.update(vendor_secrets)
            .where(columns.tenant == world.tenant)
            .values(
                created_at=columns.created_at - earlier,
                signs_from=columns.signs_from - earlier,
                expires_at=columns.expires_at - earlier,
            )
        )


async def test_an_hs256_vendor_without_a_secret_gets_no_users(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    answer = await world.ask_redirect()
    assert (answer.status_code, answer.json()["code"]) == (409, "vendor_without_secret")


async def test_a_secret_has_256_random_bits_and_is_in_no_later_answer(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    answer = await world.client.post("/sso/v1/vendors/shop/secrets", json={}, headers=world.admin)
    secret = answer.json()["secret"]
    assert answer.headers["cache-control"] == "no-store"
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert answer.json()["former"] is None
    assert secret not in (await world.client.get("/sso/v1/vendors/shop", headers=world.admin)).text


async def test_the_new_secret_signs_and_the_former_one_stays_good_for_the_overlap(world: World) -> None:
    await world.put_vendor(algorithm="HS256", lifetime_seconds=300)
    former = await world.add_secret()
    old_token, late_token = (await world.redirect())["token"], (await world.redirect())["token"]
    new = await world.add_secret(overlap_seconds=120)
    assert new["former"]["kid"] == former["kid"]
    new_token = (await world.redirect())["token"]
    assert header_of(new_token)["kid"] == new["kid"]
    verify_independently(new_token, new["secret"])
    assert (await world.redeem(old_token)).status_code == 200
    assert (await world.redeem(new_token)).status_code == 200
    await _let_pass(world, 121)
    answer = await world.redeem(late_token)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_signature")


async def test_a_new_secret_can_wait_until_the_vendor_has_installed_it(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    former = await world.add_secret()
    new = await world.add_secret(overlap_seconds=3600, signs_in_seconds=600)
    token = (await world.redirect())["token"]
    verify_independently(token, former["secret"])
    await _let_pass(world, 601)
    verify_independently((await world.redirect())["token"], new["secret"])
    assert (await world.redeem(token)).status_code == 200


async def test_no_overlap_ends_the_former_secret_now(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    await world.add_secret()
    token = (await world.redirect())["token"]
    await world.add_secret(overlap_seconds=0)
    assert (await world.redeem(token)).status_code == 400


async def test_nothing_may_be_left_unsigned(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    await world.add_secret()
    body = {"overlap_seconds": 10, "signs_in_seconds": 11}
    answer = await world.client.post("/sso/v1/vendors/shop/secrets", json=body, headers=world.admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "overlap_too_short")


async def test_a_third_secret_ends_none_that_may_be_in_use(world: World) -> None:
    await world.put_vendor(algorithm="HS256", lifetime_seconds=300)
    await world.add_secret()
    token = (await world.redirect())["token"]
    second = await world.add_secret(overlap_seconds=600)
    for _ in range(2):
        answer = await world.client.post("/sso/v1/vendors/shop/secrets", json={}, headers=world.admin)
        assert (answer.status_code, answer.json()["code"]) == (409, "former_secret_live")
        assert answer.json()["expires_at"] == second["former"]["expires_at"]
    assert (await world.redeem(token)).status_code == 200
    await _let_pass(world, 601)
    assert (await world.add_secret())["former"]["kid"] == second["kid"]


async def test_the_older_of_two_live_secrets_can_be_ended(world: World) -> None:
    await world.put_vendor(algorithm="HS256", lifetime_seconds=300)
    await world.add_secret()
    token = (await world.redirect())["token"]
    await world.add_secret(overlap_seconds=86_400)
    await world.add_secret(overlap_seconds=86_400, end_former=True)
    rows = await _rows(world)
    assert [row["n"] for row in rows] == [2, 3]
    assert (await world.redeem(token)).status_code == 400


async def test_the_database_refuses_a_third_secret(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    await world.add_secret()
    await world.add_secret(overlap_seconds=86_400)
    third = (await _rows(world))[0] | {"n": 9, "kid": "third"}
    with pytest.raises(IntegrityError, match="vendor_secrets_slot_key"):
        async with world.database.begin() as connection:
            await connection.execute(sa.insert(vendor_secrets).values(**third))


async def test_many_at_once_leave_two(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    made = await asyncio.gather(*(world.add_secret(overlap_seconds=60, end_former=True) for _ in range(12)))
    assert len({one["kid"] for one in made}) == 12
    rows = await _rows(world)
    assert [row["n"] for row in rows] == [11, 12]
    assert [row["expires_at"] is None for row in rows] == [False, True]


async def test_of_many_at_once_two_are_made(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    path = "/sso/v1/vendors/shop/secrets"
    answers = await asyncio.gather(*(world.client.post(path, json={}, headers=world.admin) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [409] * 4


async def test_a_repeated_call_shows_the_same_secret(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    headers = world.admin | {"Idempotency-Key": "secret-1"}
    first = await world.client.post("/sso/v1/vendors/shop/secrets", json={}, headers=headers)
    again = await world.client.post("/sso/v1/vendors/shop/secrets", json={}, headers=headers)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await _rows(world)) == 1


async def test_a_secret_can_be_made_before_the_vendor_changes_to_it(world: World) -> None:
    await world.put_vendor(algorithm="ES256")
    secret = await world.add_secret()
    assert header_of((await world.redirect())["token"])["alg"] == "ES256"
    await world.put_vendor(algorithm="HS256")
    verify_independently((await world.redirect())["token"], secret["secret"])
