"""Between services: each speaks only as itself, only to whom it says, and only for a minute."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from platform_testing.callers import ServiceKeys
from platform_testing.serving import running
from pydantic import SecretStr
from shared.callers import require_service
from shared.dependencies import provide
from shared.errors import Unauthenticated
from shared.jwt import SigningKey, UnusableKey, take_apart, verify
from shared.service_app import create_service_app
from shared.service_tokens import LIFETIME_SECONDS, ServiceTokens
from shared.settings import ServiceSettings

from shared import service_tokens as module

from .clocks import Clock
from .forging import ec_key, forge, private_jwk, unsigned

LEDGER, ISSUER, ONBOARDING = "points-ledger", "sso-issuer", "partner-onboarding"
NOW = 1_800_000_000

Speaker = Callable[[str], ServiceTokens]


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def speaker(service_keys: ServiceKeys, clock: Clock) -> Speaker:
    return lambda name: ServiceTokens(SecretStr(service_keys.private(name)), service_keys.peers, clock=clock)


@pytest.fixture
def signed_by(service_keys: ServiceKeys) -> Callable[..., str]:
    """A token signed with a service's own key, whatever it says."""

    def sign(name: str, *, kid: str | None = None, typ: str = module.TYP, **changed: Any) -> str:
        jwk = json.loads(service_keys.private(name)) | {"kid": kid or name}
        claims = {"iss": kid or name, "aud": LEDGER, "iat": NOW, "exp": NOW + 60, "jti": "call-1"} | changed
        return SigningKey.from_jwk(jwk).sign(claims, typ)

    return sign


def refused(tokens: ServiceTokens, token: str) -> str | None:
    with pytest.raises(Unauthenticated) as refusal:
        tokens.verify(token)
    # What was wrong is for the log; a stranger on an internal path learns nothing.
    assert refusal.value.stable_code == "invalid_credentials"
    assert refusal.value.message == "This path is for the platform's own services."
    return refusal.value.log


def test_a_service_is_known_by_its_token(speaker: Speaker) -> None:
    assert speaker(LEDGER).verify(speaker(ISSUER).mint(LEDGER)) == ISSUER


def test_a_token_for_another_service_is_refused(speaker: Speaker) -> None:
    assert refused(speaker(ONBOARDING), speaker(ISSUER).mint(LEDGER)) == "wrong_audience"


def test_a_token_lives_a_minute_at_most(speaker: Speaker, clock: Clock, signed_by: Callable[..., str]) -> None:
    ledger, minted = speaker(LEDGER), speaker(ISSUER).mint(LEDGER)
    clock.now = NOW + LIFETIME_SECONDS + 4
    assert ledger.verify(minted) == ISSUER
    clock.now += 1
    assert refused(ledger, minted) == "token_expired"
    clock.now = NOW
    assert ledger.verify(signed_by(ISSUER, exp=NOW + 60)) == ISSUER
    assert refused(ledger, signed_by(ISSUER, exp=NOW + 61)) == "token_lives_too_long"
    assert refused(ledger, signed_by(ISSUER, iat=0, exp=NOW + 60)) == "token_lives_too_long"
    assert refused(ledger, signed_by(ISSUER, iat=NOW + 3600, exp=NOW + 3660)) == "token_not_yet_valid"


def test_a_service_cannot_speak_as_another(speaker: Speaker, signed_by: Callable[..., str]) -> None:
    ledger = speaker(LEDGER)
    assert refused(ledger, signed_by(ISSUER, kid=ONBOARDING)) == "invalid_signature"
    # Under its own kid, and only naming the other.
    assert refused(ledger, signed_by(ISSUER, iss=ONBOARDING)) == "wrong_issuer"


@pytest.mark.parametrize("is_next_first", [False, True])
def test_a_service_changes_its_key_while_all_others_know_both(
    service_keys: ServiceKeys, clock: Clock, is_next_first: bool
) -> None:
    former, other = (json.loads(service_keys.private(name)) for name in (ISSUER, ONBOARDING))
    following = private_jwk(ec_key(), ISSUER)
    known = json.loads(service_keys.peers)["keys"]
    public = {name: value for name, value in following.items() if name != "d"}
    peers = json.dumps({"keys": [public, *known] if is_next_first else [*known, public]})
    ledger = ServiceTokens(SecretStr(service_keys.private(LEDGER)), peers, clock=clock)

    for key in (former, following):
        assert ledger.verify(ServiceTokens(SecretStr(json.dumps(key)), peers, clock=clock).mint(LEDGER)) == ISSUER
    for stranger in (private_jwk(ec_key(), ISSUER), other | {"kid": ISSUER}):
        token = ServiceTokens(SecretStr(json.dumps(stranger)), peers, clock=clock).mint(LEDGER)
        assert refused(ledger, token) == "invalid_signature"


def test_a_service_that_is_no_peer_is_refused(speaker: Speaker, signed_by: Callable[..., str]) -> None:
    stranger = SigningKey.from_jwk(private_jwk(ec_key(), "stranger"))
    claims = {"iss": "stranger", "aud": LEDGER, "iat": NOW, "exp": NOW + 60, "jti": "call-1"}
    assert refused(speaker(LEDGER), stranger.sign(claims, module.TYP)) == "unknown_key"
    known_name = SigningKey.from_jwk(private_jwk(ec_key(), ISSUER))
    assert refused(speaker(LEDGER), known_name.sign(claims | {"iss": ISSUER}, module.TYP)) == "invalid_signature"
    assert refused(speaker(LEDGER), signed_by(ISSUER, kid="None", iss="None")) == "unknown_key"


def test_an_access_token_is_no_service_token(speaker: Speaker, signed_by: Callable[..., str]) -> None:
    for typ in ("at+jwt", "JWT"):
        assert refused(speaker(LEDGER), signed_by(ISSUER, typ=typ)) == "wrong_type"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "x" * 1_000_000])
def test_what_is_no_token_is_refused(speaker: Speaker, token: str) -> None:
    assert refused(speaker(LEDGER), token) == "malformed_token"


@pytest.mark.parametrize("kid", [None, 1, [ISSUER], {}])
def test_a_kid_that_is_no_name_is_refused(speaker: Speaker, kid: object) -> None:
    forged = forge({"alg": "none", "typ": module.TYP, "kid": kid}, {"iss": str(kid)}, unsigned)
    assert refused(speaker(LEDGER), forged) == "unknown_key"


def test_one_token_serves_many_calls_and_is_never_handed_out_old(speaker: Speaker, clock: Clock) -> None:
    issuer, ledger = speaker(ISSUER), speaker(LEDGER)
    first = issuer.mint(LEDGER)
    assert issuer.mint(ONBOARDING) != first
    clock.now = NOW + LIFETIME_SECONDS / 2 - 1
    assert issuer.mint(LEDGER) == first
    clock.now = NOW + LIFETIME_SECONDS / 2
    assert issuer.mint(LEDGER) != first
    assert ledger.verify(issuer.mint(LEDGER)) == ISSUER


def test_a_token_names_itself(speaker: Speaker, signed_by: Callable[..., str]) -> None:
    first, second = (take_apart(speaker(ISSUER).mint(LEDGER)).claims["jti"] for _ in range(2))
    assert first != second
    for jti in (None, "", 7):
        assert refused(speaker(LEDGER), signed_by(ISSUER, jti=jti)) == "malformed_token"


def test_a_token_is_verified_once_and_then_known_until_it_ends(
    speaker: Speaker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, token = speaker(LEDGER), speaker(ISSUER).mint(LEDGER)
    assert ledger.verify(token) == ISSUER
    verified: list[str] = []

    def counting(token: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        verified.append(token)
        return verify(token, *args, **kwargs)

    monkeypatch.setattr("shared.jwt.verify", counting)
    for _ in range(10):
        assert ledger.verify(token) == ISSUER
    assert verified == []
    # One letter more or less is another token.
    assert refused(ledger, token[:-1]) in {"malformed_token", "invalid_signature"}
    assert refused(ledger, token + "A") in {"malformed_token", "invalid_signature"}
    assert refused(speaker(ONBOARDING), token) == "wrong_audience"
    clock.now = NOW + LIFETIME_SECONDS + 5
    assert refused(ledger, token) == "token_expired"
    clock.now = NOW - 6
    assert refused(ledger, token) == "token_not_yet_valid"


def test_a_clock_that_is_set_back_does_not_keep_an_old_token_alive(speaker: Speaker, clock: Clock) -> None:
    issuer, ledger = speaker(ISSUER), speaker(LEDGER)
    clock.now = NOW + 7200
    ahead = issuer.mint(LEDGER)
    clock.now = NOW
    assert refused(ledger, ahead) == "token_not_yet_valid"
    assert ledger.verify(issuer.mint(LEDGER)) == ISSUER


def without_private_part(jwk: str) -> str:
    return json.dumps({name: value for name, value in json.loads(jwk).items() if name != "d"})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda _: "[]",
        lambda _: "{}",
        without_private_part,
        lambda _: json.dumps(private_jwk(ec_key(ec.SECP384R1), LEDGER)),
    ],
    ids=["nothing", "a list", "an empty object", "a public key", "a key on P-384"],
)
def test_a_service_does_not_start_with_a_key_that_cannot_sign(
    service_keys: ServiceKeys, spoil: Callable[[str], str]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        ServiceTokens(SecretStr(spoil(service_keys.private(LEDGER))), service_keys.peers)


@pytest.mark.parametrize("peers", ["", "{}", "[]", '{"keys": {}}', '{"keys": [7]}', '{"keys": [{"kid": "x"}]}'])
def test_a_service_does_not_start_with_peers_that_cannot_be_read(service_keys: ServiceKeys, peers: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ServiceTokens(SecretStr(service_keys.private(LEDGER)), peers)


def test_a_service_does_not_start_with_the_private_key_of_a_peer(service_keys: ServiceKeys) -> None:
    peers = json.dumps({"keys": [json.loads(service_keys.private(ISSUER))]})
    with pytest.raises(UnusableKey, match="public"):
        ServiceTokens(SecretStr(service_keys.private(LEDGER)), peers)


def test_a_key_that_cannot_be_used_is_not_repeated(service_keys: ServiceKeys) -> None:
    jwk = json.loads(service_keys.private(LEDGER))
    with pytest.raises(UnusableKey) as unusable:
        ServiceTokens(SecretStr(json.dumps(jwk | {"x": "!"})), service_keys.peers)
    assert jwk["d"] not in str(unusable.value)


@pytest.fixture
def app(settings: ServiceSettings, speaker: Speaker, lifespan: Any) -> FastAPI:
    app = create_service_app(settings, title="ledger", description="", lifespan=lifespan, readiness={})
    provide(app, speaker(LEDGER))

    @app.get("/internal/points")
    async def points(name: Annotated[str, require_service(ISSUER, ONBOARDING)]) -> dict[str, str]:
        return {"asked_by": name}

    return app


async def test_an_internal_path_is_for_the_services_that_it_names(app: FastAPI, speaker: Speaker) -> None:
    async with running(app) as client:
        for name, status in ((ISSUER, 200), (ONBOARDING, 200), ("token-service", 403), (LEDGER, 403)):
            token = speaker(name).mint(LEDGER)
            answer = await client.get("/internal/points", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status
            assert (answer.json().get("asked_by") == name) is (status == 200)
            # Which services may, is nobody else's business.
            assert ISSUER not in answer.text or name == ISSUER


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "Bearer a.b.c", "bearer  ", "Digest x", "é"],
)
async def test_an_internal_path_without_a_service_token_is_401(app: FastAPI, authorization: str | None) -> None:
    async with running(app) as client:
        headers = [] if authorization is None else [(b"Authorization", authorization.encode())]
        answer = await client.get("/internal/points", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"]
    assert answer.json()["code"] == "invalid_credentials"
