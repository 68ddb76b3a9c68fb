"""The code that a consent gives: for whom, for how long, and how often it is good."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from .integration_partner import CALLBACK, consented_code, link, random_verifier, redeem, sign_in_as, third_party
from .onboarding_house import House


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_verifier": random_verifier()},
        {"code_verifier": "short"},
        {"redirect_uri": CALLBACK.partition("?")[0]},
        {"client_id": "nobody"},
        {"client_id": "\x00"},
        {"code": "x" * 43},
        {"code": ""},
    ],
)
async def test_a_code_is_good_only_for_the_request_it_was_given_to(house: House, wrong: dict[str, str]) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    told: dict[str, Any] = {"client_id": client_id, "code": code} | wrong
    refused = await redeem(house, **told)
    assert (refused.status_code, refused.json()["code"]) == (404, "invalid_grant")
    assert "replayed" not in refused.json()
    assert (await redeem(house, client_id, code)).status_code == 200


async def test_a_link_may_go_without_pkce_and_then_the_code_goes_without_a_verifier(house: House) -> None:
    """A client that redeems a code shows its own credentials. A verifier for such a code means that somebody has
    taken the challenge out of the link; a code with a challenge never goes without one."""
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    bare = await consented_code(house, client_id, link(code_challenge=None, code_challenge_method=None))
    assert (await redeem(house, client_id, bare)).status_code == 404
    assert (await redeem(house, client_id, bare, code_verifier=None)).status_code == 200
    whole = await consented_code(house, client_id)
    assert (await redeem(house, client_id, whole, code_verifier=None)).status_code == 404
    assert (await redeem(house, client_id, whole)).status_code == 200


async def test_another_client_cannot_redeem_the_code(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id, other = await third_party(house), await third_party(house)
    await consented_code(house, other)
    code = await consented_code(house, client_id)
    assert (await redeem(house, other, code)).status_code == 404
    assert (await redeem(house, client_id, code)).status_code == 200


async def test_a_code_is_good_for_a_minute(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    async with house.register.database.transaction() as connection:
        ends = "SELECT expires_at - now() <= interval '60 s' FROM partner_onboarding.authorization_codes"
        where = " WHERE client_id = :client_id"
        assert (await connection.execute(text(ends + where), {"client_id": client_id})).scalar_one()
        late = "UPDATE partner_onboarding.authorization_codes SET expires_at = now() - interval '1 ms'"
        await connection.execute(text(late + where), {"client_id": client_id})
    assert (await redeem(house, client_id, code)).status_code == 404


async def test_of_many_who_redeem_at_once_one_succeeds(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    answers = await asyncio.gather(*(redeem(house, client_id, code) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404, 404, 404]
    assert all(answer.json()["replayed"] for answer in answers if answer.status_code == 404)
