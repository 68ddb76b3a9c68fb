"""The format of a token: pure, by Hypothesis."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from token_service.keys.material import TokenKey, new_secret
from token_service.tokens.format import (
    EPOCH,
    MAX_SEQUENCE,
    NEVER,
    Plain,
    expiry_minute_of,
    has_expired,
    is_token,
    pack,
    pack_many,
    unpack,
)

from .campaign_house import flipped

sequences = st.integers(1, MAX_SEQUENCE)
minutes = st.integers(0, NEVER)
plains = st.builds(Plain, sequences, minutes)
moments = st.datetimes(EPOCH.replace(tzinfo=None), EPOCH.replace(year=2057, tzinfo=None)).map(
    lambda moment: moment.replace(tzinfo=EPOCH.tzinfo)
)
KEY = TokenKey(1, new_secret())


@given(plains)
def test_what_is_packed_is_unpacked(plain: Plain) -> None:
    assert unpack(pack(plain)) == plain


@given(plains)
def test_a_token_is_32_lower_case_hexadecimal_characters_and_says_what_went_in(plain: Plain) -> None:
    token = KEY.mint(plain)
    assert is_token(token)
    assert KEY.read(bytes.fromhex(token)) == plain


@given(st.lists(plains, min_size=1, max_size=50, unique=True))
def test_many_are_minted_as_each_by_itself_and_no_two_alike(many: list[Plain]) -> None:
    tokens = KEY.mint_many(many)
    assert tokens == [KEY.mint(plain) for plain in many]
    assert len(set(tokens)) == len(many)
    assert pack_many(many) == b"".join(map(pack, many))


@given(plains, st.integers(0, 127))
def test_every_flipped_bit_is_noticed(plain: Plain, bit: int) -> None:
    assert KEY.read(bytes.fromhex(flipped(KEY.mint(plain), bit))) is None


@given(plains)
def test_another_key_reads_nothing(plain: Plain) -> None:
    assert TokenKey(1, new_secret()).read(bytes.fromhex(KEY.mint(plain))) is None


@given(st.binary(min_size=16, max_size=16))
def test_random_bytes_are_no_token(block: bytes) -> None:
    assert KEY.read(block) is None


@given(st.text(max_size=40))
def test_other_text_is_no_token(text: str) -> None:
    assert is_token(text) == (len(text) == 32 and all(character in "0123456789abcdef" for character in text))


@given(moments)
def test_the_minute_is_rounded_up_so_that_a_token_never_says_expired_too_early(expires_at: datetime) -> None:
    minute = expiry_minute_of(expires_at)
    end = EPOCH + timedelta(minutes=minute)
    assert timedelta(0) <= end - expires_at < timedelta(minutes=1)
    assert not has_expired(minute, end - timedelta(microseconds=1))
    assert has_expired(minute, end)


def test_never_is_never() -> None:
    assert expiry_minute_of(None) == NEVER
    assert not has_expired(NEVER, EPOCH.replace(year=2300))


@pytest.mark.parametrize("year", [2025, 2058, 2300])
def test_an_expiry_that_does_not_fit_is_refused(year: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        expiry_minute_of(EPOCH.replace(year=year, month=12))


@pytest.mark.parametrize("plain", [Plain(0, 1), Plain(MAX_SEQUENCE + 1, 1), Plain(1, -1), Plain(1, NEVER + 1)])
def test_numbers_that_do_not_fit_are_not_packed(plain: Plain) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        pack(plain)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_an_authenticated_text_is_told_from_every_other(content: bytes, other: bytes) -> None:
    mac = KEY.mac(content)
    assert len(mac) == 16
    assert KEY.is_mac(mac, content)
    assert KEY.is_mac(mac, other) == (content == other)
