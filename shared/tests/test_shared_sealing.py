"""Only a reader that has the key and knows what the text is for can open what is sealed."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.sealing import CannotOpen, Sealer, parse_key_encryption_keys

# The same in every process: they are in the names of tests, which two workers must agree on.
KEY, OTHER_KEY = bytes(range(32)), bytes(range(100, 132))
SEALER = Sealer({1: KEY})
CONTEXT = "demo/client-7/secret"


@given(st.binary(max_size=2000), st.text(max_size=100).filter(lambda text: text.isprintable()))
def test_what_was_sealed_opens_again(plain: bytes, context: str) -> None:
    sealed = SEALER.seal(plain, context)
    assert SEALER.open(sealed, context) == plain
    if len(plain) > 8:
        assert plain not in sealed


def test_the_same_text_looks_different_each_time() -> None:
    assert len({SEALER.seal(b"text", CONTEXT) for _ in range(100)}) == 100
    # Nor is any data key or nonce used twice.
    assert len({SEALER.seal(b"text", CONTEXT)[3:15] for _ in range(100)}) == 100
    assert len({SEALER.seal(b"text", CONTEXT)[63:75] for _ in range(100)}) == 100


def test_a_change_of_any_bit_is_noticed() -> None:
    sealed = SEALER.seal(b"forty-two", CONTEXT)
    for place in range(len(sealed)):
        for bit in (1, 128):
            changed = bytearray(sealed)
            changed[place] ^= bit
            with pytest.raises(CannotOpen):
                SEALER.open(bytes(changed), CONTEXT)


def test_a_cut_or_an_addition_is_noticed() -> None:
    sealed = SEALER.seal(b"forty-two", CONTEXT)
    for length in range(len(sealed)):
        with pytest.raises(CannotOpen):
            SEALER.open(sealed[:length], CONTEXT)
    for spoilt in (sealed + b"\0", b"\0" + sealed, sealed + sealed):
        with pytest.raises(CannotOpen):
            SEALER.open(spoilt, CONTEXT)


@pytest.mark.parametrize("context", ["", "demo/client-8/secret", "other/client-7/secret", CONTEXT + " ", CONTEXT[:-1]])
def test_it_opens_in_no_other_place(context: str) -> None:
    with pytest.raises(CannotOpen, match="another context"):
        SEALER.open(SEALER.seal(b"text", CONTEXT), context)


def test_halves_of_two_sealed_texts_do_not_fit_together() -> None:
    one, two = SEALER.seal(b"one", CONTEXT), SEALER.seal(b"two", CONTEXT)
    with pytest.raises(CannotOpen):
        SEALER.open(one[:63] + two[63:], CONTEXT)


def test_the_highest_key_seals_and_the_old_ones_still_open() -> None:
    old = SEALER.seal(b"old", CONTEXT)
    both = Sealer({1: KEY, 2: OTHER_KEY})
    new = both.seal(b"new", CONTEXT)
    assert both.open(old, CONTEXT) == b"old"
    assert both.open(new, CONTEXT) == b"new"
    assert Sealer({2: OTHER_KEY}).open(new, CONTEXT) == b"new"


def test_a_missing_key_is_named_by_its_number() -> None:
    with pytest.raises(CannotOpen, match="key-encryption key 1 is not configured"):
        Sealer({2: OTHER_KEY}).open(SEALER.seal(b"text", CONTEXT), CONTEXT)


def test_another_key_of_the_same_number_does_not_open() -> None:
    with pytest.raises(CannotOpen, match="changed"):
        Sealer({1: OTHER_KEY}).open(SEALER.seal(b"text", CONTEXT), CONTEXT)


def test_keys_are_read_from_their_written_form() -> None:
    one, two = base64.b64encode(KEY).decode(), base64.b64encode(OTHER_KEY).decode()
    assert parse_key_encryption_keys(f"1:{one}") == {1: KEY}
    assert parse_key_encryption_keys(f" 2:{two} , 1:{one}, ") == {1: KEY, 2: OTHER_KEY}


ENCODED = base64.b64encode(KEY).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        ENCODED,
        f":{ENCODED}",
        f"0:{ENCODED}",
        f"-1:{ENCODED}",
        f"65536:{ENCODED}",
        f"one:{ENCODED}",
        f"1:{ENCODED[:-1]}",
        f"1:{ENCODED[:20]}",
        f"1:{ENCODED}é",
        f"1:{base64.b64encode(KEY + KEY).decode()}",
        f"1:{base64.b64encode(KEY[:16]).decode()}",
        "1:",
        f"1:{ENCODED},2",
        f"1:{ENCODED},1:{base64.b64encode(OTHER_KEY).decode()}",
    ],
)
def test_keys_that_are_none_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"key-encryption key") as refused:
        parse_key_encryption_keys(text)
    assert ENCODED[:16] not in str(refused.value)
