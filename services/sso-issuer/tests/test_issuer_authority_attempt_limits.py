"""A caller that guesses at an authority has to wait, and no other caller has."""

from typing import Any

import httpx
from platform_testing.issuer_world import REDIRECT_URI, World, body_of
from platform_testing.serving import PUBLIC_URL
from sso_issuer.settings import Settings

PER_NETWORK = Settings.model_fields["refused_requests_per_address"].default
PER_CLIENT = Settings.model_fields["refused_codes_per_client"].default


async def _from(world: World, ip_address: str, **form: Any) -> httpx.Response:
    """A request for a token from elsewhere."""
    transport = httpx.ASGITransport(world.app, client=(ip_address, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
        auth = form.pop("auth")
        return await client.post(f"/tenants/{world.tenant}/oauth/token", data=form, auth=auth)


async def test_whoever_cannot_prove_a_client_has_to_wait_and_others_have_not(world: World) -> None:
    good = world.add_third_party()
    world.consent(good[0], "points:read")
    grant = {"grant_type": "client_credentials"}
    for n in range(PER_NETWORK):
        wrong = (good[0], f"guess {n}") if n % 2 else (f"nobody-{n}", "x")
        assert (await world.oauth("token", auth=wrong, **grant)).status_code == 401
    written = await _refusals(world)
    for endpoint, form in {"token": grant, "introspect": {"token": "x"}, "revoke": {"token": "x"}}.items():
        answer = await world.oauth(endpoint, auth=(good[0], "one more guess"), **form)
        assert body_of(answer, 429)["error"] == "temporarily_unavailable"
        assert 0 < int(answer.headers["retry-after"]) <= 60
        # Who proves a client pays for nobody's guesses, from the same network or another one.
        assert (await world.oauth(endpoint, auth=good, **form)).status_code == 200
    assert (await _from(world, "2001:db8:1::1", auth=good, **grant)).status_code == 200
    # What is beyond the budget leaves no rows.
    assert await _refusals(world) == written == PER_NETWORK


async def _refusals(world: World) -> int:
    asked = {"limit": "200", "event": "refused"}
    listed = await world.client.get("/sso/v1/authority-events", params=asked, headers=world.admin)
    return len(listed.json()["events"])


async def test_browsers_with_a_made_up_client_bring_no_wait_to_clients_or_to_browsers_with_a_good_one(
    world: World,
) -> None:
    good = world.add_third_party()
    world.consent(good[0], "points:read")
    path = f"/tenants/{world.tenant}/oauth/authorize"
    for _ in range(PER_NETWORK):
        assert (await world.client.get(path, params={"client_id": "junk"})).status_code == 400
    assert (await world.client.get(path, params={"client_id": "junk"})).status_code == 429
    asked = {
        "client_id": good[0],
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "scope": "points:read",
        "state": "s",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    assert (await world.client.get(path, params=asked)).status_code == 303
    for endpoint, form in {"token": {"grant_type": "client_credentials"}, "introspect": {"token": "x"}}.items():
        assert (await world.oauth(endpoint, auth=good, **form)).status_code == 200
        assert (await world.oauth(endpoint, auth=(good[0], "wrong"), **form)).status_code == 401


async def test_behind_one_line_all_addresses_of_ipv6_are_one(world: World) -> None:
    wrong, grant = ("nobody", "x"), {"grant_type": "client_credentials"}
    for n in range(PER_NETWORK):
        assert (await _from(world, f"2001:db8:2:7::{n:x}", auth=wrong, **grant)).status_code == 401
    assert (await _from(world, "2001:db8:2:7:ffff::1", auth=wrong, **grant)).status_code == 429
    assert (await _from(world, "2001:db8:2:8::1", auth=wrong, **grant)).status_code == 401


async def test_a_client_that_guesses_codes_has_to_wait_with_guesses_and_not_with_a_good_code(world: World) -> None:
    """Anybody can post made-up codes to a third party's callback, which then brings them here."""
    guesser, other = world.add_third_party(), world.add_third_party()
    for client_id, _ in (guesser, other):
        world.consent(client_id, "points:read")
    code = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI}
    for n in range(PER_CLIENT):
        assert body_of(await world.oauth("token", auth=guesser, code=f"guess-{n}", **code), 400)["error"] == (
            "invalid_grant"
        )
    answer = await world.oauth("token", auth=guesser, code="one more guess", **code)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    good = world.give_code(guesser[0], None)
    assert (await world.oauth("token", auth=guesser, code=good, **code)).status_code == 200
    assert (await world.oauth("token", auth=guesser, grant_type="client_credentials")).status_code == 200
    good = world.give_code(other[0], None)
    assert (await world.oauth("token", auth=other, code=good, **code)).status_code == 200


async def test_trouble_of_the_platforms_own_is_counted_against_nobody(world: World) -> None:
    good = world.add_third_party()
    world.consent(good[0], "points:read")
    world.register.is_down = True
    for _ in range(PER_NETWORK + 1):
        assert (await world.oauth("token", auth=good, grant_type="client_credentials")).status_code == 503
    world.register.is_down = False
    assert (await world.oauth("token", auth=good, grant_type="client_credentials")).status_code == 200
