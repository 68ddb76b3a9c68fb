"""What is asked of an authority wrongly: on the way to the consent, and in forms."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from platform_testing.issuer_world import REDIRECT_URI, World, body_of
from sso_issuer.tables import authority_events

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
Auth = tuple[str, str]


def _third_party(world: World, *scopes: str) -> Auth:
    auth = world.add_third_party()
    world.consent(auth[0], *(scopes or ("points:read", "users:read")))
    return auth


async def _refusals(world: World) -> list[str]:
    query = sa.select(authority_events.c.reason).filter_by(tenant=world.tenant, event="refused")
    async with world.database.connect() as connection:
        return list((await connection.execute(query.order_by(authority_events.c.happened_at))).scalars())


def _error(answer: httpx.Response, status: int = 400) -> str:
    body = body_of(answer, status)
    assert set(body) == {"error", "error_description", "request_id"}
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"
    error: str = body["error"]
    return error


# On the way to the consent


def _asked(client_id: str, **changed: str | None) -> dict[str, str]:
    params: dict[str, str | None] = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT_URI,
        "state": "s&t=1 ü",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return {name: value for name, value in (params | changed).items() if value is not None}


async def _authorize(world: World, params: Any, **headers: str) -> httpx.Response:
    return await world.client.get(f"/tenants/{world.tenant}/oauth/authorize", params=params, headers=headers)


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://evil.example/",
        REDIRECT_URI + "/",
        REDIRECT_URI.upper(),
        REDIRECT_URI + "&more=1",
        "https://app.example/",
        "",
        None,
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(world: World, redirect_uri: str | None) -> None:
    client_id, _ = _third_party(world)
    for broken in ({}, {"response_type": "token"}, {"code_challenge": None}):
        answer = await _authorize(world, _asked(client_id, redirect_uri=redirect_uri, **broken))
        assert _error(answer) == "invalid_request"
        assert "location" not in answer.headers


async def test_a_client_of_another_tenant_looks_like_none(world: World) -> None:
    stranger, _ = world.add_third_party(tenant="t-elsewhere")
    first_party, _ = world.add_third_party()
    world.onboarding.clients[first_party]["kind"] = "first_party"
    answers = [await _authorize(world, _asked(one)) for one in (stranger, "nobody", first_party, "a/b", "..")]
    assert {_error(answer) for answer in answers} == {"invalid_request"}
    assert len({answer.json()["error_description"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
    ],
)
async def test_what_is_asked_wrongly_is_told_to_the_client(
    world: World, changed: dict[str, str | None], error: str
) -> None:
    client_id, _ = _third_party(world)
    answer = await _authorize(world, _asked(client_id, **changed))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(REDIRECT_URI + "&")
    back = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (back["error"], back["state"], back["iss"]) == ([error], ["s&t=1 ü"], [world.issuer])


async def test_a_person_sees_a_page_and_twice_the_same_parameter_is_refused(world: World) -> None:
    client_id, _ = _third_party(world)
    page = await _authorize(world, _asked("nobody"), **{"Accept": "text/html", "Accept-Language": "de"})
    assert page.status_code == 400
    assert page.headers["content-type"].startswith("text/html")
    assert "Ungültige Anfrage" in page.text
    doubled = [*_asked(client_id).items(), ("redirect_uri", "https://evil.example/")]
    assert _error(await _authorize(world, doubled)) == "invalid_request"


@pytest.mark.parametrize("state", ["x" * 4096, "".join(map(chr, range(0x20, 0x7F))), " +%20&=#?/;", "ü€😀" * 1000])
async def test_a_state_goes_on_and_comes_back_exactly_as_it_was_sent(world: World, state: str) -> None:
    client_id, _ = _third_party(world)
    for changed, path in (({}, f"/setup/{client_id}"), ({"response_type": "token"}, urlsplit(REDIRECT_URI).path)):
        answer = await _authorize(world, _asked(client_id, state=state, **changed))
        assert answer.status_code == 303
        location = urlsplit(answer.headers["location"])
        assert location.path == path
        assert parse_qs(location.query, strict_parsing=True)["state"] == [state]


@pytest.mark.parametrize("state", ["x" * 4097, "a\u200bb", "a\u2028b"])
async def test_a_state_that_could_not_come_back_is_refused_here(world: World, state: str) -> None:
    client_id, _ = _third_party(world)
    answer = await _authorize(world, _asked(client_id, state=state))
    assert _error(answer) == "invalid_request"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_a_loopback_address_is_registered_for_every_port(world: World, host: str) -> None:
    client_id, _ = _third_party(world)
    world.onboarding.clients[client_id]["redirect_uris"] = [
        f"http://{host}/callback?app=1",
        f"http://{host}:8000/other",
    ]
    for good in (f"http://{host}:51004/callback?app=1", f"http://{host}/callback?app=1", f"http://{host}:1/other"):
        answer = await _authorize(world, _asked(client_id, redirect_uri=good))
        assert answer.headers["location"].startswith(f"/setup/{client_id}?")
        assert parse_qs(urlsplit(answer.headers["location"]).query)["redirect_uri"] == [good]
    for bad in (
        f"https://{host}:51004/callback?app=1",
        f"http://{host}:51004/callback",
        f"http://{host}:51004/callback?app=1&b=2",
        f"http://{host}:51004/other/",
        f"http://x@{host}:51004/other",
        f"http://{host}:99999/other",
        f"http://{host}.evil.example/other",
        "http://127.0.0.2:51004/other",
        "http://evil.example:51004/other",
    ):
        assert _error(await _authorize(world, _asked(client_id, redirect_uri=bad))) == "invalid_request"


async def test_a_port_is_free_on_loopback_addresses_alone(world: World) -> None:
    client_id, _ = _third_party(world)
    moved = REDIRECT_URI.replace("app.example", "app.example:8443")
    assert _error(await _authorize(world, _asked(client_id, redirect_uri=moved))) == "invalid_request"


async def test_metadata_is_found_where_either_specification_has_it(world: World) -> None:
    tenant = world.tenant
    paths = (
        f"/tenants/{tenant}/.well-known/openid-configuration",
        f"/.well-known/openid-configuration/tenants/{tenant}",
        f"/.well-known/oauth-authorization-server/tenants/{tenant}",
    )
    documents = [body_of(await world.client.get(path), 200) for path in paths]
    assert documents[0] == documents[1] == documents[2]
    assert documents[0]["authorization_response_iss_parameter_supported"] is True
    assert (await world.client.get("/.well-known/openid-configuration/tenants/t-nobody")).status_code == 404


# Forms


def _raw(body: str | bytes, content_type: str = "application/x-www-form-urlencoded") -> dict[str, Any]:
    return {"content": body, "headers": {"Content-Type": content_type}}


@pytest.mark.parametrize("endpoint", ["token", "introspect", "revoke"])
@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        (lambda: _raw("token=x&token=x&grant_type=client_credentials"), 400),
        (lambda: _raw("grant_type=client_credentials&grant_type=&token=x"), 400),
        (lambda: _raw("token=a%00b&grant_type=client_credentials"), 400),
        (lambda: _raw("token=%0d%0aX&grant_type=client_credentials"), 400),
        (lambda: _raw("token=%ff&grant_type=client_credentials"), 400),
        (lambda: _raw("token=\u00ff&grant_type=client_credentials"), 400),
        (lambda: _raw("&".join(f"p{n}=1" for n in range(60))), 400),
        (lambda: _raw(""), 400),
        (lambda: {"json": {"grant_type": "client_credentials", "token": "x"}}, 415),
        (lambda: {"files": {"token": b"x"}}, 415),
        (dict, 415),
        (lambda: _raw("token=x", "application/x-www-form-urlencoded; charset=utf-16"), 415),
        (lambda: _raw("token=" + "x" * 2_000_000), 413),
    ],
)
async def test_a_malformed_form_is_refused(
    world: World, endpoint: str, request_of: Callable[[], dict[str, Any]], status: int
) -> None:
    auth = _third_party(world)
    answer = await world.client.post(f"/tenants/{world.tenant}/oauth/{endpoint}", auth=auth, **request_of())
    assert _error(answer, status) == "invalid_request"
    assert len(await _refusals(world)) == 1


async def test_credentials_in_the_address_are_refused(world: World) -> None:
    client_id, secret = _third_party(world)
    path = f"/tenants/{world.tenant}/oauth/token?client_id={client_id}&client_secret={secret}"
    assert _error(await world.client.post(path, data={"grant_type": "client_credentials"})) == "invalid_request"


async def test_what_is_no_post_is_refused(world: World) -> None:
    for endpoint in ("token", "introspect", "revoke"):
        answer = await world.client.get(f"/tenants/{world.tenant}/oauth/{endpoint}")
        assert _error(answer, 405) == "invalid_request"
