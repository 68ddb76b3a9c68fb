"""Access tokens: checked offline by their tenant's keys, and those by nobody else's."""

from collections.abc import Mapping
from typing import Any

import pytest
from platform_testing.callers import FakeRegister
from platform_testing.serving import PUBLIC_URL
from shared.callers import Caller, Callers, InsufficientScope, SeveralCredentials
from shared.errors import Unauthenticated
from shared.jwks import TenantKeys
from shared.problems import headers_of, status_of
from shared.proxies import ProxyTrust

from .clocks import Clock
from .forging import forge, unsigned
from .scopes import scope_of
from .token_issuer import NOW, Issuer, ask, claims, refused


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> TenantKeys:
    return TenantKeys(issuer, clock=clock, pace_seconds=0)


@pytest.fixture
def callers(keys: TenantKeys, monkeypatch: pytest.MonkeyPatch) -> Callers:
    monkeypatch.setattr("time.time", lambda: float(NOW))
    return Callers(FakeRegister(), keys=keys, public_url=PUBLIC_URL, proxies=ProxyTrust([]))


async def test_a_good_token_gives_its_caller(callers: Callers, issuer: Issuer) -> None:
    key = issuer.add_key("demo", "k1")
    assert await ask(callers, key.sign(claims(), "at+jwt")) == Caller(
        "third-party", "demo", frozenset({"points:read", "users:read"}), "third_party", None, "ada"
    )
    assert issuer.asked == ["demo"]


async def test_keys_are_fetched_once_and_tokens_then_checked_offline(callers: Callers, issuer: Issuer) -> None:
    key = issuer.add_key("demo", "k1")
    for number in range(20):
        await ask(callers, key.sign(claims(jti=str(number)), "at+jwt"))
    assert len(issuer.asked) == 1


# ——— the wall between tenants ———


async def test_the_key_of_one_tenant_signs_for_no_other(callers: Callers, issuer: Issuer) -> None:
    issuer.add_key("demo", "k1")
    other = issuer.add_key("other", "k2")
    assert await refused(callers, other.sign(claims("demo"), "at+jwt")) == "unknown_key"
    theirs = claims("other", iss=f"{PUBLIC_URL}/tenants/demo")
    assert await refused(callers, other.sign(theirs, "at+jwt")) == "wrong_issuer"


async def test_tenants_whose_kids_are_alike_are_kept_apart(callers: Callers, issuer: Issuer) -> None:
    issuer.add_key("demo", "k1")
    other = issuer.add_key("other", "k1")
    assert (await ask(callers, other.sign(claims("other"), "at+jwt"))).tenant == "other"
    assert await refused(callers, other.sign(claims("demo"), "at+jwt")) == "invalid_signature"


@pytest.mark.parametrize(
    "tenant",
    [
        *("../sso/v1/keys", "demo/../other", "..", ".", "", "a/b", "a%2fb", "demo\\", "http://thief.example"),
        *("demo?x=", "demo#", "demo\n", "demo\0", "demo ", "Demo", "dém", "-demo", "a" * 41),
    ],
)
async def test_a_name_that_is_no_tenant_is_not_asked_about(callers: Callers, issuer: Issuer, tenant: str) -> None:
    key = issuer.add_key("demo", "k1")
    assert await refused(callers, key.sign(claims(tenant), "at+jwt")) == "wrong_issuer"
    assert issuer.asked == []


@pytest.mark.parametrize("changed", [{"tenant": None}, {"tenant": 1}, {"tenant": ["demo"]}])
async def test_a_token_without_a_tenant_is_refused(
    callers: Callers, issuer: Issuer, changed: Mapping[str, Any]
) -> None:
    key = issuer.add_key("demo", "k1")
    assert await refused(callers, key.sign(claims(**changed), "at+jwt")) == "malformed_token"


# ——— what else must fit ———


@pytest.mark.parametrize("typ", ["JWT", "svc+jwt", "", "jwt"])
async def test_only_access_tokens_are_taken(callers: Callers, issuer: Issuer, typ: str) -> None:
    key = issuer.add_key("demo", "k1")
    assert await refused(callers, key.sign(claims(), typ)) == "wrong_type"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"aud": "https://other.example"}, "wrong_audience"),
        ({"aud": f"{PUBLIC_URL}/tenants/demo"}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"iss": PUBLIC_URL}, "wrong_issuer"),
        ({"exp": NOW - 10}, "token_expired"),
        ({"iat": NOW + 10}, "token_not_yet_valid"),
        ({"exp": "soon"}, "malformed_token"),
        ({"exp": NOW + 601}, "token_lives_too_long"),
        ({"iat": NOW - 100, "exp": NOW + 501}, "token_lives_too_long"),
        ({"jti": None}, "malformed_token"),
        ({"jti": ""}, "malformed_token"),
        ({"jti": 7}, "malformed_token"),
        ({"client_id": None}, "malformed_token"),
        ({"client_id": 7}, "malformed_token"),
        ({"sub": None}, "malformed_token"),
        ({"scope": ["points:admin"]}, "malformed_token"),
    ],
)
async def test_a_token_that_does_not_fit_is_401_and_says_why(
    callers: Callers, issuer: Issuer, changed: Mapping[str, Any], code: str
) -> None:
    key = issuer.add_key("demo", "k1")
    assert await refused(callers, key.sign(claims(**changed), "at+jwt")) == code


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "x" * 100_000, "\xff"])
async def test_what_is_no_token_is_401(callers: Callers, issuer: Issuer, token: str) -> None:
    assert await refused(callers, token) == "malformed_token"
    assert issuer.asked == []


async def test_an_unsigned_token_is_401(callers: Callers, issuer: Issuer) -> None:
    issuer.add_key("demo", "k1")
    forged = forge({"alg": "none", "typ": "at+jwt", "kid": "k1"}, claims(), unsigned)
    assert await refused(callers, forged) == "invalid_signature"


async def test_where_access_tokens_are_not_taken_they_are_401() -> None:
    callers = Callers(FakeRegister(), keys=None, public_url=PUBLIC_URL, proxies=ProxyTrust([]))
    assert await refused(callers, "a.b.c") == "invalid_credentials"


async def test_scopes_are_the_words_of_the_claim(callers: Callers, issuer: Issuer) -> None:
    key = issuer.add_key("demo", "k1")
    caller = await ask(callers, key.sign(claims(scope="points:read  users:read"), "at+jwt"))
    caller.need("points:read")
    caller.need("points:admin", "users:read")
    for scope in ("points", "points:", "points:rea", "points:read users:read", "POINTS:READ"):
        with pytest.raises(InsufficientScope) as refusal:
            caller.need(scope)
        assert refusal.value.stable_code == "insufficient_scope"
        assert headers_of(refusal.value)["WWW-Authenticate"] == (
            f'Bearer realm="points platform", error="insufficient_scope", scope="{scope}"'
        )
    nobody = await ask(callers, key.sign(claims(scope=""), "at+jwt"))
    with pytest.raises(InsufficientScope):
        nobody.need("points:read")


async def test_a_bad_token_is_answered_as_rfc_6750_has_it(callers: Callers, issuer: Issuer) -> None:
    key = issuer.add_key("demo", "k1")
    for token in ("x", key.sign(claims(exp=NOW - 10), "at+jwt"), key.sign(claims(client_id=7), "at+jwt")):
        with pytest.raises(Unauthenticated) as refusal:
            await ask(callers, token)
        challenge = headers_of(refusal.value)["WWW-Authenticate"]
        assert challenge.startswith("Basic realm=")
        assert ', Bearer realm="points platform", error="invalid_token", error_description="' in challenge
        assert challenge.isascii()
        assert challenge.count('"') % 2 == 0


async def test_who_brings_no_credentials_is_told_of_no_error(callers: Callers) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        await callers.authenticate(scope_of({}))
    assert "error=" not in headers_of(refusal.value)["WWW-Authenticate"]


async def test_two_authorization_headers_are_refused(callers: Callers, issuer: Issuer) -> None:
    key = issuer.add_key("demo", "k1")
    good = b"Bearer " + key.sign(claims(), "at+jwt").encode()
    for first, second in ((good, good), (good, b"Basic eDp5"), (b"", good)):
        scope = scope_of({})
        scope["headers"] = [(b"authorization", first), (b"authorization", second)]
        with pytest.raises(SeveralCredentials) as refusal:
            await callers.authenticate(scope)
        assert status_of(refusal.value) == 400
