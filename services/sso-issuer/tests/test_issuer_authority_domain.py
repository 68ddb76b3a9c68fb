"""The authority's decisions, without anything around them."""

from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.errors import UnsupportedMediaType
from sso_issuer.authority import domain
from sso_issuer.authority.domain import (
    AuthorityClient,
    Consent,
    InvalidRequest,
    InvalidScope,
    IssuedToken,
    UnauthorizedClient,
)
from sso_issuer.authority.forms import check_media_type, parse_form

SCOPES = ("points:read", "points:admin", "users:read", "tokens:stats")
some_scopes = st.frozensets(st.sampled_from(SCOPES))
ISSUED = IssuedToken(
    jti="jti",
    client_id="app",
    subject="api-user",
    scopes=frozenset({"points:read", "users:read"}),
    consent_version=3,
    expires_at=datetime(2026, 11, 21, tzinfo=UTC),
    is_revoked=False,
)
CLAIMS = {
    "jti": "jti",
    "client_id": "app",
    "sub": "api-user",
    "scope": "users:read points:read",
    "exp": int(ISSUED.expires_at.timestamp()),
}


@given(registered=some_scopes, consented=some_scopes, requested=st.none() | some_scopes.filter(bool))
def test_a_third_party_never_gets_more_than_consent_registration_and_request(
    registered: frozenset[str], consented: frozenset[str], requested: frozenset[str] | None
) -> None:
    client = AuthorityClient(client_id="app", tenant="demo", kind="third_party", scopes=registered)
    consent = Consent(subject="api-user", scopes=consented, version=1)
    wanted = None if requested is None else tuple(sorted(requested))
    available = registered & consented
    try:
        given_scopes = frozenset(domain.decide_by_consent(client, consent, wanted).scopes)
    except InvalidScope:
        assert not available or (requested is not None and not requested <= available)
    else:
        assert given_scopes == (available if requested is None else requested)
        assert given_scopes <= available
    with pytest.raises(UnauthorizedClient):
        domain.decide_by_consent(client, None, wanted)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"version": 4}, None),
        ({"scopes": ISSUED.scopes | {"tokens:stats"}}, None),
        ({"version": 2}, "consent_replaced"),
        ({"version": 4, "since_version": 3}, None),
        ({"version": 5, "since_version": 5}, "consent_withdrawn"),
        ({"subject": "other"}, "user_replaced"),
        ({"scopes": frozenset({"points:read"})}, "scope_withdrawn"),
    ],
)
def test_a_token_is_good_as_long_as_the_present_consent_covers_it(
    changed: dict[str, object], reason: str | None
) -> None:
    present = replace(Consent(subject="api-user", scopes=ISSUED.scopes, version=3), **changed)
    assert domain.why_not_consented(ISSUED, present) == reason
    assert domain.why_not_consented(ISSUED, None) == "consent_withdrawn"


@pytest.mark.parametrize("name", ["client_id", "sub", "scope", "exp"])
def test_a_signed_token_that_says_something_else_than_was_issued_is_none(name: str) -> None:
    assert domain.why_inactive(ISSUED, CLAIMS) is None
    assert domain.why_inactive(None, CLAIMS) == "token_not_issued"
    assert domain.why_inactive(replace(ISSUED, is_revoked=True), CLAIMS) == "token_revoked"
    for other in ("other", None, 7):
        assert domain.why_inactive(ISSUED, CLAIMS | {name: other}) == "token_not_issued"


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=20))
def test_a_form_is_read_as_it_was_written_or_refused(form: dict[str, str]) -> None:
    has_control = any(ord(c) < 32 or ord(c) == 127 for text in (*form, *form.values()) for c in text)
    try:
        read = parse_form(urlencode(form).encode())
    except InvalidRequest:
        assert has_control
    else:
        assert read == {name: value for name, value in form.items() if value}
        assert not has_control


@given(st.binary(max_size=200))
def test_whatever_comes_as_a_form_is_read_or_refused(body: bytes) -> None:
    try:
        read = parse_form(body)
    except InvalidRequest:
        return
    assert all(value for value in read.values())


@pytest.mark.parametrize("good", ["", "; charset=UTF-8", ';charset="utf-8"', "; boundary=x"])
def test_a_form_says_that_it_is_one(good: str) -> None:
    check_media_type(f"Application/X-www-form-urlencoded{good}")
    for bad in (None, "", "text/plain", "application/json", "application/x-www-form-urlencoded; charset=latin-1"):
        with pytest.raises(UnsupportedMediaType):
            check_media_type(bad)


@pytest.mark.parametrize("text", ["a\tb", 'a"', "a\\b", "ü", "\u00a0"])
def test_a_scope_is_made_of_what_rfc_6749_allows(text: str) -> None:
    with pytest.raises(InvalidScope):
        domain.parse_scope(text)
    assert domain.parse_scope("b  a b") == ("b", "a")
    assert domain.parse_scope(" ") is None
    assert domain.parse_scope(None) is None
