"""Claims and texts that are not what they should be: none passes `shared.jwt.verify`."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.jwt import Rejected

from shared import jwt

from .forging import forge, unsigned
from .jwt_checks import AUDIENCE, GOOD, ISSUER, NOW, SIGN, check, claims, header, reason


@pytest.mark.parametrize("typ", [None, "", "at+jwt", "svc+jwt", "JWT ", "JOSE", 1, ["JWT"], {"JWT": 1}])
def test_another_typ_or_none_is_rejected(typ: Any) -> None:
    assert reason(forge(header() | {"typ": typ}, GOOD, SIGN["ec"])) == "wrong_type"


def test_typ_is_compared_without_regard_to_case() -> None:
    """RFC 7515, 4.1.9."""
    assert check(forge(header(typ="At+JWT"), GOOD, SIGN["ec"]), typ="at+jwt") == GOOD


def test_of_several_types_each_is_taken_and_none_only_where_that_is_said() -> None:
    strict, lenient = frozenset({"JWT", "client-authentication+jwt"}), frozenset({"JWT", ""})
    for typ in ("jwt", "Client-Authentication+JWT"):
        assert check(forge(header(typ=typ), GOOD, SIGN["ec"]), typ=strict) == GOOD
    assert reason(forge(header(typ=None), GOOD, SIGN["ec"]), typ=strict) == "wrong_type"
    assert check(forge(header(typ=None), GOOD, SIGN["ec"]), typ=lenient) == GOOD
    for other in ("at+jwt", "svc+jwt", 7, None, ["JWT"]):
        assert reason(forge(header() | {"typ": other}, GOOD, SIGN["ec"]), typ=lenient) == "wrong_type"
    assert reason(GOOD_TOKEN, typ=frozenset()) == "wrong_type"


@pytest.mark.parametrize("crit", [["exp"], ["b64"], ["http://example.org/x"], [], "exp", None, False, {}])
def test_a_token_that_demands_an_extension_is_rejected(crit: Any) -> None:
    assert reason(forge(header(b64=False) | {"crit": crit}, GOOD, SIGN["ec"])) == "malformed_token"


# ——— claims ———


@pytest.mark.parametrize(
    "audience",
    [
        *(None, "", "https://other.example", AUDIENCE + "/", AUDIENCE.upper(), 1, True, {AUDIENCE: AUDIENCE}),
        *([], [""], ["a", "b"], [[AUDIENCE]], [None]),
    ],
)
def test_a_token_for_nobody_or_for_somebody_else_is_rejected(audience: Any) -> None:
    assert reason(forge(header(), claims() | {"aud": audience}, SIGN["ec"])) == "wrong_audience"
    assert reason(forge(header(), claims(aud=None), SIGN["ec"])) == "wrong_audience"


def test_one_audience_of_several_is_enough() -> None:
    several = claims(aud=["https://other.example", AUDIENCE])
    assert check(forge(header(), several, SIGN["ec"])) == several


@pytest.mark.parametrize(
    "issuer", [None, "", "https://points.example/tenants/other", ISSUER + "/", ISSUER[:-1], [ISSUER], 1, {}]
)
def test_a_token_of_another_issuer_is_rejected(issuer: Any) -> None:
    assert reason(forge(header(), claims() | {"iss": issuer}, SIGN["ec"])) == "wrong_issuer"
    assert reason(forge(header(), claims(iss=None), SIGN["ec"])) == "wrong_issuer"


NO_TIMES = [True, False, str(NOW), "", float(NOW), NOW + 0.5, 1e300, 10**30, 2**63, -1, -NOW, [NOW], {}, 253402300800]


@pytest.mark.parametrize("claim", ["iat", "exp", "nbf"])
@pytest.mark.parametrize("value", NO_TIMES, ids=repr)
def test_what_is_no_time_is_rejected(claim: str, value: Any) -> None:
    assert reason(forge(header(), claims() | {claim: value}, SIGN["ec"])) == "malformed_token"


@pytest.mark.parametrize("claim", ["iat", "exp"])
def test_a_token_without_its_times_is_rejected(claim: str) -> None:
    assert reason(forge(header(), claims(**{claim: None}), SIGN["ec"])) == "malformed_token"
    assert reason(forge(header(), claims() | {claim: None}, SIGN["ec"])) == "malformed_token"


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999", b"0x10", b"18000000000000000000000"])
def test_numbers_that_json_does_not_know_or_cannot_hold_are_rejected(number: bytes) -> None:
    payload = json.dumps(claims(exp=None)).encode()[:-1] + b', "exp": ' + number + b"}"
    assert reason(forge(header(), payload, SIGN["ec"])) == "malformed_token"


def test_the_clocks_of_two_machines_may_differ_by_the_leeway_and_no_more() -> None:
    late, early = claims(iat=NOW - 100, exp=NOW - 4), claims(iat=NOW + 5)
    assert check(forge(header(), late, SIGN["ec"])) == late
    assert check(forge(header(), early, SIGN["ec"])) == early
    assert reason(forge(header(), claims(exp=NOW - 5), SIGN["ec"])) == "token_expired"
    assert reason(forge(header(), claims(iat=NOW + 6), SIGN["ec"])) == "token_not_yet_valid"
    assert reason(forge(header(), claims(nbf=NOW + 6), SIGN["ec"])) == "token_not_yet_valid"
    assert reason(forge(header(), claims(exp=NOW), SIGN["ec"]), leeway_seconds=0) == "token_expired"
    assert reason(forge(header(), claims(iat=NOW + 1), SIGN["ec"]), leeway_seconds=0) == "token_not_yet_valid"


def test_time_is_the_machines_own_unless_another_is_given() -> None:
    now = int(time.time())
    assert check(forge(header(), claims(iat=now, exp=now + 60), SIGN["ec"]), now=None)["iat"] == now
    assert reason(forge(header(), claims(iat=now - 120, exp=now - 60), SIGN["ec"]), now=None) == "token_expired"


# ——— the form ———


GOOD_TOKEN = forge(header(), GOOD, SIGN["ec"])


@pytest.mark.parametrize(
    "spoilt",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        GOOD_TOKEN + ".",
        "." + GOOD_TOKEN,
        GOOD_TOKEN + "." + GOOD_TOKEN,
        GOOD_TOKEN.replace(".", "..", 1),
        GOOD_TOKEN.replace(".", ".."),
        GOOD_TOKEN + "=",
        GOOD_TOKEN + "==",
        GOOD_TOKEN + "\n",
        " " + GOOD_TOKEN,
        GOOD_TOKEN[:-4] + " " + GOOD_TOKEN[-4:],
        GOOD_TOKEN[:-4] + "!!!!" + GOOD_TOKEN[-4:],
        GOOD_TOKEN[:-4] + "\0" + GOOD_TOKEN[-4:],
        GOOD_TOKEN[:-4] + "é" + GOOD_TOKEN[-4:],
        GOOD_TOKEN[:-4] + "\ud800" + GOOD_TOKEN[-4:],
        # The last of 86 characters carries four bits that belong to nothing.
        GOOD_TOKEN[:-1] + chr(ord(GOOD_TOKEN[-1]) + 1),
        GOOD_TOKEN.replace(".", "=."),
        "x" * 1_000_000,
        "." * 1_000_000,
        f"{GOOD_TOKEN.split('.')[0]}.{'e' * 1_000_000}.{GOOD_TOKEN.split('.')[2]}",
    ],
    ids=lambda spoilt: f"{spoilt[:8]!r}-{len(spoilt)}",
)
def test_a_token_is_taken_in_one_spelling_only(spoilt: str) -> None:
    began = time.process_time()
    assert reason(spoilt) == "malformed_token"
    assert time.process_time() - began < 1


def test_the_standard_alphabet_of_base64_is_not_taken() -> None:
    while True:
        token = forge(header(), claims(jti=str(time.perf_counter_ns())), SIGN["ec"])
        standard = token.replace("-", "+").replace("_", "/")
        if standard != token:
            break
    assert reason(standard) == "malformed_token"


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"text"', b"1", b"{", b"\xff\xfe", b'{"a":1}{"b":2}', b"{}x"]
)
def test_a_payload_or_header_that_is_no_object_is_rejected(payload: bytes) -> None:
    assert reason(forge(header(), payload, SIGN["ec"])) == "malformed_token"
    assert reason(forge(payload, GOOD, SIGN["ec"])) == "malformed_token"
    with pytest.raises(Rejected):
        jwt.take_apart(forge(payload, payload, SIGN["ec"]))


@pytest.mark.parametrize("depth", [900, 1000, 1020, 2500])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
def test_a_bomb_of_nested_json_is_rejected_and_nothing_breaks(depth: int, brackets: tuple[str, str]) -> None:
    """python-jose parses the header once more, by recursion, and breaks at a depth that orjson still reads."""
    opening, closing = brackets
    bomb = f"{opening * depth}1{closing * depth}"
    good = json.dumps(header())[:-1]
    assert reason(forge(f'{good}, "x": {bomb}}}'.encode(), GOOD, unsigned)) in {"malformed_token", "invalid_signature"}
    assert reason(forge(header(), bomb.encode(), SIGN["ec"])) in {"malformed_token", "wrong_issuer", "wrong_audience"}


def test_of_a_name_given_twice_all_readers_take_the_same() -> None:
    twice = b'{"alg": "none", "alg": "ES256", "typ": "JWT", "kid": "nobody", "kid": "ec"}'
    assert check(forge(twice, GOOD, SIGN["ec"])) == GOOD
    other = b'{"alg": "ES256", "alg": "none", "typ": "JWT", "kid": "ec"}'
    assert reason(forge(other, GOOD, SIGN["ec"])) == "invalid_signature"


@given(st.integers(0, len(GOOD_TOKEN) - 1), st.characters())
def test_a_token_changed_in_any_place_is_rejected(place: int, character: str) -> None:
    changed = GOOD_TOKEN[:place] + character + GOOD_TOKEN[place + 1 :]
    if changed != GOOD_TOKEN:
        assert reason(changed) in {"malformed_token", "invalid_signature", "unknown_key", "wrong_type"}


@given(st.text())
def test_any_text_is_rejected_and_nothing_breaks(text: str) -> None:
    assert reason(text) == "malformed_token"
