"""What an authority does not do for those who try: stolen, replayed, foreign, expired, forged, malformed."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from platform_testing.issuer_world import (
    REDIRECT_URI,
    World,
    assemble,
    body_of,
    claims_of,
    encode,
    header_of,
    hmac_sha256,
)
from platform_testing.serving import PUBLIC_URL
from shared.dependencies import provided
from shared.errors import Unavailable
from sso_issuer.authority import store
from sso_issuer.authority.service import Authority
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.service import Keys
from sso_issuer.tables import authority_events, keys, redeemed_codes, revoked_tokens, used_assertions
from starlette.responses import JSONResponse, Response

VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123"
CHALLENGE = encode(hashlib.sha256(VERIFIER.encode()).digest())
Auth = tuple[str, str]


def _third_party(world: World, *scopes: str) -> Auth:
    auth = world.add_third_party()
    world.consent(auth[0], *(scopes or ("points:read", "users:read")))
    return auth


async def _redeem(world: World, auth: Auth, given: str, **changed: str) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "code": given,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
    } | changed
    return await world.oauth("token", auth=auth, **{name: value for name, value in form.items() if value})


async def _token(world: World, auth: Auth, **form: str) -> str:
    answer = await world.oauth("token", auth=auth, grant_type="client_credentials", **form)
    token: str = body_of(answer, 200)["access_token"]
    return token


async def _is_active(world: World, auth: Auth, token: str) -> bool:
    said = body_of(await world.oauth("introspect", auth=auth, token=token), 200)
    assert said["active"] or said == {"active": False}
    return bool(said["active"])


async def _reasons(world: World, event: str) -> list[str | None]:
    query = sa.select(authority_events.c.reason).filter_by(tenant=world.tenant, event=event)
    async with world.database.connect() as connection:
        return list((await connection.execute(query.order_by(authority_events.c.happened_at))).scalars())


def _error(answer: httpx.Response, status: int = 400) -> str:
    body = body_of(answer, status)
    assert set(body) == {"error", "error_description", "request_id"}
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"
    error: str = body["error"]
    return error


# Codes


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"redirect_uri": "https://evil.example/"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_request"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"code_verifier": VERIFIER.upper()}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"code_verifier": CHALLENGE}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"code": "made-up"}, "invalid_grant"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_a_code_goes_with_all_that_it_was_asked_with(world: World, changed: dict[str, str], error: str) -> None:
    auth = _third_party(world)
    code = world.give_code(auth[0], CHALLENGE)
    assert _error(await _redeem(world, auth, code, **changed)) == error
    # A try without the code's own words has not spoilt it.
    assert (await _redeem(world, auth, code)).status_code == 200
    assert await _reasons(world, "refused") == [error]


async def test_a_code_without_a_challenge_goes_without_a_verifier_and_only_so(world: World) -> None:
    """If an attacker takes the challenge out of a client's link, the client still sends its verifier."""
    auth = _third_party(world)
    code = world.give_code(auth[0], None)
    assert _error(await _redeem(world, auth, code)) == "invalid_grant"
    assert (await _redeem(world, auth, code, code_verifier="")).status_code == 200


async def test_a_challenge_that_was_the_verifier_itself_is_of_no_use(world: World) -> None:
    auth = _third_party(world)
    code = world.give_code(auth[0], VERIFIER)
    assert _error(await _redeem(world, auth, code)) == "invalid_grant"


async def test_a_stolen_code_is_worth_nothing_to_another_client(world: World) -> None:
    auth, thief = _third_party(world), _third_party(world)
    code = world.give_code(auth[0], CHALLENGE)
    assert _error(await _redeem(world, thief, code)) == "invalid_grant"
    assert (await _redeem(world, auth, code)).status_code == 200


async def test_a_replayed_code_ends_what_it_gave(world: World) -> None:
    auth = _third_party(world)
    other = await _token(world, auth)
    code = world.give_code(auth[0], CHALLENGE)
    token = body_of(await _redeem(world, auth, code), 200)["access_token"]
    assert await _is_active(world, auth, token)
    assert _error(await _redeem(world, auth, code)) == "invalid_grant"
    assert not await _is_active(world, auth, token)
    assert await _is_active(world, auth, other)
    assert await _reasons(world, "revoked") == ["code_replayed"]


async def test_a_replay_that_could_not_be_written_counts_the_next_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = _third_party(world)
    code = world.give_code(auth[0], CHALLENGE)
    token = body_of(await _redeem(world, auth, code), 200)["access_token"]

    async def fail(*_: object) -> None:
        raise Unavailable

    with monkeypatch.context() as patched:
        patched.setattr(store, "append_events", fail)
        assert _error(await _redeem(world, auth, code), 503) == "temporarily_unavailable"
    assert await _is_active(world, auth, token)
    assert _error(await _redeem(world, auth, code)) == "invalid_grant"
    assert not await _is_active(world, auth, token)


async def test_a_replay_that_overtakes_leaves_no_token_either(world: World) -> None:
    """The register has told of the code, and before the first use is written the second is there."""
    auth = _third_party(world)
    code = world.give_code(auth[0], CHALLENGE)
    digest = hashlib.sha256(code.encode()).digest()
    audit = provided(world.app, Authority)._audit
    await audit.spoil_code(world.tenant, digest, client_id=auth[0], request_id="replay")
    assert _error(await _redeem(world, auth, code)) == "invalid_grant"
    assert await _reasons(world, "issued") == []
    assert await _reasons(world, "refused") == ["invalid_grant"]


async def test_of_many_uses_of_a_code_at_once_no_token_stays_good(world: World) -> None:
    auth = _third_party(world)
    code = world.give_code(auth[0], CHALLENGE)
    answers = await asyncio.gather(*(_redeem(world, auth, code) for _ in range(10)))
    given = [answer.json()["access_token"] for answer in answers if answer.status_code == 200]
    assert len(given) <= 1
    for token in given:
        assert not await _is_active(world, auth, token)


async def test_a_register_that_tells_of_a_code_twice_gives_one_token_at_most(world: World) -> None:
    auth = _third_party(world)
    code = world.give_code(auth[0], CHALLENGE)
    first = body_of(await _redeem(world, auth, code), 200)["access_token"]
    world.onboarding.codes[code]["used"] = False
    assert _error(await _redeem(world, auth, code)) == "invalid_grant"
    assert not await _is_active(world, auth, first)


async def test_a_code_of_another_tenant_is_none(world: World) -> None:
    auth = _third_party(world)
    code = world.give_code(auth[0], CHALLENGE)
    world.onboarding.codes[code]["given"]["tenant"] = "t-elsewhere"
    assert _error(await _redeem(world, auth, code)) == "invalid_grant"


# Clients and scopes


async def test_a_client_of_another_tenant_is_not_known(world: World) -> None:
    stranger = world.add_third_party(tenant="t-elsewhere")
    world.consent(stranger[0], "points:read")
    world.consent(stranger[0], "points:read", tenant="t-elsewhere")
    answer = await world.oauth("token", auth=stranger, grant_type="client_credentials")
    assert _error(answer, 401) == "invalid_client"
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    own = await world.oauth("token", "t-elsewhere", auth=stranger, grant_type="client_credentials")
    assert own.status_code == 200


@pytest.mark.parametrize("scope", ["users:write", "points:read users:write", "openid", "*", 'points:read "', "ü"])
async def test_a_scope_that_was_not_consented_to_is_refused(world: World, scope: str) -> None:
    auth = _third_party(world)
    answer = await world.oauth("token", auth=auth, grant_type="client_credentials", scope=scope)
    assert _error(answer) == "invalid_scope"


async def test_a_consent_to_nothing_that_the_client_may_have_is_no_token(world: World) -> None:
    auth = _third_party(world, "users:write")
    answer = await world.oauth("token", auth=auth, grant_type="client_credentials")
    assert _error(answer) == "invalid_scope"


# Tokens


async def test_a_withdrawn_smaller_or_handed_over_consent_ends_tokens(world: World) -> None:
    auth = _third_party(world)
    token = await _token(world, auth)
    narrow = await _token(world, auth, scope="points:read")
    world.consent(auth[0], "points:read", "users:read", "tokens:stats", version=2)
    assert await _is_active(world, auth, token)
    world.consent(auth[0], "points:read", version=3)
    assert (await _is_active(world, auth, token), await _is_active(world, auth, narrow)) == (False, True)
    world.consent(auth[0], "points:read", version=4, subject="somebody-else")
    assert not await _is_active(world, auth, narrow)
    world.consent(auth[0], "points:read", "users:read", version=0)
    assert not await _is_active(world, auth, token)
    del world.onboarding.consents[world.tenant, auth[0]]
    assert not await _is_active(world, auth, token)
    # Withdrawn, and given anew: what the withdrawal has ended stays ended.
    world.consent(auth[0], "points:read", "users:read", version=6, since_version=6)
    assert not await _is_active(world, auth, token)
    assert await _is_active(world, auth, await _token(world, auth))
    assert await _reasons(world, "introspected") == [
        None,
        "scope_withdrawn",
        None,
        "user_replaced",
        "consent_replaced",
        "consent_withdrawn",
        "consent_withdrawn",
        None,
    ]


async def test_a_disabled_clients_tokens_end(world: World) -> None:
    auth = _third_party(world)
    watcher = world.add_third_party()
    world.register.add(world.tenant, "points:read", client_id="platform")
    (platform,) = [known for known in world.register.clients if known[0] == "platform"]
    own_client = {"client_id": "platform", "tenant": world.tenant, "kind": "first_party", "scopes": ["points:read"]}
    world.onboarding.clients["platform"] = own_client
    token, own = await _token(world, auth), await _token(world, platform)
    assert await _is_active(world, platform, token)
    assert await _is_active(world, platform, own)
    # Another third party is told nothing.
    assert not await _is_active(world, watcher, token)
    del world.onboarding.clients[auth[0]]
    world.onboarding.clients["platform"] = own_client | {"scopes": []}
    # The register says it twice: of one who asks, and of one who is asked about.
    world.register.clients[platform] = replace(world.register.clients[platform], scopes=frozenset())
    world.register.add(world.tenant, client_id="auditor")
    (auditor,) = [known for known in world.register.clients if known[0] == "auditor"]
    assert not await _is_active(world, platform, token)
    assert not await _is_active(world, auditor, own)
    assert not await _is_active(world, platform, own)
    world.onboarding.clients["platform"] = own_client
    assert await _is_active(world, auditor, own)
    del world.onboarding.clients["platform"]
    assert not await _is_active(world, auditor, own)


async def test_introspection_never_guesses(world: World) -> None:
    auth = _third_party(world)
    token = await _token(world, auth)
    for trouble in (Response("down", 503), JSONResponse({"code": "not_found"}, 404), Response("<html>", 200)):
        world.onboarding.answer = lambda trouble=trouble: trouble
        answer = await world.oauth("introspect", auth=auth, token=token)
        assert _error(answer, 503) == "temporarily_unavailable"
        assert "retry-after" in answer.headers


async def test_an_expired_token_is_not_good(world: World) -> None:
    auth = _third_party(world)
    token = await _token(world, auth)
    key = await provided(world.app, Keys).signing_key(world.tenant, Algorithm.ES256)
    now = int(datetime.now(UTC).timestamp())
    expired = key.sign(claims_of(token) | {"iat": now - 600, "exp": now - 1}, "at+jwt")
    assert not await _is_active(world, auth, expired)
    # Ending it is no error: it has ended.
    assert (await world.oauth("revoke", auth=auth, token=expired)).status_code == 200
    assert await _reasons(world, "introspected") == ["token_expired"]


async def _forgeries(world: World, auth: Auth, token: str) -> dict[str, str]:
    header, claims = header_of(token), claims_of(token)
    key = await provided(world.app, Keys).signing_key(world.tenant, Algorithm.ES256)
    other = await provided(world.app, Keys).signing_key("t-elsewhere", Algorithm.ES256)
    (public,) = [jwk for jwk in await world.jwks() if jwk["kid"] == header["kid"]]

    def signed(typ: str = "at+jwt", by: Any = key, **changed: Any) -> str:
        forged: str = by.sign(claims | changed, typ)
        return forged

    return {
        "another tenant's key": signed(by=other),
        "another tenant's authority": signed(iss=f"{PUBLIC_URL}/tenants/t-elsewhere", tenant="t-elsewhere"),
        "another audience": signed(aud="https://shop.example"),
        "another type": signed("JWT"),
        "no type": assemble({"alg": "ES256", "kid": header["kid"]}, claims, lambda _: b"x" * 64),
        "the future": signed(iat=claims["iat"] + 3600, exp=claims["exp"] + 3600),
        "never issued": signed(jti="made-up"),
        "more scope": signed(scope="points:read users:read clients:admin"),
        "another user": signed(sub="admin"),
        "another client": signed(client_id="platform"),
        "a longer life": signed(exp=claims["exp"] + 1),
        "no jti": signed(jti=None),
        "an odd jti": signed(jti="\0"),
        "unsigned": assemble({**header, "alg": "none"}, claims, lambda _: b""),
        "the public key as a secret": assemble({**header, "alg": "HS256"}, claims, hmac_sha256(public["x"].encode())),
        "crit": assemble({**header, "crit": ["exp"]}, claims, lambda _: b"x" * 64),
        "altered": token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB"),
        "no token": "x",
        "too long": "a." * 5000,
        "a token for a vendor": (await world.redirect())["token"],
    }


async def test_nothing_but_what_was_issued_is_good(world: World) -> None:
    auth = _third_party(world)
    await world.put_vendor()
    token = await _token(world, auth)
    for name, forged in (await _forgeries(world, auth, token)).items():
        assert not await _is_active(world, auth, forged), name
        assert (await world.oauth("revoke", auth=auth, token=forged)).status_code == 200, name
    assert await _is_active(world, auth, token)


async def test_a_token_is_ended_by_its_own_client_or_the_tenants_administration(world: World) -> None:
    auth, thief = _third_party(world), _third_party(world)
    token = await _token(world, auth)
    assert _error(await world.oauth("revoke", auth=thief, token=token)) == "unauthorized_client"
    assert await _is_active(world, auth, token)
    world.register.add(world.tenant, "sso:admin", client_id="administration")
    (admin,) = [known for known in world.register.clients if known[0] == "administration"]
    assert (await world.oauth("revoke", auth=admin, token=token)).status_code == 200
    assert not await _is_active(world, auth, token)


async def test_a_key_that_has_leaked_takes_its_access_tokens_along(world: World) -> None:
    auth = _third_party(world)
    token = await _token(world, auth)
    wish = {"immediately": True, "revoke_former": True}
    assert (await world.client.post("/sso/v1/keys/rotate", json=wish, headers=world.admin)).status_code == 201
    assert not await _is_active(world, auth, token)
    assert await _is_active(world, auth, await _token(world, auth))


async def test_what_has_run_out_is_forgotten_and_the_audit_stays(world: World) -> None:
    auth = _third_party(world)
    code = world.give_code(auth[0], CHALLENGE)
    token = body_of(await _redeem(world, auth, code), 200)["access_token"]
    await world.oauth("revoke", auth=auth, token=token)
    counted = [sa.select(sa.func.count()).where(t.c.tenant == world.tenant) for t in (revoked_tokens, redeemed_codes)]
    audited = sa.select(sa.func.count()).where(authority_events.c.tenant == world.tenant)

    async def counts() -> list[int | None]:
        async with world.database.connect() as connection:
            return [await connection.scalar(query) for query in (*counted, audited)]

    await provided(world.app, Authority).forget_expired()
    assert await counts() == [1, 1, 2]
    async with world.database.begin() as connection:
        for table, end in ((revoked_tokens, "expires_at"), (redeemed_codes, "forget_at")):
            await connection.execute(sa.update(table).values({end: sa.func.now() - timedelta(seconds=1)}))
    await provided(world.app, Authority).forget_expired()
    assert await counts() == [0, 0, 2]


async def test_the_database_refuses_what_must_not_be_in_the_audit(world: World) -> None:
    now = datetime.now(UTC)
    row = {
        "tenant": world.tenant,
        "event_id": "one",
        "event": "issued",
        "client_id": "app",
        "subject": "api-user",
        "jti": "jti",
        "grant_type": "client_credentials",
        "scope": "points:read",
        "kid": "kid",
        "request_id": "r",
        "happened_at": now,
        "expires_at": now + timedelta(seconds=600),
    }
    async with world.database.begin() as connection:
        await connection.execute(sa.insert(authority_events).values(row))
    for wrong, constraint in (
        ({"event_id": "two"}, "authority_events_issued"),
        ({"event_id": "two", "jti": "two", "subject": None}, "authority_events_issued_check"),
        ({"event_id": "two", "jti": "two", "expires_at": now + timedelta(seconds=601)}, "lifetime_check"),
        ({"event_id": "two", "jti": "two", "event": "refused"}, "refused_check"),
        ({"event_id": "two", "jti": "two", "event": "other"}, "event_check"),
    ):
        with pytest.raises(sa.exc.IntegrityError, match=constraint):
            async with world.database.begin() as connection:
                await connection.execute(sa.insert(authority_events).values(row | wrong))


def test_the_authoritys_tables_begin_with_the_tenant() -> None:
    for table in (authority_events, revoked_tokens, redeemed_codes, used_assertions, keys):
        assert next(iter(table.primary_key.columns)).name == "tenant"
