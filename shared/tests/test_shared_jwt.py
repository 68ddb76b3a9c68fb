"""Every forgery that python-jose lets through, and then some: none passes `shared.jwt.verify`."""

import json
import time
from typing import Any

import pytest
from jose import jwt as jose_jwt
from shared.jwt import KeySet, SigningKey, VerificationKey

from .forging import ec_key, encode, es256, forge, hs256, private_jwk, public_jwk, unsigned, written_forms
from .jwt_checks import ALGORITHM, AUDIENCE, EC, GOOD, ISSUER, RSA, SECRET, SIGN, check, claims, header, reason


@pytest.mark.parametrize("kid", ["ec", "rsa", "secret"])
def test_a_good_token_gives_its_claims(kid: str) -> None:
    assert check(forge(header(kid), GOOD, SIGN[kid])) == GOOD


@pytest.mark.parametrize(
    "key",
    [
        SigningKey.from_jwk(private_jwk(EC, "ec")),
        SigningKey.from_jwk(private_jwk(RSA, "rsa")),
        SigningKey.from_jwk({"kty": "oct", "kid": "secret", "alg": "HS256", "k": encode(SECRET)}),
    ],
    ids=lambda key: key.algorithm,
)
def test_what_we_sign_we_verify(key: SigningKey) -> None:
    assert check(key.sign(GOOD, "JWT")) == GOOD


# ——— one key, one algorithm ———


@pytest.mark.parametrize("kid", ["ec", "rsa"])
@pytest.mark.parametrize("form", list(written_forms(EC)))
def test_a_public_key_is_no_hmac_secret(kid: str, form: str) -> None:
    secret = written_forms(EC if kid == "ec" else RSA)[form]
    for algorithm in ("HS256", ALGORITHM[kid]):
        assert reason(forge(header(kid, alg=algorithm), GOOD, hs256(secret))) == "invalid_signature"


def test_python_jose_itself_takes_one_of_these_forgeries_so_that_the_leash_is_needed() -> None:
    der = written_forms(RSA)["DER"]
    forged = forge(header("rsa", alg="HS256"), claims(iat=int(time.time()), exp=int(time.time()) + 60), hs256(der))
    taken = jose_jwt.decode(forged, der, algorithms=["RS256", "HS256"], issuer=ISSUER, audience=AUDIENCE)
    assert taken["userid"] == "ada"
    assert reason(forged) == "invalid_signature"


@pytest.mark.parametrize("kid", ["ec", "rsa", "secret"])
@pytest.mark.parametrize("spelling", ["none", "None", "NONE", "nOnE", " none", "none ", "", "null"])
def test_a_token_without_signature_is_rejected_however_none_is_spelt(kid: str, spelling: str) -> None:
    assert reason(forge(header(kid, alg=spelling), GOOD, unsigned)) == "invalid_signature"
    assert reason(forge(header(kid, alg=spelling), GOOD, SIGN[kid])) == "invalid_signature"


@pytest.mark.parametrize("kid", ["ec", "rsa", "secret"])
@pytest.mark.parametrize(
    "algorithm", ["ES384", "ES512", "RS384", "RS512", "PS256", "HS384", "es256", "rs256", "hs256", ["ES256"], 1, None]
)
def test_only_the_algorithm_of_the_key_is_taken(kid: str, algorithm: Any) -> None:
    assert reason(forge(header(kid, alg=algorithm), GOOD, SIGN[kid])) == "invalid_signature"


@pytest.mark.parametrize(("kid", "other"), [("ec", "rsa"), ("rsa", "ec"), ("ec", "secret"), ("secret", "ec")])
def test_the_right_kid_with_the_algorithm_and_signature_of_another_key_is_rejected(kid: str, other: str) -> None:
    assert reason(forge(header(kid, alg=ALGORITHM[other]), GOOD, SIGN[other])) == "invalid_signature"
    assert reason(forge(header(kid), GOOD, SIGN[other])) == "invalid_signature"


@pytest.mark.parametrize("kid", ["ec", "rsa", "secret"])
def test_a_missing_or_short_signature_is_rejected(kid: str) -> None:
    for sign in (unsigned, lambda signed: SIGN[kid](signed)[:-1], lambda signed: bytes(len(SIGN[kid](signed)))):
        assert reason(forge(header(kid), GOOD, sign)) == "invalid_signature"


@pytest.mark.parametrize("kid", ["ec", "rsa", "secret"])
def test_a_changed_payload_is_rejected(kid: str) -> None:
    head, _, signature = forge(header(kid), GOOD, SIGN[kid]).split(".")
    assert reason(f"{head}.{encode(json.dumps(claims(userid='ben')).encode())}.{signature}") == "invalid_signature"


# ——— the key by exact kid, from our own map ———


@pytest.mark.parametrize(
    "kid", [None, "unknown", "", "EC", "ec ", " ec", 1, True, ["ec"], {"ec": 1}, "../ec", "ec\0", "é"]
)
def test_a_kid_that_is_not_exactly_one_of_ours_is_rejected_though_a_key_of_ours_signed(kid: Any) -> None:
    assert reason(forge(header(alg="ES256") | {"kid": kid}, GOOD, SIGN["ec"])) == "unknown_key"


def test_a_key_of_another_set_is_rejected() -> None:
    """Tenants' kids may even be alike: what counts is the key in the set that is asked."""
    other = ec_key()
    assert reason(forge(header("theirs"), GOOD, es256(other))) == "unknown_key"
    assert reason(forge(header("ec"), GOOD, es256(other))) == "invalid_signature"
    assert reason(forge(header("ec"), GOOD, SIGN["ec"]), KeySet([])) == "unknown_key"


def test_only_the_lone_key_of_a_set_that_allows_it_need_not_be_named() -> None:
    lone, other = VerificationKey.from_jwk(public_jwk(EC, "ec")), VerificationKey.from_secret("secret", SECRET)
    unnamed = forge(header(None), GOOD, SIGN["ec"])
    assert check(unnamed, KeySet([lone], kid_optional=True)) == GOOD
    assert reason(unnamed, KeySet([lone])) == "unknown_key"
    assert reason(unnamed, KeySet([lone, other], kid_optional=True)) == "unknown_key"
    assert reason(unnamed, KeySet([], kid_optional=True)) == "unknown_key"
    # A name that is given must be the right one, and the algorithm is the key's in any case.
    keys = KeySet.from_jwks({"keys": [public_jwk(EC, "ec")]}, kid_optional=True)
    for kid in ("other", "", None, 7):
        assert reason(forge(header() | {"kid": kid}, GOOD, SIGN["ec"]), keys) == "unknown_key"
    for form in written_forms(EC).values():
        assert reason(forge(header(None, alg="HS256"), GOOD, hs256(form)), keys) == "invalid_signature"


def test_keys_that_a_token_brings_or_points_at_are_not_looked_at() -> None:
    thief = ec_key()
    brought = {
        "jwk": public_jwk(thief, "ec"),
        "jku": "https://thief.example/jwks.json",
        "x5u": "https://thief.example/chain.pem",
        "x5c": ["MIIB"],
    }
    assert reason(forge(header(**brought), GOOD, es256(thief))) == "invalid_signature"
    assert check(forge(header(**brought), GOOD, SIGN["ec"])) == GOOD
