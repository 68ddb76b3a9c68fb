"""Good signatures are remembered; whether a token is good is judged each time."""

from typing import Any

import pytest
from shared.jwt import GoodSignatures, KeySet, Rejected, VerificationKey, verify

from .forging import ec_key, es256, forge, public_jwk

NOW = 1_800_000_000
ISSUER, AUDIENCE = "https://points.example/tenants/demo", "https://points.example"
EC = ec_key()
KEYS = KeySet([VerificationKey.from_jwk(public_jwk(EC, "ec"))])
HEADER = {"alg": "ES256", "typ": "JWT", "kid": "ec"}
GOOD = {"iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 60, "userid": "ada"}
GOOD_TOKEN = forge(HEADER, GOOD, es256(EC))


def check(token: str, keys: KeySet = KEYS, **changed: Any) -> dict[str, Any]:
    return verify(token, keys, **{"typ": "JWT", "issuer": ISSUER, "audience": AUDIENCE, "now": NOW, **changed})


def reason(token: str, keys: KeySet = KEYS, **changed: Any) -> str:
    """Why a token is rejected; fails when it is taken."""
    with pytest.raises(Rejected) as rejected:
        check(token, keys, **changed)
    return rejected.value.reason


class _CountingKey:
    """A key of python-jose that counts."""

    def __init__(self, key: Any) -> None:
        self._key, self.verified = key, 0

    def verify(self, signed: bytes, signature: bytes) -> bool:
        self.verified += 1
        return bool(self._key.verify(signed, signature))


def test_a_good_signature_is_verified_once_and_all_else_each_time() -> None:
    known, key = GoodSignatures(10), KEYS.get("ec")
    assert key is not None
    counting = _CountingKey(key.key)
    keys = KeySet([VerificationKey("ec", "ES256", counting)])  # type: ignore[arg-type]  # it is called as the other one
    for _ in range(3):
        assert check(GOOD_TOKEN, keys, signatures=known) == GOOD
    assert counting.verified == 1
    refused: dict[str, dict[str, Any]] = {
        "token_expired": {"now": NOW + 3600},
        "token_not_yet_valid": {"now": NOW - 3600},
        "wrong_audience": {"audience": "https://elsewhere.example"},
        "wrong_issuer": {"issuer": "https://elsewhere.example"},
        "wrong_type": {"typ": "at+jwt"},
        "unknown_key": {"keys": KeySet([])},
    }
    for why, changed in refused.items():
        assert reason(GOOD_TOKEN, **{"keys": keys, "signatures": known, **changed}) == why


def test_a_remembered_signature_is_good_under_its_own_key_only() -> None:
    known = GoodSignatures(10)
    assert check(GOOD_TOKEN, signatures=known) == GOOD
    namesake = VerificationKey.from_jwk(public_jwk(ec_key(), "ec"))
    for _ in range(2):
        assert reason(GOOD_TOKEN, keys=KeySet([namesake]), signatures=known) == "invalid_signature"
    assert check(GOOD_TOKEN, signatures=known) == GOOD


def test_a_bad_signature_is_bad_each_time_and_drives_out_no_good_one() -> None:
    known, key = GoodSignatures(1), KEYS.get("ec")
    assert key is not None
    counting = _CountingKey(key.key)
    keys = KeySet([VerificationKey("ec", "ES256", counting)])  # type: ignore[arg-type]  # it is called as the other one
    assert check(GOOD_TOKEN, keys, signatures=known) == GOOD
    signed, _, signature = GOOD_TOKEN.rpartition(".")
    forged = forge(HEADER, {**GOOD, "userid": "eve"}, es256(EC)).rpartition(".")[0]
    for _ in range(2):
        assert reason(f"{forged}.{signature}", signatures=known) == "invalid_signature"
        assert reason(f"{signed}.{forged[-86:]}", signatures=known) in {"invalid_signature", "malformed_token"}
    assert check(GOOD_TOKEN, keys, signatures=known) == GOOD
    assert counting.verified == 1
