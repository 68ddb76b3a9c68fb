"""The inspector's page: a developer without a program sees what is wrong with a token, and nothing is given away."""

import base64
from typing import Any

import pytest
from platform_testing.issuer_world import World, claims_of, header_of
from platform_testing.serving import PUBLIC_URL

PATH = "/developers/inspect"
HERE = {"Sec-Fetch-Site": "same-origin", "Origin": PUBLIC_URL, "Accept": "text/html"}


def _fields(basic: dict[str, str], token: str) -> dict[str, str]:
    """The form, filled with what a client would send as Basic."""
    client_id, _, secret = base64.b64decode(basic["Authorization"].partition(" ")[2]).decode().partition(":")
    return {"client_id": client_id, "client_secret": secret, "token": token}


async def _post(world: World, fields: dict[str, str], **headers: str) -> Any:
    return await world.client.post(PATH, data=fields, headers=HERE | headers)


async def test_the_page_names_what_is_wrong_and_uses_nothing_up(world: World) -> None:
    await world.put_vendor()
    token = (await world.redirect())["token"]
    form = await world.client.get(PATH, headers=HERE)
    assert form.status_code == 200
    assert 'action="/developers/inspect"' in form.text
    fields = _fields(world.vendor_client("shop"), f" {token}\r\n")
    good = await _post(world, fields)
    assert good.status_code == 200
    assert 'data-verdict="good"' in good.text
    assert claims_of(token)["jti"] in good.text
    assert good.headers["cache-control"] == "no-store"
    assert fields["client_secret"] not in good.text
    assert (await world.redeem(token)).status_code == 200
    used = await _post(world, fields)
    assert 'data-verdict="bad"' in used.text
    assert "already_redeemed" in used.text


async def test_claims_of_another_vendors_token_stay_hidden(world: World) -> None:
    await world.put_vendor()
    await world.put_vendor("other")
    token = (await world.redirect())["token"]
    answer = await _post(world, _fields(world.vendor_client("other"), token))
    assert "wrong_audience" in answer.text
    assert header_of(token)["kid"] in answer.text
    # In the page it is only where the developer put it.
    assert claims_of(token)["userid"] not in answer.text
    assert claims_of(token)["jti"] not in answer.text


@pytest.mark.parametrize(("language", "words"), [("de", "Wir konnten das Token"), ("en", "We could not check")])
async def test_a_wrong_secret_is_refused_on_the_page(world: World, language: str, words: str) -> None:
    await world.put_vendor()
    fields = _fields(world.vendor_client("shop"), "a.b.c") | {"client_secret": "guessed"}
    answer = await _post(world, fields, **{"Accept-Language": language})
    assert answer.status_code == 401
    assert 'data-code="invalid_credentials"' in answer.text
    assert words in answer.text
    # A browser would open its own dialog.
    assert "www-authenticate" not in answer.headers


async def test_only_vendors_and_administrators_may_ask(world: World) -> None:
    fields = _fields(world.register.add(world.tenant, "points:read"), "a.b.c")
    answer = await _post(world, fields)
    assert answer.status_code == 403
    assert 'data-code="insufficient_scope"' in answer.text


@pytest.mark.parametrize("token", ["", "no token", "a.b", "e30.e30.", "\0", "x" * 5_000])
async def test_what_is_no_token_is_called_so(world: World, token: str) -> None:
    await world.put_vendor()
    answer = await _post(world, _fields(world.vendor_client("shop"), token))
    assert answer.status_code == 200
    assert 'data-verdict="bad"' in answer.text


async def test_another_site_cannot_post_the_form(world: World) -> None:
    answer = await world.client.post(PATH, data={}, headers={"Sec-Fetch-Site": "cross-site", "Accept": "text/html"})
    assert answer.status_code == 403
    assert "cross_site_request" in answer.text
