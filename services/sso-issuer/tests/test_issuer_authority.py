"""A tenant's authority, used as any client library would: found by discovery, with no special settings."""

import secrets
import time
import warnings
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from platform_testing.issuer_world import REDIRECT_URI, World, body_of, claims_of, header_of, verify_independently
from platform_testing.serving import PUBLIC_URL
from sso_issuer.tables import authority_events

with warnings.catch_warnings():
    # It would rather have a successor of httpx, which this platform does not use.
    from authlib.deprecate import AuthlibDeprecationWarning

    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.base_client.errors import OAuthError
    from authlib.integrations.httpx_client import AsyncOAuth2Client
    from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
    from authlib.oidc.discovery import OpenIDProviderMetadata

VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123"


async def _events(world: World) -> list[dict[str, Any]]:
    query = sa.select(authority_events).where(authority_events.c.tenant == world.tenant)
    async with world.database.connect() as connection:
        rows = await connection.execute(query.order_by(authority_events.c.happened_at))
        return [dict(row._mapping) for row in rows]


@pytest.fixture
async def app(world: World) -> AsyncIterator[Any]:
    """A third party's client; nothing but its id, its secret and its redirect address are its own."""
    client_id, secret = world.add_third_party()
    transport = httpx.ASGITransport(world.app)
    async with AsyncOAuth2Client(
        client_id,
        secret,
        redirect_uri=REDIRECT_URI,
        scope="points:read users:read",
        code_challenge_method="S256",
        transport=transport,
        base_url=PUBLIC_URL,
    ) as client:
        yield client


async def _discover(world: World) -> dict[str, Any]:
    return body_of(await world.client.get(f"{world.issuer}/.well-known/openid-configuration"), 200)


async def _connect(world: World, app: Any) -> dict[str, Any]:
    """The whole way: to the authority, to the page, the admin's consent, back with a code, and to a token."""
    metadata = await _discover(world)
    url, state = app.create_authorization_url(metadata["authorization_endpoint"], code_verifier=VERIFIER)
    sent_on = await world.client.get(url)
    assert sent_on.status_code == 303
    page = urlsplit(sent_on.headers["location"])
    assert (page.scheme, page.netloc, page.path) == ("", "", f"/setup/{app.client_id}")
    asked = {name: values[0] for name, values in parse_qs(page.query).items()}
    assert asked["redirect_uri"] == REDIRECT_URI
    assert (asked["state"], asked["scope"]) == (state, "points:read users:read")
    assert asked["code_challenge_method"] == "S256"
    world.consent(app.client_id, *asked["scope"].split())
    code = world.give_code(app.client_id, asked["code_challenge"])
    back = f"{REDIRECT_URI}&code={code}&state={state}"
    token: dict[str, Any] = await app.fetch_token(
        metadata["token_endpoint"], authorization_response=back, code_verifier=VERIFIER
    )
    return token


async def test_the_metadata_stand_at_both_addresses_and_are_good(world: World) -> None:
    discovered = await _discover(world)
    answer = await world.client.get(f"/.well-known/oauth-authorization-server/tenants/{world.tenant}")
    assert answer.json() == discovered
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert discovered["issuer"] == world.issuer
    AuthorizationServerMetadata(discovered).validate()
    OpenIDProviderMetadata(discovered).validate()
    for name, value in discovered.items():
        if name.endswith("_endpoint"):
            assert value.startswith(f"{world.issuer}/oauth/")
    assert (await world.client.get(discovered["jwks_uri"])).json()["keys"]


@pytest.mark.parametrize("stranger", ["never-seen", "UPPER", "a" * 41, "%00", "-x"])
async def test_a_tenant_that_is_none_has_no_authority(world: World, stranger: str) -> None:
    for path in ("/.well-known/openid-configuration", "/oauth/authorize"):
        assert (await world.client.get(f"/tenants/{stranger}{path}")).status_code == 404
    assert (await world.client.get(f"/.well-known/oauth-authorization-server/tenants/{stranger}")).status_code == 404
    for endpoint in ("token", "introspect", "revoke"):
        answer = await world.client.post(f"/tenants/{stranger}/oauth/{endpoint}", data={"token": "x"})
        assert answer.status_code == 404
        assert answer.json()["error"] == "invalid_request"


async def test_a_client_library_connects_after_the_consent(world: World, app: Any) -> None:
    began = int(time.time())
    token = await _connect(world, app)
    assert token["token_type"] == "Bearer"
    assert token["expires_in"] == 600
    assert token["scope"] == "points:read users:read"
    access_token = token["access_token"]
    header, claims = header_of(access_token), claims_of(access_token)
    assert set(header) == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    assert claims == {
        "iss": world.issuer,
        "aud": PUBLIC_URL,
        "sub": "api-user",
        "client_id": app.client_id,
        "scope": "points:read users:read",
        "tenant": world.tenant,
        "iat": claims["iat"],
        "exp": claims["iat"] + 600,
        "jti": claims["jti"],
    }
    assert began <= claims["iat"] <= time.time()
    (key,) = [key for key in await world.jwks() if key["kid"] == header["kid"]]
    verify_independently(access_token, key)


async def test_introspection_and_revocation_by_the_same_library(world: World, app: Any) -> None:
    metadata = await _discover(world)
    access_token = (await _connect(world, app))["access_token"]
    said = (await app.introspect_token(metadata["introspection_endpoint"], token=access_token)).json()
    assert said == {"active": True, "token_type": "Bearer", **claims_of(access_token)}
    for _ in range(2):
        ended = await app.revoke_token(metadata["revocation_endpoint"], token=access_token)
        assert ended.status_code == 200
    said = (await app.introspect_token(metadata["introspection_endpoint"], token=access_token)).json()
    assert said == {"active": False}


async def test_client_credentials_live_from_the_consent_alone(world: World, app: Any) -> None:
    metadata = await _discover(world)
    with pytest.raises(OAuthError, match="unauthorized_client"):
        await app.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    world.consent(app.client_id, "points:read", "users:read", subject="designated")
    token = await app.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope="points:read")
    assert (token["scope"], claims_of(token["access_token"])["sub"]) == ("points:read", "designated")
    with pytest.raises(OAuthError, match="invalid_scope"):
        await app.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope="tokens:stats")
    del world.onboarding.consents[world.tenant, app.client_id]
    with pytest.raises(OAuthError, match="unauthorized_client"):
        await app.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")


async def test_no_more_than_the_client_is_registered_for(world: World) -> None:
    client_id, secret = world.add_third_party(scopes=("points:read",))
    world.consent(client_id, "points:read", "users:write")
    answer = await world.oauth("token", auth=(client_id, secret), grant_type="client_credentials")
    assert body_of(answer, 200)["scope"] == "points:read"


async def test_an_own_client_gets_its_scopes_in_its_own_name(world: World) -> None:
    world.register.add(world.tenant, "points:read", "users:read", client_id="platform")
    (auth,) = [known for known in world.register.clients if known[0] == "platform"]
    body = body_of(await world.oauth("token", auth=auth, grant_type="client_credentials"), 200)
    assert body["scope"] == "points:read users:read"
    claims = claims_of(body["access_token"])
    assert claims["sub"] == claims["client_id"] == "platform"


@pytest.mark.parametrize("bound", [{"vendor_id": "shop"}, {"ip_allow_list": ("10.0.0.0/8",)}])
async def test_a_client_bound_to_a_vendor_or_addresses_keeps_to_basic(world: World, bound: dict[str, Any]) -> None:
    world.register.add(world.tenant, "points:redeem", client_id="bound", **bound)
    (auth,) = [known for known in world.register.clients if known[0] == "bound"]
    answer = await world.oauth("token", auth=auth, grant_type="client_credentials")
    assert body_of(answer, 400)["error"] == "unauthorized_client"


async def test_a_third_party_with_an_address_list_gets_no_token_that_gets_around_it(world: World) -> None:
    auth = world.add_third_party(scopes=("points:read",))
    world.consent(auth[0], "points:read")
    code = world.give_code(auth[0], None)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    free = world.register.clients[auth]
    world.register.clients[auth] = replace(free, ip_allow_list=("10.0.0.0/8",))
    for asked in ({"grant_type": "client_credentials"}, form):
        assert body_of(await world.oauth("token", auth=auth, **asked), 400)["error"] == "unauthorized_client"
    world.register.clients[auth] = free
    assert body_of(await world.oauth("token", auth=auth, **form), 200)["scope"] == "points:read"


async def test_a_client_outside_its_addresses_is_not_known(world: World) -> None:
    world.register.add(world.tenant, "points:redeem", client_id="bound", ip_allow_list=("192.0.2.0/24",))
    (auth,) = [known for known in world.register.clients if known[0] == "bound"]
    answer = await world.oauth("token", auth=auth, grant_type="client_credentials")
    assert body_of(answer, 401)["error"] == "invalid_client"


async def test_answers_stay_in_no_cache(world: World) -> None:
    client_id, secret = world.add_third_party()
    world.consent(client_id, "points:read")
    given = await world.oauth("token", auth=(client_id, secret), grant_type="client_credentials")
    token = given.json()["access_token"]
    answers = [
        given,
        await world.oauth("token", auth=(client_id, secret), grant_type="password"),
        await world.oauth("introspect", auth=(client_id, secret), token=token),
        await world.oauth("revoke", auth=(client_id, secret), token=token),
        await world.oauth("revoke", token=token),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 200, 200, 401]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["pragma"] == "no-cache" or answer.status_code == 401


async def test_a_third_partys_secret_opens_nothing_and_its_token_what_was_consented_to(world: World) -> None:
    client_id, secret = world.add_third_party(scopes=("points:redeem", "points:read"))
    world.consent(client_id, "points:redeem")
    await world.put_vendor(client_id)
    token = {"token": (await world.redirect(client_id))["token"]}
    refused = await world.client.post("/sso/v1/tokens/redeem", json=token, auth=(client_id, secret))
    assert refused.status_code == 403
    assert "access token" in refused.json()["detail"]
    given = await world.oauth("token", auth=(client_id, secret), grant_type="client_credentials")
    bearer = {"Authorization": f"Bearer {given.json()['access_token']}"}
    assert (await world.client.post("/sso/v1/tokens/redeem", json=token, headers=bearer)).status_code == 200
    body = {"user_id": world.user_id, "vendor_id": "shop"}
    answer = await world.client.post("/sso/v1/redirects", json=body, headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


async def test_a_third_party_is_given_no_scope_of_the_platforms_own_whatever_the_register_says(world: World) -> None:
    never = ("sso:admin", "sso:issue", "partner:handshake", "clients:admin")
    client_id, secret = world.add_third_party(scopes=(*never, "points:read"))
    world.consent(client_id, *never, "points:read")
    given = await world.oauth("token", auth=(client_id, secret), grant_type="client_credentials")
    assert given.json()["scope"] == "points:read"
    for scope in never:
        answer = await world.oauth("token", auth=(client_id, secret), grant_type="client_credentials", scope=scope)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    code = world.give_code(client_id, None)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    assert (await world.oauth("token", auth=(client_id, secret), **form)).json()["scope"] == "points:read"
    assert not set(never) & set((await _discover(world))["scopes_supported"])


async def test_everything_leaves_an_audit_row_and_never_the_token(world: World, app: Any) -> None:
    access_token = (await _connect(world, app))["access_token"]
    metadata = await _discover(world)
    auth = (app.client_id, app.client_secret)
    headers = {"X-Request-Id": "trace-me"}
    await app.introspect_token(metadata["introspection_endpoint"], token=access_token)
    await world.oauth("revoke", auth=auth, headers=headers, token=access_token)
    await world.oauth("introspect", auth=auth, token=access_token)
    await world.oauth("token", auth=(app.client_id, "wrong"), headers=headers, grant_type="client_credentials")
    rows = await _events(world)
    jti = claims_of(access_token)["jti"]
    assert [(row["event"], row["reason"], row["client_id"], row["subject"], row["jti"]) for row in rows] == [
        ("issued", None, app.client_id, "api-user", jti),
        ("introspected", None, app.client_id, "api-user", jti),
        ("revoked", None, app.client_id, "api-user", jti),
        ("introspected", "token_revoked", app.client_id, "api-user", jti),
        ("refused", "invalid_client", app.client_id, None, None),
    ]
    assert [row["request_id"] == "trace-me" for row in rows] == [False, False, True, False, True]
    assert (rows[0]["grant_type"], rows[0]["scope"]) == ("authorization_code", "points:read users:read")
    assert (rows[0]["consent_version"], rows[0]["kid"]) == (1, header_of(access_token)["kid"])
    for part in (*access_token.split("."), app.client_secret):
        assert part not in repr(rows)


async def test_the_audit_is_listed_newest_first_in_pages(world: World) -> None:
    auth, other = world.add_third_party(), world.add_third_party()
    world.consent(auth[0], "points:read")
    token = (await world.oauth("token", auth=auth, grant_type="client_credentials")).json()["access_token"]
    await world.oauth("revoke", auth=other, token=token)
    await world.oauth("introspect", auth=other, token=token)
    await world.oauth("token", auth=other, grant_type="client_credentials")
    seen: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
        page = body_of(await world.client.get("/sso/v1/authority-events", params=params, headers=world.admin), 200)
        seen += page["events"]
        cursor = page["next_cursor"]
    assert [(event["event"], event["reason"]) for event in seen] == [
        ("refused", "unauthorized_client"),
        ("introspected", "token_of_another_client"),
        ("refused", "unauthorized_client"),
        ("issued", None),
    ]
    assert seen[-1]["expires_at"].endswith(".000Z")

    async def count(**params: str) -> int:
        answer = await world.client.get("/sso/v1/authority-events", params=params, headers=world.admin)
        return len(body_of(answer, 200)["events"])

    assert (await count(client_id=auth[0]), await count(client_id=other[0]), await count(event="issued")) == (2, 3, 1)
    stranger = world.register.add("t-stranger", "sso:admin")
    answer = await world.client.get("/sso/v1/authority-events", headers=stranger)
    assert answer.json() == {"events": [], "next_cursor": None}
    refused = await world.client.get("/sso/v1/authority-events?cursor=x", headers=world.admin)
    assert refused.json()["code"] == "invalid_cursor"


async def test_without_its_audit_no_token_leaves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.errors import Unavailable
    from sso_issuer.authority import store

    client_id, secret = world.add_third_party()
    world.consent(client_id, "points:read")

    async def fail(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(store, "append_events", fail)
    answer = await world.oauth("token", auth=(client_id, secret), grant_type="client_credentials")
    assert answer.status_code == 503
    assert answer.json()["error"] == "temporarily_unavailable"
    assert "retry-after" in answer.headers
    assert "eyJ" not in answer.text


async def test_a_token_and_a_secret_never_reach_a_log(
    world: World, app: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    access_token = (await _connect(world, app))["access_token"]
    secret = secrets.token_urlsafe(32)
    for form in ({"token": access_token}, {"token": access_token, "client_id": "x", "client_secret": secret}):
        await world.oauth("introspect", **form)
    bearer = {"Authorization": f"Bearer {access_token}"}
    await world.client.get("/sso/v1/vendors", headers=bearer)
    logged = caplog.text + "".join(capfd.readouterr())
    assert '"subject": "api-user"' in logged
    for leaked in (access_token, access_token.rpartition(".")[2], secret, app.client_secret, VERIFIER):
        assert leaked not in logged
    for code in world.onboarding.codes:
        assert code not in logged
