"""Rules that need no database."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from partner_onboarding.characters import shows_something
from partner_onboarding.register.clients.domain import (
    FormerSecretLive,
    MalformedClient,
    Registration,
    Secret,
    checked,
    rotate,
)
from partner_onboarding.register.clients.secret_hashing import SecretHashing, new_secret
from partner_onboarding.register.sessions.domain import key_of, new_cookie
from partner_onboarding.register.users.domain import (
    MalformedUser,
    checked_profile,
    deliverable,
    email_hash,
    normalised_email,
)
from partner_onboarding.register.users.new_passwords import checked_new_password

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(0, 7200), st.integers(0, 3600)), min_size=1, max_size=12))
def test_rotation_never_leaves_more_than_two_live_secrets_and_keeps_its_promise(
    rotations: list[tuple[int, int]],
) -> None:
    secrets, now = [Secret(1, START, None, None, None)], START
    for overlap_seconds, later_seconds in rotations:
        overlap = timedelta(seconds=overlap_seconds)
        former = max((s for s in secrets if s.is_live(now)), key=lambda s: s.n)
        decided = rotate(secrets, overlap, now, end_former=True)
        secrets = [
            Secret(
                secret.n,
                secret.created_at,
                decided.stays_until.get(secret.n, secret.expires_at),
                now if secret.n in decided.ends_now else secret.revoked_at,
                None,
            )
            for secret in secrets
        ]
        secrets.append(Secret(decided.new_n, now, None, None, None))
        assert sum(secret.is_live(now) for secret in secrets) == (2 if overlap else 1)
        assert sum(secret.revoked_at is None for secret in secrets) <= 2
        kept = next(secret for secret in secrets if secret.n == former.n)
        if overlap:
            assert kept.is_live(now + overlap - timedelta(seconds=1))
        assert not kept.is_live(now + overlap)
        now += timedelta(seconds=later_seconds)


def test_a_third_secret_needs_a_word_that_the_former_one_may_end() -> None:
    end = START + timedelta(minutes=5)
    two = [Secret(1, START, end, None, None), Secret(2, START, None, None, None)]
    with pytest.raises(FormerSecretLive) as refused:
        rotate(two, timedelta(days=1), START)
    assert refused.value.members["expires_at"] == "2026-11-21T08:05:00.000Z"
    assert rotate(two, timedelta(days=1), START, end_former=True).ends_now == (1,)
    assert rotate(two, timedelta(days=1), end).new_n == 3


def test_a_former_secret_never_lives_longer_than_it_was_told_to() -> None:
    end = START + timedelta(minutes=5)
    decided = rotate([Secret(1, START, end, None, None)], timedelta(days=1), START)
    assert decided.stays_until == {1: end}


def test_a_secret_has_256_random_bits_in_43_characters() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(secret) for secret in made} == {43}


def test_a_secret_is_found_among_two_and_not_under_another_pepper() -> None:
    hashing = SecretHashing(b"p" * 32)
    kept = [hashing.hash("first"), hashing.hash("second")]
    assert hashing.find("first", kept) == 0
    assert hashing.find("second", kept) == 1
    assert hashing.find("third", kept) is None
    assert hashing.find("\ud800", kept) is None
    assert SecretHashing(b"q" * 32).find("first", kept) is None
    assert hashing.hash("first").salt != hashing.hash("first").salt


def test_as_many_hashes_are_computed_for_an_unknown_id_as_for_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    hashing = SecretHashing(b"p" * 32)
    kept = [hashing.hash("first"), hashing.hash("second")]
    computed: list[str] = []
    digest = hashing._digest

    def counted(salt: bytes, secret: str) -> bytes:
        computed.append(secret)
        return digest(salt, secret)

    monkeypatch.setattr(hashing, "_digest", counted)
    for presented, hashes in (("first", kept), ("first", kept[:1]), ("other", kept), ("other", [])):
        computed.clear()
        hashing.find(presented, hashes)
        assert len(computed) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("erika@example.com", " ERIKA@Example.COM "),
        ("jose\u0301@example.com", "josé@example.com"),
        ("\uff45rika\uff20example\uff0ecom", "erika@example.com"),
        ("a@b\u00fccher.example", "a@xn--bcher-kva.example"),
    ],
)
def test_two_spellings_of_an_address_are_one_account(one: str, other: str) -> None:
    assert normalised_email(one) == normalised_email(other)
    assert email_hash(b"k" * 32, normalised_email(one)) == email_hash(b"k" * 32, normalised_email(other))


def test_without_the_key_the_hash_of_an_address_cannot_be_recomputed() -> None:
    assert email_hash(b"k" * 32, "erika@example.com") != email_hash(b"l" * 32, "erika@example.com")


@pytest.mark.parametrize(
    "email",
    [
        *("", "@", "erika", "erika@", "@example.com", "erika@localhost", "erika@exam ple.com", "a@b@c.example"),
        *("erika@-example.com", "erika@example..com", "er\x00ika@example.com", "\ud800@example.com"),
        *(
            ".erika@example.com",
            "a..b@example.com",
            "erika@" + "a" * 64 + ".com",
            "a" * 250 + "@example.com",
            "eri\u200bka@example.com",
        ),
    ],
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(MalformedUser):
        normalised_email(email)


@pytest.mark.parametrize("name", ["", "   ", "a\x00b", "\ud800", "x" * 101])
def test_names_are_printable_and_not_endless(name: str) -> None:
    with pytest.raises(MalformedUser):
        checked_profile("erika@example.com", name, "Mustermann")


@pytest.mark.parametrize(
    "password",
    ["", "short", "fourteen chars", "x" * 1025, "a lantern near\x00 harbour", "a lantern near\ud800 harbour"],
)
def test_passwords_that_cannot_be_typed_or_are_too_short_are_refused(password: str) -> None:
    with pytest.raises(MalformedUser):
        checked_new_password(password)


@pytest.mark.parametrize(
    ("registration", "code"),
    [
        (Registration(name="x", scopes=("points:everything",)), "unknown_scope"),
        (Registration(name="x", landing_url="http://partner.example/"), "invalid_url"),
        (Registration(name="x", redirect_uris=("https://a.example/#b",)), "invalid_url"),
        (Registration(name="x", ip_allow_list=("10.0.0.1/8",)), "invalid_network"),
        (Registration(name="x", ip_allow_list=("everywhere",)), "invalid_network"),
        (Registration(name="  "), "malformed_client"),
    ],
)
def test_a_registration_that_makes_no_sense_is_refused(registration: Registration, code: str) -> None:
    with pytest.raises(MalformedClient) as refused:
        checked(registration, plain_http=False)
    assert refused.value.stable_code == code


def test_a_session_is_found_by_its_own_cookie_only() -> None:
    cookie, key = new_cookie("demo")
    assert key_of(cookie) == key
    assert key_of(cookie.replace("demo.", "other.")) != key
    for malformed in ("", "demo", "demo.", cookie + "x", cookie[:-1] + "!", "Demo" + cookie[4:], "\x00"):
        assert key_of(malformed) is None


@pytest.mark.parametrize(
    "blank", ["\u3164", "\u115f\u1160", "\u2800", "\u200d", "\u034f", "\ufe0f", "\u00a0", "\u0301"]
)
def test_a_name_that_nobody_can_see_is_none(blank: str) -> None:
    assert not shows_something(blank)
    assert shows_something(f"{blank}Zoë")
    with pytest.raises(MalformedUser):
        checked_profile("a@example.com", blank, "Muster")
    with pytest.raises(MalformedUser):
        checked_profile("a@example.com", "Erika", blank)


@pytest.mark.parametrize("name", ["Ng", "李", "Ö", "O’Neil", "نور", "ちえ", "🎉", "X Æ A-12"])
def test_a_name_of_any_script_is_one(name: str) -> None:
    assert checked_profile("a@example.com", name, name).firstname == name


def test_mail_goes_to_the_mailbox_that_full_width_forms_stand_for() -> None:
    assert deliverable("\uff25rika\uff20example.com") == "Erika@example.com"
