"""Keys over HTTP and in the raw tables: published before they sign, gone when nobody needs them, never in clear."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from platform_testing.callers import FakeRegister
from platform_testing.issuer_world import World, header_of, verify_independently
from platform_testing.serving import readiness, running
from shared.db import Database
from shared.dependencies import provided
from shared.errors import Unavailable
from shared.sealing import CannotOpen, Sealer
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sso_issuer.app import create_app
from sso_issuer.keys import published, store
from sso_issuer.keys.domain import KEY_SET_LIFETIME, LONGEST_TOKEN, PUBLISHED_AHEAD
from sso_issuer.keys.material import thumbprint
from sso_issuer.keys.service import Keys
from sso_issuer.tables import keys, vendor_secrets

_TIMES = ("published_at", "signs_from", "activated_at", "retiring_at", "published_until", "retired_at")


async def _rows(world: World) -> list[dict[str, Any]]:
    async with world.database.connect() as connection:
        query = sa.select(keys).where(keys.c.tenant == world.tenant).order_by(keys.c.published_at)
        return [dict(row._mapping) for row in await connection.execute(query)]


async def _let_pass(world: World, time: timedelta) -> None:
    """As if all had happened so much earlier; then what time does."""
    earlier = sa.literal(time, sa.Interval)
    async with world.database.begin() as connection:
        await connection.execute(
            sa.update(keys)
            .where(keys.c.tenant == world.tenant)
            .values({name: keys.c[name] - earlier for name in _TIMES})
        )
    await provided(world.app, Keys).advance_due()


async def _rotate(world: World, **wish: Any) -> dict[str, Any]:
    answer = await world.client.post("/sso/v1/keys/rotate", json=wish, headers=world.admin)
    assert answer.status_code in {200, 201}, answer.text
    (rotated,) = answer.json()["keys"]
    found: dict[str, Any] = rotated
    return found


async def _signing_kid(world: World) -> str:
    kid: str = header_of((await world.redirect())["token"])["kid"]
    return kid


async def test_the_key_set_is_cacheable_and_asked_for_conditionally(world: World) -> None:
    await world.put_vendor()
    for path in ("/.well-known/jwks.json", f"/tenants/{world.tenant}/jwks.json"):
        answer = await world.client.get(path)
        assert answer.headers["cache-control"] == "public, max-age=300"
        etag = answer.headers["etag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            unchanged = await world.client.get(path, headers={"If-None-Match": known})
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            assert unchanged.headers["etag"] == etag
        assert (await world.client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_the_key_sets_show_public_keys_only(world: World) -> None:
    await world.put_vendor(algorithm="ES256")
    await world.put_vendor("rsa", algorithm="RS256")
    ec_key, rsa_key = sorted(await world.jwks(), key=lambda key: key["kty"])
    assert set(ec_key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert set(rsa_key) == {"kty", "n", "e", "kid", "use", "alg"}
    assert (ec_key["alg"], rsa_key["alg"]) == ("ES256", "RS256")
    assert ec_key["kid"] == thumbprint({name: ec_key[name] for name in ("kty", "crv", "x", "y")})
    assert rsa_key["kid"] == thumbprint({name: rsa_key[name] for name in ("kty", "n", "e")})
    everybody = (await world.client.get("/.well-known/jwks.json")).json()["keys"]
    assert ec_key in everybody
    assert rsa_key in everybody


async def test_a_tenants_set_has_its_own_keys_only(world: World) -> None:
    await world.put_vendor()
    stranger = world.register.add("t-stranger-3", "sso:admin")
    body = {"name": "Shop", "redirect_url": "https://shop.example/"}
    await world.client.put("/sso/v1/vendors/shop", json=body, headers=stranger)
    theirs = (await world.client.get("/tenants/t-stranger-3/jwks.json")).json()["keys"]
    assert {key["kid"] for key in theirs}.isdisjoint({key["kid"] for key in await world.jwks()})


@pytest.mark.parametrize("tenant", ["nobody", "Demo", "a" * 41, "demo%00", "..%2F"])
async def test_an_unknown_tenant_has_no_set_and_gets_no_keys(world: World, tenant: str) -> None:
    answer = await world.client.get(f"/tenants/{tenant}/jwks.json")
    assert answer.status_code in {400, 404}


async def test_a_vendors_key_is_published_as_soon_as_it_is_agreed_on(world: World) -> None:
    assert (await world.client.get(f"/tenants/{world.tenant}/jwks.json")).status_code == 404
    await world.put_vendor()
    (key,) = await world.jwks()
    assert await _signing_kid(world) == key["kid"]


async def test_a_first_key_is_made_once_however_many_ask(world: World) -> None:
    await asyncio.gather(*(world.put_vendor(f"shop-{n}") for n in range(12)))
    assert [row["state"] for row in await _rows(world)] == ["active"]


async def test_a_key_that_went_missing_is_made_anew(world: World) -> None:
    await world.put_vendor()
    async with world.database.begin() as connection:
        await connection.execute(sa.delete(keys).where(keys.c.tenant == world.tenant))
    issued = await asyncio.gather(*(world.redirect() for _ in range(8)))
    assert len({header_of(one["token"])["kid"] for one in issued}) == 1


async def test_a_key_is_published_a_key_sets_lifetime_before_it_signs(world: World) -> None:
    await world.put_vendor()
    former = await _signing_kid(world)
    rotated = await _rotate(world)
    assert (rotated["state"], rotated["former"]) == (
        "next",
        {"kid": former, "state": "active", "published_until": None},
    )
    assert [key["kid"] for key in await world.jwks()] == [former, rotated["kid"]]
    await _let_pass(world, KEY_SET_LIFETIME)
    assert await _signing_kid(world) == former
    await _let_pass(world, PUBLISHED_AHEAD - KEY_SET_LIFETIME)
    assert await _signing_kid(world) == rotated["kid"]


async def test_a_key_stays_published_until_its_last_token_has_expired(world: World) -> None:
    await world.put_vendor(lifetime_seconds=300)
    former = await _signing_kid(world)
    rotated = await _rotate(world)
    await _let_pass(world, PUBLISHED_AHEAD)
    token = (await world.redirect())["token"]
    verify_independently(token, next(key for key in await world.jwks() if key["kid"] == rotated["kid"]))
    await _let_pass(world, LONGEST_TOKEN - timedelta(seconds=10))
    assert {key["kid"] for key in await world.jwks()} == {former, rotated["kid"]}
    await _let_pass(world, timedelta(seconds=10))
    assert {key["kid"] for key in await world.jwks()} == {rotated["kid"]}
    assert [row["state"] for row in await _rows(world)] == ["retired", "active"]


async def test_keys_rotate_by_themselves(world: World) -> None:
    await world.put_vendor()
    first = await _signing_kid(world)
    await _let_pass(world, timedelta(days=30) - PUBLISHED_AHEAD - timedelta(seconds=30))
    assert [row["state"] for row in await _rows(world)] == ["active"]
    await _let_pass(world, timedelta(seconds=30))
    assert [row["state"] for row in await _rows(world)] == ["active", "next"]
    assert await _signing_kid(world) == first
    await _let_pass(world, PUBLISHED_AHEAD)
    assert await _signing_kid(world) != first
    await _let_pass(world, LONGEST_TOKEN)
    assert [row["state"] for row in await _rows(world)] == ["retired", "active"]


async def test_the_age_of_the_keys_can_be_watched(world: World) -> None:
    """Of all tenants' keys it is the oldest that counts, and here that is this tenant's."""
    await world.put_vendor()
    await _signing_kid(world)
    earlier = {name: keys.c[name] - timedelta(days=1000) for name in _TIMES}
    async with world.database.begin() as connection:
        await connection.execute(sa.update(keys).where(keys.c.tenant == world.tenant).values(earlier))
    await provided(world.app, Keys).report_ages()
    ages = {
        line.split('"')[1]: float(line.split()[1])
        for line in (await world.client.get("/metrics")).text.splitlines()
        if line.startswith("issuer_signing_key_age_seconds{")
    }
    assert set(ages) == {"ES256", "RS256"}
    assert 86_400_000 <= ages["ES256"] < 86_500_000


async def test_several_replicas_rotate_once(world: World, make_settings: Any, register: FakeRegister) -> None:
    await world.put_vendor()
    async with running(create_app(make_settings(), register=register)) as _other:
        earlier = sa.literal(timedelta(days=31), sa.Interval)
        async with world.database.begin() as connection:
            moved = {name: keys.c[name] - earlier for name in _TIMES}
            await connection.execute(sa.update(keys).where(keys.c.tenant == world.tenant).values(moved))
        replica = create_app(make_settings(), register=register)
        await asyncio.gather(*(provided(app, Keys).advance_due() for app in (world.app, replica) for _ in range(4)))
        assert [row["state"] for row in await _rows(world)] == ["active", "next"]


async def test_a_rotation_by_another_replica_counts_at_once(
    world: World, make_settings: Any, register: FakeRegister
) -> None:
    await world.put_vendor()
    former = await _signing_kid(world)
    async with running(create_app(make_settings(), register=register)) as other:
        answer = await other.post("/sso/v1/keys/rotate", json={"immediately": True}, headers=world.admin)
    (rotated,) = answer.json()["keys"]
    assert rotated["former"]["kid"] == former
    assert await _signing_kid(world) == rotated["kid"]


async def test_asking_again_finds_the_rotation_under_way(world: World) -> None:
    await world.put_vendor()
    body: dict[str, Any] = {"algorithm": "ES256"}
    first = await world.client.post("/sso/v1/keys/rotate", json=body, headers=world.admin)
    again = await world.client.post("/sso/v1/keys/rotate", json=body, headers=world.admin)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()


async def test_many_rotations_at_once_are_one(world: World) -> None:
    await world.put_vendor()
    rotated = await asyncio.gather(*(_rotate(world) for _ in range(10)))
    assert len({one["kid"] for one in rotated}) == 1
    assert [row["state"] for row in await _rows(world)] == ["active", "next"]


async def test_an_emergency_signs_at_once_and_takes_nobodys_token_away(world: World) -> None:
    await world.put_vendor()
    token = (await world.redirect())["token"]
    rotated = await _rotate(world, immediately=True)
    assert (rotated["state"], rotated["former"]["state"]) == ("active", "retiring")
    assert rotated["former"]["published_until"] is not None
    assert await _signing_kid(world) == rotated["kid"]
    assert (await world.redeem(token)).status_code == 200


async def test_an_emergency_takes_the_key_that_is_waiting(world: World) -> None:
    await world.put_vendor()
    waiting = await _rotate(world)
    rotated = await _rotate(world, immediately=True)
    assert rotated["kid"] == waiting["kid"]
    assert await _signing_kid(world) == waiting["kid"]


async def test_leaked_keys_leave_at_once_with_all_they_signed(world: World) -> None:
    await world.put_vendor()
    token = (await world.redirect())["token"]
    await _rotate(world)
    rotated = await _rotate(world, immediately=True, revoke_former=True)
    assert [key["kid"] for key in await world.jwks()] == [rotated["kid"]]
    assert rotated["former"]["state"] == "retired"
    answer = await world.redeem(token)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_signature")
    assert (await world.redeem((await world.redirect())["token"])).status_code == 200


async def test_leaked_keys_cannot_be_revoked_some_day(world: World) -> None:
    body = {"revoke_former": True}
    answer = await world.client.post("/sso/v1/keys/rotate", json=body, headers=world.admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "revocation_not_immediate")


async def test_every_algorithm_rotates_unless_one_is_named(world: World) -> None:
    await world.put_vendor("ec")
    await world.put_vendor("rsa", algorithm="RS256")
    answer = await world.client.post("/sso/v1/keys/rotate", headers=world.admin)
    assert [key["algorithm"] for key in answer.json()["keys"]] == ["ES256", "RS256"]
    assert len(await world.jwks()) == 4


async def test_rotation_is_for_administrators_and_repeats_with_a_key(world: World) -> None:
    await world.put_vendor()
    refused = await world.client.post("/sso/v1/keys/rotate", json={}, headers=world.platform)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    headers = world.admin | {"Idempotency-Key": "rotate-1"}
    wish = {"immediately": True}
    first = await world.client.post("/sso/v1/keys/rotate", json=wish, headers=headers)
    again = await world.client.post("/sso/v1/keys/rotate", json=wish, headers=headers)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"


async def test_nothing_secret_lies_in_clear_in_the_tables(world: World, make_settings: Any) -> None:
    await world.put_vendor("ec")
    await world.put_vendor("rsa", algorithm="RS256")
    await world.put_vendor("hmac", algorithm="HS256")
    headers = world.admin | {"Idempotency-Key": "shown-once"}
    secret = (await world.client.post("/sso/v1/vendors/hmac/secrets", json={}, headers=headers)).json()["secret"]
    issued = await world.ask_redirect("ec", **{"Idempotency-Key": "kept"})
    token = issued.json()["token"]
    raw = b""
    async with world.database.connect() as connection:
        for table in ("keys", "vendor_secrets", "issuances", "idempotent_answers"):
            rows = await connection.execute(sa.text(f"SELECT * FROM sso_issuer.{table}"))  # noqa: S608
            raw += b"\n".join(
                value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row
            )
    assert secret.encode() not in raw
    assert token.encode() not in raw
    assert token.rpartition(".")[2].encode() not in raw
    assert b"PRIVATE" not in raw
    for row in await _rows(world):
        with pytest.raises(ValueError, match=r".*"):
            serialization.load_der_private_key(row["private_key"], password=None)


async def test_a_sealed_row_opens_in_its_own_place_only(world: World) -> None:
    await world.put_vendor()
    await world.put_vendor("hmac", algorithm="HS256")
    await world.add_secret("hmac")
    (row,) = await _rows(world)
    async with world.database.connect() as connection:
        query = sa.select(vendor_secrets.c.secret).where(vendor_secrets.c.tenant == world.tenant)
        secret = (await connection.execute(query)).scalar_one()
    sealer = Sealer({1: bytes(range(32))})
    place = f"sso-issuer private key {world.tenant}/{row['kid']}"
    assert sealer.open(row["private_key"], place)
    for sealed, context in (
        (row["private_key"], place.replace(world.tenant, "other")),
        (row["private_key"], place + "x"),
        (secret, place),
        (row["private_key"][:-1] + b"x", place),
    ):
        with pytest.raises(CannotOpen):
            sealer.open(sealed, context)


async def test_a_key_that_no_longer_signs_has_no_private_half(world: World) -> None:
    await world.put_vendor()
    await _rotate(world, immediately=True)
    assert [row["private_key"] is None for row in await _rows(world)] == [True, False]


async def test_the_database_refuses_a_second_active_key_and_a_private_one_in_clear(world: World) -> None:
    await world.put_vendor()
    (row,) = await _rows(world)
    for wrong, constraint in (
        ({"kid": "second"}, "keys_one_active"),
        ({"kid": "clear", "public_jwk": row["public_jwk"] | {"d": "x"}}, "keys_public_check"),
        ({"kid": "odd", "algorithm": "HS256"}, "keys"),
        ({"kid": "empty", "private_key": None}, "keys_private_key_check"),
        ({"kid": "early", "signs_from": row["published_at"] - timedelta(seconds=1)}, "keys_published_first_check"),
    ):
        with pytest.raises(IntegrityError, match=constraint):
            async with world.database.begin() as connection:
                await connection.execute(sa.insert(keys).values(row | wrong))


async def test_a_service_without_the_right_key_encryption_key_is_not_ready(
    world: World, make_settings: Any, register: FakeRegister
) -> None:
    await world.put_vendor()
    told = (await readiness(world.client)).json()
    assert (told["status"], told["checks"]) == ("ready", {"database": "ok", "keys": "ok"})
    settings = make_settings(key_encryption_keys="2:" + "A" * 43 + "=")
    async with running(create_app(settings, register=register)) as client:
        answer = await readiness(client)
    assert answer.status_code == 503
    assert answer.json()["checks"]["keys"] == "Key-encryption key 1 does not open what was sealed under it."


async def test_the_key_set_outlives_the_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put_vendor()
    path = f"/tenants/{world.tenant}/jwks.json"
    before = await world.client.get(path)

    async def fail(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(store, "read_published", fail)
    monkeypatch.setattr(published, "FRESH_SECONDS", 0)
    assert (await world.client.get(path)).content == before.content
    assert (await world.client.get("/tenants/never-seen/jwks.json")).status_code == 503


async def test_a_key_set_that_was_read_before_a_change_is_not_remembered(database_url: str) -> None:
    stored = [{"kid": "former"}]
    has_read, may_end = asyncio.Event(), asyncio.Event()

    async def read(connection: AsyncConnection, tenant: str | None) -> Sequence[Mapping[str, Any]]:
        found = list(stored)
        has_read.set()
        await may_end.wait()
        return found

    database = Database(database_url)
    key_sets = published.PublishedKeys(database, read)
    asking = asyncio.create_task(key_sets.document("demo"))
    await has_read.wait()
    stored.append({"kid": "new"})
    key_sets.forget("demo")
    may_end.set()
    await asking

    assert b"new" in (await key_sets.document("demo")).body
    await database.dispose()
