"""Receipts: what they say, under which keys, that these keys stay, and that no service takes a receipt for a token."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
import sqlalchemy as sa
from joserfc import jws
from joserfc.jwk import KeySet
from platform_testing.callers import ServiceKeys
from platform_testing.issuer_world import World, body_of, claims_of, header_of
from platform_testing.serving import PUBLIC_URL
from shared.callers import Callers
from shared.dependencies import provided
from shared.errors import Unauthenticated
from shared.sealing import CannotOpen, Sealer
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sso_issuer.__main__ import cli
from sso_issuer.keys import published
from sso_issuer.receipts.service import Receipts
from sso_issuer.tables import receipt_keys, receipt_signers
from typer.testing import CliRunner, Result

from .conftest import KEY_ENCRYPTION_KEYS, MakeSettings
from .test_issuer_operations import _environment

FACTS: dict[str, Any] = {
    "vendor_id": "shop",
    "transactionid": "orders/4711",
    "userid": "user-1",
    "state": "confirmed",
    "points_held": 250,
    "points_deducted": 200,
    "points_refunded": 50,
    "created_at": "2026-11-29T20:15:30.123Z",
    "ended_at": "2026-11-29T20:16:00.000Z",
}


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key sets are read anew each time: some tests change keys past the service."""
    monkeypatch.setattr(published, "FRESH_SECONDS", 0.0)


@pytest.fixture
def ledger(service_keys: ServiceKeys) -> dict[str, str]:
    return service_keys.headers("points-ledger", "sso-issuer")


async def _sign(world: World, ledger: dict[str, str], **changed: Any) -> str:
    answer = await world.client.post(f"/internal/tenants/{world.tenant}/receipts", json=FACTS | changed, headers=ledger)
    receipt: str = body_of(answer, 200)["receipt"]
    return receipt


async def _key_set(world: World) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = body_of(await world.client.get(f"/tenants/{world.tenant}/receipts/jwks.json"), 200)[
        "keys"
    ]
    return keys


async def test_libraries_that_know_nothing_of_us_find_a_receipt_good(world: World, ledger: dict[str, str]) -> None:
    receipt = await _sign(world, ledger)
    keys = await _key_set(world)
    by_kid = pyjwt.PyJWKSet.from_dict({"keys": keys})
    claims = pyjwt.decode(
        receipt, by_kid[header_of(receipt)["kid"]], algorithms=["ES256"], audience="shop", issuer=world.issuer
    )
    assert {name: claims[name] for name in FACTS} == FACTS
    found = jws.deserialize_compact(receipt, KeySet.import_key_set({"keys": keys}), algorithms=["ES256"])
    assert json.loads(found.payload) == claims
    assert found.headers() == {"alg": "ES256", "kid": keys[0]["kid"], "typ": "receipt+jwt"}


async def test_a_receipt_says_what_the_ledger_said_and_nothing_more(world: World, ledger: dict[str, str]) -> None:
    claims = claims_of(await _sign(world, ledger))
    assert claims == {
        **FACTS,
        "iss": world.issuer,
        "aud": "shop",
        "iat": claims["iat"],
        "jti": claims["jti"],
    }
    async with world.database.connect() as connection:
        now = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    assert now.timestamp() - 60 < claims["iat"] <= now.timestamp()


async def test_the_same_facts_have_the_same_jti_and_others_another(world: World, ledger: dict[str, str]) -> None:
    first = claims_of(await _sign(world, ledger))["jti"]
    await provided(world.app, Receipts).rotate(world.tenant)
    assert claims_of(await _sign(world, ledger))["jti"] == first
    assert claims_of(await _sign(world, ledger, points_refunded=51))["jti"] != first


@pytest.mark.parametrize(
    "changed",
    [
        {"state": "held"},
        {"state": "rejected"},
        {"state": "rolled_back"},  # and points deducted
        {"points_deducted": 251},
        {"points_deducted": 0, "points_refunded": 0},
        {"points_refunded": 201},
        {"points_held": True},
        {"ended_at": "2026-11-29T20:15:30.122Z"},
        {"ended_at": "2026-11-29T20:16:00.000"},
        {"userid": "a\x00b"},
        {"userid": ""},
        {"scope": "points:admin"},
        {"exp": 4_000_000_000},
        {"iss": "https://elsewhere.example"},
    ],
)
async def test_nothing_is_signed_but_the_end_of_a_transaction(
    changed: dict[str, Any], world: World, ledger: dict[str, str]
) -> None:
    path = f"/internal/tenants/{world.tenant}/receipts"
    assert (await world.client.post(path, json=FACTS | changed, headers=ledger)).status_code == 400
    for missing in FACTS:
        body = {name: value for name, value in FACTS.items() if name != missing}
        assert (await world.client.post(path, json=body, headers=ledger)).status_code == 400


async def test_a_tenant_that_does_not_exist_gets_no_keys_and_no_receipts(world: World, ledger: dict[str, str]) -> None:
    assert (await world.client.get("/tenants/nobody/receipts/jwks.json")).status_code == 404
    assert (await world.client.post("/internal/tenants/nobody/receipts", json=FACTS, headers=ledger)).status_code == 404


async def test_a_key_is_published_before_it_signs_for_the_first_time(world: World, ledger: dict[str, str]) -> None:
    (key,) = await _key_set(world)
    assert header_of(await _sign(world, ledger))["kid"] == key["kid"]


async def test_several_first_receipts_at_once_have_one_key(world: World, ledger: dict[str, str]) -> None:
    receipts = await asyncio.gather(*(_sign(world, ledger) for _ in range(8)))
    assert {header_of(receipt)["kid"] for receipt in receipts} == {key["kid"] for key in await _key_set(world)}


async def test_public_halves_outlive_every_rotation_and_revocation(world: World, ledger: dict[str, str]) -> None:
    old = await _sign(world, ledger)
    before = await _key_set(world)
    await provided(world.app, Receipts).rotate(world.tenant)
    for wish in ({}, {"immediately": True}, {"immediately": True, "revoke_former": True}):
        answer = await world.client.post("/sso/v1/keys/rotate", json=wish, headers=world.admin)
        assert answer.status_code in {200, 201}
    new = await _sign(world, ledger)
    after = await _key_set(world)
    assert after[0] == before[0]
    assert [key["kid"] for key in after] == [header_of(old)["kid"], header_of(new)["kid"]]
    assert pyjwt.decode(old, pyjwt.PyJWK(after[0]), algorithms=["ES256"], audience="shop")["jti"]


async def test_the_database_itself_keeps_public_halves(world: World, ledger: dict[str, str]) -> None:
    await _sign(world, ledger)
    for statement in (
        "DELETE FROM sso_issuer.receipt_keys",
        "UPDATE sso_issuer.receipt_keys SET kid = 'x'",
        "TRUNCATE sso_issuer.receipt_keys CASCADE",
        "DELETE FROM sso_issuer.leaked_receipt_keys",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with world.database.begin() as connection:
                await connection.execute(sa.text(statement))
    values = {"tenant": world.tenant, "kid": "x", "public_jwk": {"d": "1"}, "created_at": sa.func.now()}
    with pytest.raises(IntegrityError, match="receipt_keys_public_check"):
        async with world.database.begin() as connection:
            await connection.execute(sa.insert(receipt_keys).values(values))


async def test_private_halves_lie_sealed_for_their_place_and_go_with_a_rotation(
    world: World, ledger: dict[str, str]
) -> None:
    async def sealed() -> bytes:
        async with world.database.connect() as connection:
            query = sa.select(receipt_signers.c.private_key).filter_by(tenant=world.tenant)
            found: bytes = (await connection.execute(query)).scalar_one()
            return found

    kid = header_of(await _sign(world, ledger))["kid"]
    first = await sealed()
    sealer = Sealer({1: bytes(range(32))})
    assert sealer.open(first, f"sso-issuer receipt key {world.tenant}/{kid}")
    with pytest.raises(CannotOpen):
        sealer.open(first, f"sso-issuer private key {world.tenant}/{kid}")
    await provided(world.app, Receipts).rotate(world.tenant)
    assert await sealed() != first
    assert KEY_ENCRYPTION_KEYS.startswith("1:")


async def test_a_leaked_key_stays_and_says_that_it_leaked(world: World, ledger: dict[str, str]) -> None:
    kid = header_of(await _sign(world, ledger))["kid"]
    receipts = provided(world.app, Receipts)
    await receipts.rotate(world.tenant, leaked=kid)
    former, present = await _key_set(world)
    assert former["revoked"].pop("revoked_at") > 1_700_000_000
    assert (former["kid"], former["revoked"]) == (kid, {"reason": "compromised"})
    assert "revoked" not in present
    assert header_of(await _sign(world, ledger))["kid"] == present["kid"]


async def test_receipt_keys_are_in_no_set_that_verifies_tokens(
    world: World, ledger: dict[str, str], service_keys: ServiceKeys
) -> None:
    kid = header_of(await _sign(world, ledger))["kid"]
    await world.put_vendor()
    assert kid not in {key["kid"] for key in await world.jwks()}
    everybody = body_of(await world.client.get("/.well-known/jwks.json"), 200)["keys"]
    assert kid not in {key["kid"] for key in everybody}
    internal = body_of(await world.client.get(f"/internal/tenants/{world.tenant}/keys", headers=ledger), 200)["keys"]
    assert kid not in {key["kid"] for key in internal}
    assert not {key["kid"] for key in await _key_set(world)} & {key["kid"] for key in everybody}


async def test_a_receipt_is_no_token_of_any_kind(world: World, ledger: dict[str, str]) -> None:
    """Also one whose audience is the cloud API itself, or a client of the authority."""
    await world.put_vendor()
    auth = world.add_third_party()
    world.consent(auth[0], "points:read")
    callers = provided(world.app, Callers)
    for audience in ("shop", PUBLIC_URL, auth[0], world.issuer):
        receipt = await _sign(world, ledger, vendor_id=audience)
        answer = await world.redeem(receipt)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_signature")
        with pytest.raises(Unauthenticated) as refused:
            await callers.authenticate(
                {
                    "type": "http",
                    "headers": [(b"authorization", b"Bearer " + receipt.encode())],
                    "client": ("10.0.0.1", 1),
                    "state": {},
                }
            )
        assert refused.value.stable_code == "malformed_token"
        assert body_of(await world.oauth("introspect", auth=auth, token=receipt), 200) == {"active": False}
        assertion = {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": receipt,
        }
        answer = await world.oauth("token", grant_type="client_credentials", **assertion)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        as_service = {"Authorization": f"Bearer {receipt}"}
        path = f"/internal/tenants/{world.tenant}/receipts"
        assert (await world.client.post(path, json=FACTS, headers=as_service)).status_code == 401
    inspected = await world.client.post(
        "/sso/v1/inspect", json={"token": await _sign(world, ledger)}, headers=world.vendor_client("shop")
    )
    found = body_of(inspected, 200)
    assert found["verdict"] == "bad"
    assert {"unknown_key", "wrong_type"} <= {finding["code"] for finding in found["findings"]}


async def test_the_key_set_is_cacheable_and_asked_for_conditionally(world: World) -> None:
    path = f"/tenants/{world.tenant}/receipts/jwks.json"
    answer = await world.client.get(path)
    assert answer.headers["cache-control"] == "public, max-age=300"
    unchanged = await world.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


async def test_keys_of_receipts_are_rotated_listed_and_taken_back_from_the_command_line(
    world: World, ledger: dict[str, str], make_settings: MakeSettings, tmp_path: Path
) -> None:
    environment = _environment(make_settings())

    async def run(*arguments: str) -> Result:
        # In a thread, since a command runs a loop of its own.
        return await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=environment)

    old = header_of(await _sign(world, ledger))["kid"]
    rotated = await run("rotate-receipt-keys", "--tenant", world.tenant, "--leaked", old)
    assert rotated.exit_code == 0, rotated.output
    former, present = (await run("list-receipt-keys", "--tenant", world.tenant)).stdout.splitlines()
    assert f"{old}  published" in former
    assert "leaked 20" in former
    assert f"{rotated.stdout.strip()}  signs" in present
    unknown = await run("rotate-receipt-keys", "--tenant", world.tenant, "--leaked", "nobody")
    assert (unknown.exit_code, unknown.stderr) == (2, "The tenant has no receipt key nobody.\n")
    assert len(await _key_set(world)) == 2

    # Another tenant's database as it was restored: it lacks both.
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps({"keys": await _key_set(world)}))
    restored = f"{world.tenant}-restored"
    taken = await run("take-back-receipt-keys", "--tenant", restored, str(saved))
    assert (taken.exit_code, taken.stdout) == (0, "2 of 2 keys were missing\n"), taken.output
    again = await run("take-back-receipt-keys", "--tenant", restored, str(saved))
    assert again.stdout == "0 of 2 keys were missing\n"
    listed = (await run("list-receipt-keys", "--tenant", restored)).stdout.splitlines()
    assert sum("leaked 20" in line for line in listed) == 1
    # It has no key that signs yet. Told that the other one leaked as well, it signs with the new one.
    rotated = await run("rotate-receipt-keys", "--tenant", restored, "--leaked", rotated.stdout.strip())
    listed = (await run("list-receipt-keys", "--tenant", restored)).stdout.splitlines()
    assert [rotated.stdout.strip() in line for line in listed if "  signs" in line] == [True]
    for wrong in ("[]", "{}", '{"keys": [1]}', '{"keys": [{"kid": "x"}]}', "no JSON", json.dumps({"keys": [_OTHER]})):
        saved.write_text(wrong)
        refused = await run("take-back-receipt-keys", "--tenant", restored, str(saved))
        assert refused.exit_code == 2, refused.output


#: A public key whose kid is not its thumbprint.
_OTHER = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "other",
    "alg": "ES256",
    "use": "sig",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
