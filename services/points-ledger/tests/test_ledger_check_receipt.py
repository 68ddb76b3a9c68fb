"""`check-receipt`: offline, one sentence, and a status that a program can use."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from points_ledger.__main__ import cli
from typer.testing import CliRunner, Result

Check = Callable[..., Result]
KEY = ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
OTHER = ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
AUTHORITY = "https://points.example/tenants/demo"
CLAIMS: dict[str, Any] = {
    "iss": AUTHORITY,
    "aud": "shop",
    "iat": 1_795_000_000,
    "jti": "abc",
    "vendor_id": "shop",
    "transactionid": "order-4711",
    "userid": "user-1",
    "state": "confirmed",
    "points_held": 250,
    "points_deducted": 200,
    "points_refunded": 50,
    "created_at": "2026-11-18T20:15:30.123Z",
    "ended_at": "2026-11-18T20:16:00.000Z",
}


def signed(claims: dict[str, Any] = CLAIMS, key: ECKey = KEY, **header: Any) -> str:
    """By a library that knows nothing of ours."""
    protected = {"alg": "ES256", "kid": "one", "typ": "receipt+jwt"} | header
    return jws.serialize_compact(protected, json.dumps(claims), key)


@pytest.fixture
def check(tmp_path: Path) -> Check:
    def run(receipt: str, *options: str, keys: Any = None, **of_key: Any) -> Result:
        saved = tmp_path / "jwks.json"
        saved.write_text(json.dumps(keys or {"keys": [KEY.as_dict(private=False) | of_key]}))
        file = tmp_path / "receipt"
        file.write_text(receipt + "\n")
        # No settings, no database and no network.
        return CliRunner().invoke(cli, ["check-receipt", str(file), "--keys", str(saved), *options], env={})

    return run


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({}, "200 of 250 points were deducted and 50 refunded"),
        ({"state": "rolled_back", "points_deducted": 0, "points_refunded": 0}, "250 points were held and rolled back"),
        ({"state": "expired", "points_deducted": 0, "points_refunded": 0}, "250 points were held and the hold expired"),
    ],
)
def test_a_good_one_is_told_in_one_sentence(changed: dict[str, Any], what: str, check: Check) -> None:
    found = check(signed(CLAIMS | changed), "--issuer", AUTHORITY, "--vendor", "shop")
    assert (found.exit_code, found.stdout) == (
        0,
        f"valid: {AUTHORITY} says of transaction order-4711 of vendor shop: {what}, user user-1,"
        " ended 2026-11-18T20:16:00.000Z.\n",
    )


def _altered() -> str:
    head, _, tail = signed().split(".")
    return ".".join((head, signed(CLAIMS | {"points_deducted": 1}).split(".")[1], tail))


@pytest.mark.parametrize(
    ("receipt", "options", "why"),
    [
        (_altered(), (), "its signature is not valid"),
        (signed(key=OTHER), (), "its signature is not valid"),
        (signed()[:-1], (), "it is no receipt, or only a part of one"),
        ("", (), "it is no receipt, or only a part of one"),
        (signed(kid="two"), (), "the key set lacks its key"),
        (signed(typ="JWT"), (), "it is signed, but is something other than a receipt"),
        (signed(typ="at+jwt"), (), "it is signed, but is something other than a receipt"),
        (signed(), ("--issuer", "https://elsewhere.example"), "it comes from another issuer"),
        (signed(), ("--vendor", "other"), "it is another vendor's"),
        (signed(CLAIMS | {"iat": 9_999_999_999}), (), "it says that it was signed in the future"),
        (signed(CLAIMS | {"state": "held"}), (), "it is signed, but is no receipt: state"),
        (signed(CLAIMS | {"vendor_id": "other"}), (), "it is signed, but is no receipt: aud"),
        (
            signed({"iss": AUTHORITY, "aud": "shop", "iat": 1, "jti": "x"}),
            (),
            "it is signed, but is no receipt: created",
        ),
    ],
)
def test_a_bad_one_is_told_with_the_reason(receipt: str, options: tuple[str, ...], why: str, check: Check) -> None:
    found = check(receipt, *options)
    assert found.exit_code == 1, found.output
    assert found.stdout.startswith(f"invalid: {why}")
    assert found.stdout.count("\n") == 1


def test_a_leaked_key_proves_nothing(check: Check) -> None:
    found = check(signed(), revoked={"revoked_at": 1_796_000_000, "reason": "compromised"})
    assert found.exit_code == 1
    assert found.stdout.startswith("invalid: its key has leaked")


@pytest.mark.parametrize("keys", [[], {"keys": 1}, {"no": "keys"}, "x"])
def test_without_a_key_set_nothing_is_said_of_the_receipt(keys: Any, check: Check) -> None:
    found = check(signed(), keys=keys or [1])
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.startswith("This is no key set")
