"""Which keys are taken, and how they are constructed."""

from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from shared.jwt import KeySet, Rejected, SigningKey, UnusableKey, VerificationKey, judge_client_keys

from .forging import ec_key, encode, encode_number, forge, hs256, private_jwk, public_jwk, rsa_key, written_forms
from .jwt_checks import EC, GOOD, KEYS, NOW, RSA, SECRET, SIGN, check, claims, header


@pytest.mark.parametrize("length", [0, 1, 16, 31])
def test_an_empty_or_short_secret_is_no_key(length: int) -> None:
    with pytest.raises(UnusableKey, match="32 bytes"):
        VerificationKey.from_secret("k", bytes(length))
    with pytest.raises(UnusableKey):
        SigningKey.from_jwk({"kty": "oct", "kid": "k", "alg": "HS256", "k": encode(bytes(length))})


@pytest.mark.parametrize("secret", [written_forms(RSA)["PEM"], b"ssh-rsa " + bytes(40), bytes(32), b"-----BEGIN" * 9])
def test_a_secret_is_taken_whatever_it_looks_like(secret: bytes) -> None:
    """python-jose takes a random secret for a key in PEM when it happens to look like one."""
    keys = KeySet([VerificationKey.from_secret("k", secret)])
    assert check(forge(header("k", alg="HS256"), GOOD, hs256(secret)), keys) == GOOD


def test_a_short_rsa_key_is_no_key_nor_is_one_made_long_by_zeros() -> None:
    short = rsa_key(1024)
    number = short.public_key().public_numbers().n
    for jwk in (public_jwk(short, "k"), public_jwk(short, "k") | {"n": encode_number(number, 256)}):
        with pytest.raises(UnusableKey, match="2048"):
            VerificationKey.from_jwk(jwk)
    with pytest.raises(UnusableKey, match="2048"):
        SigningKey.from_jwk(private_jwk(short, "k"))


def test_another_curve_is_no_key_for_es256() -> None:
    for curve in (ec.SECP384R1, ec.SECP521R1):
        key = ec_key(curve)
        with pytest.raises(UnusableKey, match="P-256"):
            VerificationKey.from_jwk(public_jwk(key, "k"))
        with pytest.raises(UnusableKey, match="P-256"):
            SigningKey.from_jwk(private_jwk(key, "k"))
    # Nor under the name of the right curve.
    with pytest.raises(UnusableKey):
        VerificationKey.from_jwk(public_jwk(ec_key(ec.SECP384R1), "k") | {"crv": "P-256"})


EC_JWK, RSA_JWK = public_jwk(EC, "k"), public_jwk(RSA, "k")


BAD_JWKS: Mapping[str, Any] = {
    "nothing": {},
    "no kid": {**EC_JWK, "kid": None},
    "an empty kid": {**EC_JWK, "kid": ""},
    "a number as kid": {**EC_JWK, "kid": 7},
    "no alg": {**EC_JWK, "alg": None},
    "a list as alg": {**EC_JWK, "alg": ["ES256"]},
    "alg none": {**EC_JWK, "alg": "none"},
    "another alg": {**EC_JWK, "alg": "ES384"},
    "the alg of another type": {**RSA_JWK, "alg": "ES256"},
    "the type of another alg": {**EC_JWK, "alg": "RS256"},
    "a secret": {"kty": "oct", "kid": "k", "alg": "HS256", "k": encode(SECRET)},
    "a secret as ES256": {"kty": "oct", "kid": "k", "alg": "ES256", "k": encode(SECRET)},
    "a private EC key": private_jwk(EC, "k"),
    "a private RSA key": private_jwk(RSA, "k"),
    "a key for encryption": {**EC_JWK, "use": "enc"},
    "a point beside the curve": {**EC_JWK, "y": EC_JWK["x"]},
    "no point": {**EC_JWK, "x": ""},
    "numbers for text": {**EC_JWK, "x": 10**12},
    "letters that base64 does not know": {**EC_JWK, "x": "é" * 43},
    "an exponent of one": {**RSA_JWK, "e": "AQ"},
    "an even exponent": {**RSA_JWK, "e": "Ag"},
    "no modulus": {**RSA_JWK, "n": ""},
    "text": "key",
    "a list": [],
    "null": None,
}


@pytest.mark.parametrize("what", list(BAD_JWKS))
def test_an_odd_key_is_left_out_of_a_set_and_takes_no_other_along(what: str) -> None:
    keys = KeySet.from_jwks({"keys": [BAD_JWKS[what], public_jwk(EC, "ec"), BAD_JWKS[what]]})
    assert "k" not in keys
    assert check(forge(header(), GOOD, SIGN["ec"]), keys) == GOOD
    if isinstance(BAD_JWKS[what], dict):
        with pytest.raises(UnusableKey):
            VerificationKey.from_jwk(BAD_JWKS[what])


@pytest.mark.parametrize("jwks", [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}])
def test_what_is_no_key_set_is_said_to_be_none(jwks: Any) -> None:
    with pytest.raises(UnusableKey):
        KeySet.from_jwks(jwks)


@pytest.mark.parametrize("jwk", [EC_JWK, RSA_JWK])
def test_a_public_key_does_not_sign(jwk: Mapping[str, Any]) -> None:
    with pytest.raises(UnusableKey, match="cannot sign"):
        SigningKey.from_jwk(jwk)


def test_a_private_key_that_does_not_fit_its_public_part_is_unusable() -> None:
    with pytest.raises(UnusableKey):
        SigningKey.from_jwk(private_jwk(EC, "k") | {"d": private_jwk(ec_key(), "k")["d"]})


def test_what_is_said_of_an_unusable_key_does_not_repeat_it() -> None:
    jwk = private_jwk(EC, "k") | {"x": "!", "y": "?"}
    with pytest.raises(UnusableKey) as unusable:
        SigningKey.from_jwk(jwk)
    assert jwk["d"] not in str(unusable.value)


def test_keys_are_constructed_once_and_not_for_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a PEM for each call costs 50–70 ms: 18 signatures a second instead of 2,300."""
    signing = SigningKey.from_jwk(private_jwk(RSA, "rsa"))

    def construct(*_: Any) -> None:
        raise AssertionError("a key is constructed again")

    monkeypatch.setattr("jose.jwk.construct", construct)
    assert check(signing.sign(GOOD, "JWT")) == GOOD
    assert check(signing.sign(GOOD, "JWT")) == GOOD
    assert KEYS.get("rsa") is KEYS.get("rsa")


# ——— the keys with which a client signs who it is ———


def test_a_clients_keys_need_not_name_their_algorithm() -> None:
    anonymous = {name: value for name, value in public_jwk(EC, "ec").items() if name not in {"alg", "kid"}}
    judge_client_keys({"keys": [anonymous, public_jwk(RSA, "rsa")]})


@pytest.mark.parametrize(
    "keys",
    [
        None,
        {},
        [7],
        [{}],
        [public_jwk(EC, "ec"), {**public_jwk(RSA, "rsa"), "n": "AQAB"}],
        [{**public_jwk(EC, "ec"), "alg": "RS256"}],
        [{**public_jwk(EC, "ec"), "alg": "none"}],
        [{**public_jwk(EC, "ec"), "use": "enc"}],
        [{**public_jwk(EC, "ec"), "x": "AAAA"}],
        [private_jwk(EC, "ec")],
        [{"kty": "oct", "kid": "s", "alg": "HS256", "k": encode(SECRET)}],
        [public_jwk(ec_key(ec.SECP384R1), "p384")],
        [public_jwk(EC, "one"), public_jwk(RSA, "one")],
        # Each verification would take as long as its owner likes.
        [{**public_jwk(RSA, "rsa"), "e": encode_number((1 << 2000) + 1)}],
        [{**public_jwk(RSA, "rsa"), "n": encode_number((1 << 16_384) + 1)}],
    ],
)
def test_a_client_is_not_registered_with_keys_that_cannot_verify_it(keys: Any) -> None:
    with pytest.raises(UnusableKey):
        judge_client_keys({"keys": keys})


# ——— how long a token may live, and what it must say ———


def test_a_token_may_live_as_long_as_is_given_out_and_no_longer() -> None:
    for good in ({"exp": NOW + 60}, {"iat": NOW - 30, "exp": NOW + 30}):
        assert check(forge(header(), claims(**good), SIGN["ec"]), longest_seconds=60)
    for bad in ({"exp": NOW + 61}, {"iat": NOW - 30, "exp": NOW + 31}, {"iat": 0, "exp": NOW + 1}):
        with pytest.raises(Rejected) as rejected:
            check(forge(header(), claims(**bad), SIGN["ec"]), longest_seconds=60)
        assert rejected.value.reason == "token_lives_too_long"


def test_without_iat_a_token_lives_from_now_on() -> None:
    token = forge(header(), claims(iat=None, exp=NOW + 60), SIGN["ec"])
    assert check(token, longest_seconds=60, needs_iat=False)
    with pytest.raises(Rejected) as rejected:
        check(token, longest_seconds=60)
    assert rejected.value.reason == "malformed_token"
    late = forge(header(), claims(iat=None, exp=NOW + 66), SIGN["ec"])
    with pytest.raises(Rejected) as rejected:
        check(late, longest_seconds=60, needs_iat=False)
    assert rejected.value.reason == "token_lives_too_long"


@pytest.mark.parametrize("jti", [None, "", 7, ["a"]])
def test_a_token_without_a_jti_is_refused_where_one_is_needed(jti: Any) -> None:
    token = forge(header(), claims(jti=jti), SIGN["ec"])
    assert check(token)
    with pytest.raises(Rejected) as rejected:
        check(token, needs_jti=True)
    assert rejected.value.reason == "malformed_token"
