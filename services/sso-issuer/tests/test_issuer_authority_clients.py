"""How a client proves to an authority who it is: by one of three ways, and never by a forged or used one."""

import asyncio
import base64
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from platform_testing.issuer_world import World, assemble, body_of, claims_of, encode, hmac_sha256
from platform_testing.serving import PUBLIC_URL
from shared.dependencies import provided
from sso_issuer.authority.service import Authority
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.material import KeyPair, generate, load_private
from sso_issuer.keys.service import Keys
from sso_issuer.tables import authority_events, used_assertions

with warnings.catch_warnings():
    # It would rather have a successor of httpx, which this platform does not use.
    from authlib.deprecate import AuthlibDeprecationWarning

    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import AsyncOAuth2Client
    from authlib.oauth2.rfc7523 import PrivateKeyJWT

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RS256 = generate(Algorithm.RS256)
ES256 = generate(Algorithm.ES256)
Sign = Callable[[bytes], bytes]


class Seconds(int):
    """How long before or after the moment at which a claim is made."""


def _signed_by(pair: KeyPair) -> Sign:
    private = load_private(pair.private_der)

    def sign(text: bytes) -> bytes:
        if isinstance(private, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(private.sign(text, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return private.sign(text, padding.PKCS1v15(), hashes.SHA256())

    return sign


def _client(world: World, *pairs: KeyPair) -> str:
    client_id, _ = world.add_third_party(jwks={"keys": [pair.public_jwk for pair in pairs or (ES256,)]})
    world.consent(client_id, "points:read")
    return client_id


def _claims(world: World, client_id: str, **changed: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": f"{world.issuer}/oauth/token",
        "iat": now,
        "exp": now + 60,
        "jti": encode(str(time.monotonic_ns()).encode()),
    }
    claims |= {name: now + value if isinstance(value, Seconds) else value for name, value in changed.items()}
    return {name: value for name, value in claims.items() if value is not None}


def _assertion(world: World, client_id: str, header: dict[str, Any] | None = None, **changed: Any) -> str:
    head = {"alg": "ES256", "kid": ES256.kid} if header is None else header
    return assemble(head, _claims(world, client_id, **changed), _signed_by(ES256))


async def _ask(world: World, assertion: str, endpoint: str = "token", **form: str) -> httpx.Response:
    grant = {} if "token" in form else {"grant_type": "client_credentials"}
    sent = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion} | grant | form
    return await world.oauth(endpoint, **{name: value for name, value in sent.items() if value})


def _is_refused(answer: httpx.Response, error: str = "invalid_client") -> bool:
    return body_of(answer, 401 if error == "invalid_client" else 400)["error"] == error


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_secret_goes_by_basic_or_by_form(world: World, method: str) -> None:
    client_id, secret = world.add_third_party()
    world.consent(client_id, "points:read")
    async with AsyncOAuth2Client(
        client_id, secret, token_endpoint_auth_method=method, transport=httpx.ASGITransport(world.app)
    ) as client:
        token = await client.fetch_token(f"{world.issuer}/oauth/token", grant_type="client_credentials")
    assert claims_of(token["access_token"])["client_id"] == client_id


async def test_a_client_library_proves_itself_by_its_key(world: World) -> None:
    client_id = _client(world, RS256)
    private = load_private(RS256.private_der).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    endpoint = f"{world.issuer}/oauth/token"
    async with AsyncOAuth2Client(
        client_id,
        private,
        token_endpoint_auth_method="private_key_jwt",
        transport=httpx.ASGITransport(world.app),
    ) as client:
        client.register_client_auth_method(PrivateKeyJWT(endpoint))
        token = await client.fetch_token(endpoint, grant_type="client_credentials")
    assert claims_of(token["access_token"])["client_id"] == client_id


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "client-authentication+jwt"])
async def test_an_assertion_may_name_its_type(world: World, typ: str | None) -> None:
    header = {"alg": "ES256", "kid": ES256.kid} | ({} if typ is None else {"typ": typ})
    assert (await _ask(world, _assertion(world, _client(world), header))).status_code == 200


@pytest.mark.parametrize("endpoint", ["introspect", "revoke"])
async def test_an_assertion_opens_every_endpoint(world: World, endpoint: str) -> None:
    client_id = _client(world)
    for audience in (world.issuer, f"{world.issuer}/oauth/token", [f"{world.issuer}/oauth/{endpoint}"]):
        answer = await _ask(world, _assertion(world, client_id, aud=audience), endpoint, token="x")
        assert answer.status_code == 200
    other = _assertion(world, client_id, aud=f"{world.issuer}/oauth/{endpoint}")
    assert _is_refused(await _ask(world, other))


async def test_a_key_need_not_say_what_it_is_for(world: World) -> None:
    """Of keys that name neither algorithm nor kid; of two, the one that is meant must be named."""
    said = {"kid", "alg", "use"}
    bare = [{name: value for name, value in pair.public_jwk.items() if name not in said} for pair in (ES256, RS256)]
    client_id, _ = world.add_third_party(jwks={"keys": bare[:1]})
    world.consent(client_id, "points:read")
    assert (await _ask(world, _assertion(world, client_id, {"alg": "ES256"}))).status_code == 200
    world.onboarding.clients[client_id]["jwks"] = {"keys": bare}
    assert _is_refused(await _ask(world, _assertion(world, client_id, {"alg": "ES256"})))


async def test_an_assertion_is_good_once(world: World) -> None:
    client_id = _client(world)
    assertion = _assertion(world, client_id)
    answers = await asyncio.gather(*(_ask(world, assertion) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    assert _is_refused(await _ask(world, assertion))
    # Another jti in another client's name is another assertion.
    same = claims_of(assertion)["jti"]
    assert (await _ask(world, _assertion(world, _client(world), jti=same))).status_code == 200
    assert _is_refused(await _ask(world, _assertion(world, client_id, jti=same)))


async def test_a_used_assertion_is_remembered_as_long_as_it_would_be_good(world: World) -> None:
    client_id = _client(world)
    await _ask(world, _assertion(world, client_id))
    query = sa.select(sa.func.count()).where(used_assertions.c.tenant == world.tenant)
    for shift, left in ((0, 1), (70, 0)):
        async with world.database.begin() as connection:
            end = used_assertions.c.expires_at - sa.literal(timedelta(seconds=shift), sa.Interval)
            await connection.execute(
                sa.update(used_assertions).where(used_assertions.c.tenant == world.tenant).values(expires_at=end)
            )
        await provided(world.app, Authority).forget_expired()
        async with world.database.connect() as connection:
            assert await connection.scalar(query) == left


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": PUBLIC_URL},
        {"aud": "https://elsewhere.example"},
        {"aud": None},
        {"aud": []},
        {"aud": {"a": 1}},
        {"iss": "somebody-else"},
        {"iss": None},
        {"sub": "somebody-else"},
        {"sub": 7},
        {"sub": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"exp": None},
        {"exp": Seconds(-60)},
        {"exp": Seconds(86_400)},
        {"exp": "tomorrow"},
        {"iat": None, "exp": Seconds(3700)},
        {"iat": "now"},
        {"iat": Seconds(60), "exp": Seconds(120)},
        {"nbf": Seconds(60)},
    ],
)
async def test_an_assertion_with_wrong_claims_is_refused(world: World, changed: dict[str, Any]) -> None:
    client_id = _client(world)
    assert _is_refused(await _ask(world, _assertion(world, client_id, **changed)))
    async with world.database.connect() as connection:
        query = sa.select(sa.func.count()).where(used_assertions.c.tenant == world.tenant)
        assert await connection.scalar(query) == 0


async def test_an_assertion_need_not_say_when_it_was_signed(world: World) -> None:
    """RFC 7523, 3: `iat` may be there."""
    client_id = _client(world)
    assertion = _assertion(world, client_id, iat=None)
    assert "iat" not in claims_of(assertion)
    assert (await _ask(world, assertion)).status_code == 200
    assert _is_refused(await _ask(world, assertion))


async def test_an_assertion_that_would_be_good_elsewhere_too_is_refused(world: World) -> None:
    both = [f"{world.issuer}/oauth/token", "https://elsewhere.example/token"]
    assert _is_refused(await _ask(world, _assertion(world, _client(world), aud=both)))


async def _forgeries(world: World, client_id: str) -> dict[str, str]:
    claims = _claims(world, client_id)
    rsa_key = load_private(RS256.private_der)
    assert isinstance(rsa_key, rsa.RSAPrivateKey)
    public = rsa_key.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    own = await provided(world.app, Keys).signing_key(world.tenant, Algorithm.ES256)
    mine = generate(Algorithm.ES256)
    return {
        "unsigned": assemble({"alg": "none", "kid": RS256.kid}, claims, lambda _: b""),
        "unsigned, no kid": assemble({"alg": "none"}, claims, lambda _: b""),
        "public key in DER as a secret": assemble({"alg": "HS256", "kid": RS256.kid}, claims, hmac_sha256(der)),
        "public key in PEM as a secret": assemble({"alg": "HS256", "kid": RS256.kid}, claims, hmac_sha256(pem)),
        "empty secret": assemble({"alg": "HS256", "kid": RS256.kid}, claims, hmac_sha256(b"")),
        "RS256 named ES256": assemble({"alg": "ES256", "kid": RS256.kid}, claims, _signed_by(RS256)),
        "PS256": assemble({"alg": "PS256", "kid": RS256.kid}, claims, _signed_by(RS256)),
        "a key of the thief": assemble({"alg": "ES256", "kid": RS256.kid}, claims, _signed_by(mine)),
        "a key in the header": assemble({"alg": "ES256", "jwk": mine.public_jwk}, claims, _signed_by(mine)),
        "unknown kid": assemble({"alg": "RS256", "kid": "other"}, claims, _signed_by(RS256)),
        "kid of another kind": assemble({"alg": "RS256", "kid": ["x"]}, claims, _signed_by(RS256)),
        "kid null": assemble({"alg": "RS256", "kid": None}, claims, _signed_by(RS256)),
        "crit": assemble({"alg": "RS256", "kid": RS256.kid, "crit": ["exp"]}, claims, _signed_by(RS256)),
        "an access token's type": assemble(
            {"alg": "RS256", "kid": RS256.kid, "typ": "at+jwt"}, claims, _signed_by(RS256)
        ),
        "the authority's own key": own.sign(claims, "JWT"),
        "null signature": assemble({"alg": "RS256", "kid": RS256.kid}, claims, lambda _: b"\0" * 256),
        "no token": "x.y.z",
    }


async def test_no_forged_assertion_is_taken(world: World) -> None:
    client_id = _client(world, RS256)
    for name, forged in (await _forgeries(world, client_id)).items():
        assert _is_refused(await _ask(world, forged)), name
    honest = assemble({"alg": "RS256", "kid": RS256.kid}, _claims(world, client_id), _signed_by(RS256))
    assert (await _ask(world, honest)).status_code == 200


@pytest.mark.parametrize(
    "jwks",
    [
        None,
        {},
        {"keys": []},
        {"keys": "x"},
        {"keys": [None, "x", {"kty": "oct", "k": base64.b64encode(b"k" * 32).decode()}]},
        {"keys": [{**ES256.public_jwk, "use": "enc"}]},
        {"keys": [{**ES256.public_jwk, "crv": "P-384"}]},
        {"keys": [{**ES256.public_jwk, "d": "AA"}]},
        {"keys": [{**ES256.public_jwk, "alg": "none"}]},
    ],
)
async def test_a_client_without_a_usable_key_cannot_prove_itself(world: World, jwks: dict[str, Any] | None) -> None:
    client_id, _ = world.add_third_party(jwks=jwks)
    world.consent(client_id, "points:read")
    assert _is_refused(await _ask(world, _assertion(world, client_id)))


async def test_a_secret_of_the_register_is_no_key(world: World) -> None:
    """client_secret_jwt, which is not offered."""
    client_id, secret = world.add_third_party()
    world.consent(client_id, "points:read")
    forged = assemble({"alg": "HS256"}, _claims(world, client_id), hmac_sha256(secret.encode()))
    assert _is_refused(await _ask(world, forged))


async def test_a_key_of_another_tenants_client_is_of_no_use(world: World) -> None:
    client_id, _ = world.add_third_party(jwks={"keys": [ES256.public_jwk]}, tenant="t-elsewhere")
    assert _is_refused(await _ask(world, _assertion(world, client_id)))


async def test_one_proof_and_not_two(world: World) -> None:
    client_id, secret = world.add_third_party(jwks={"keys": [ES256.public_jwk]})
    world.consent(client_id, "points:read")
    grant = {"grant_type": "client_credentials"}
    assertion = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": _assertion(world, client_id)}
    for form in (
        {"auth": (client_id, secret), "client_secret": secret, "client_id": client_id},
        {"auth": (client_id, secret), **assertion},
        {"client_id": client_id, "client_secret": secret, **assertion},
        {"auth": (client_id, secret), "client_id": "another"},
        {**assertion, "client_id": "another"},
        {"client_secret": secret},
        {**assertion, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        {"client_assertion": assertion["client_assertion"]},
        {"client_assertion_type": ASSERTION_TYPE},
    ):
        assert _is_refused(await world.oauth("token", **grant, **form), "invalid_request"), form
    twice = [("Authorization", "Basic eDp5"), ("Authorization", "Basic eDp5")]
    assert _is_refused(await world.oauth("token", headers=twice, **grant), "invalid_request")
    assert (await world.oauth("token", auth=(client_id, secret), client_id=client_id, **grant)).status_code == 200
    assert (await world.oauth("token", **assertion, client_id=client_id, **grant)).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    ["Basic", "Basic !", "Basic eA==", "Basic eDo=", "Basic OnM=", "Basic eABhOnM=", "Bearer x", "Basic /zpz", ""],
)
async def test_credentials_that_are_none_are_refused(world: World, authorization: str) -> None:
    answer = await world.oauth("token", headers={"Authorization": authorization}, grant_type="client_credentials")
    assert _is_refused(answer)
    assert answer.headers["www-authenticate"] == 'Basic realm="points platform", charset="UTF-8"'


async def test_basic_may_be_form_encoded_inside(world: World) -> None:
    """RFC 6749, 2.3.1; few clients do so, and both must work."""
    client_id, secret = world.add_third_party("app")
    world.consent(client_id, "points:read")
    encoded = ("%61pp", "".join(f"%{ord(character):02X}" for character in secret))
    assert (await world.oauth("token", auth=encoded, grant_type="client_credentials")).status_code == 200
    assert (await world.oauth("token", auth=(client_id, secret), grant_type="client_credentials")).status_code == 200


async def test_whoever_is_refused_leaves_the_name_it_claimed(world: World) -> None:
    client_id = _client(world)
    await world.oauth("token", auth=("claimed-by-basic", "x"), grant_type="client_credentials")
    await world.oauth("token", client_id="claimed-by-form", client_secret="x", grant_type="client_credentials")
    await _ask(world, _assertion(world, client_id, aud="https://elsewhere.example"))
    await world.oauth("token", client_id="x" * 200, client_secret="x", grant_type="client_credentials")
    query = sa.select(authority_events).filter_by(tenant=world.tenant).order_by(authority_events.c.happened_at)
    async with world.database.connect() as connection:
        rows = list(await connection.execute(query))
    assert [row.client_id for row in rows] == ["claimed-by-basic", "claimed-by-form", client_id, None]
    assert {(row.event, row.reason, row.grant_type) for row in rows} == {
        ("refused", "invalid_client", "client_credentials")
    }
