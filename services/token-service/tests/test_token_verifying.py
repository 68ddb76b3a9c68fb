"""Verifying: every refusal told apart, forgeries without the database, and uses exact in a race."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from platform_testing.callers import FakeRegister
from platform_testing.serving import running
from shared.dependencies import provided
from token_service.app import create_app
from token_service.housekeeping import Housekeeping
from token_service.keys.ring import KeyRing
from token_service.tokens.format import Plain, expiry_minute_of

from .campaign_house import ORDER, House, flipped, refusal
from .conftest import MakeSettings


async def test_each_verification_counts_and_a_look_does_not(house: House) -> None:
    token = await house.issue()
    for uses in (1, 2, 3):
        assert (await house.verify(token)).json()["uses"] == uses
        assert (await house.look(token)).json()["uses"] == uses
    await house.tally.flush()
    assert (await house.look(token)).json()["uses"] == 3
    assert (await house.verify(token)).json()["uses"] == 4


async def test_a_look_gives_the_same_as_verifying(house: House) -> None:
    for max_uses in (None, 5):
        token = await house.issue(max_uses=max_uses)
        looked, verified = (await house.look(token)).json(), (await house.verify(token)).json()
        assert (looked.pop("state"), looked.pop("revoked_at")) == ("unused", None)
        assert looked | {"uses": 1} == verified


@pytest.mark.parametrize(
    "text",
    ["x", "0" * 31, "0" * 33, "G" * 32, "2548A499367F4C2F87FD4873A97A6FF6", "0" * 31 + "é", "%00" * 32, "0" * 10_000],
)
async def test_malformed_tokens(house: House, text: str) -> None:
    assert refusal(await house.verify(text)) == (400, "malformed_token")
    assert refusal(await house.look(text)) == (400, "malformed_token")


async def test_every_flipped_bit_is_an_invalid_signature(house: House) -> None:
    token = await house.issue()
    for bit in range(128):
        answer = await house.verify(flipped(token, bit))
        assert refusal(answer) == (403, "invalid_signature")
        assert answer.json()["detail"] == "invalid signature"
    assert (await house.verify(token)).json()["uses"] == 1


async def test_an_expired_token(house: House) -> None:
    token = await house.issue(duration=1)
    # The token's own minute is not over yet: here the row tells.
    async with house.database.transaction() as connection:
        await connection.exec_driver_sql("SELECT pg_sleep(1.1)")
    answer = await house.verify(token)
    assert refusal(answer) == (403, "token_expired")
    assert answer.json()["detail"] == "token expired"
    assert refusal(await house.look(token)) == (403, "token_expired")


async def test_a_revoked_token(house: House) -> None:
    token = await house.issue()
    revoked = await house.client.delete(f"/v1/tokens/{token}", headers=house.headers)
    assert revoked.status_code == 200
    assert refusal(await house.verify(token)) == (403, "token_revoked")
    assert refusal(await house.look(token)) == (403, "token_revoked")
    again = await house.client.delete(f"/v1/tokens/{token}", headers=house.headers)
    assert again.json() == revoked.json()


async def test_a_token_before_its_time(house: House) -> None:
    token = await house.issue(duration="P365D", not_before="2027-01-01T00:00:00Z")
    answer = await house.verify(token)
    assert refusal(answer) == (403, "token_not_yet_valid")
    assert answer.json()["not_before"] == "2027-01-01T00:00:00.000Z"


async def test_a_used_up_token(house: House) -> None:
    token = await house.issue(max_uses=2)
    assert [(await house.verify(token)).status_code for _ in range(3)] == [200, 200, 409]
    assert refusal(await house.verify(token)) == (409, "token_used_up")
    assert refusal(await house.look(token)) == (409, "token_used_up")


async def test_a_token_whose_row_is_gone(house: House) -> None:
    token = await house.issue()
    await house.execute("DELETE FROM token_service.tokens WHERE tenant = :tenant", tenant=house.tenant)
    assert refusal(await house.verify(token)) == (404, "token_not_found")
    assert refusal(await house.look(token)) == (404, "token_not_found")


async def test_another_tenants_token_is_no_token_at_all(house: House, register: FakeRegister) -> None:
    token = await house.issue()
    stranger = register.add(f"{house.tenant}-x", "tokens:issue", "tokens:verify", "tokens:stats")
    # Also when the stranger has keys of its own.
    await house.client.post("/v1/tokens", json=ORDER, headers=stranger)
    for method, path in (("POST", "/verify"), ("GET", ""), ("DELETE", ""), ("GET", "/stats"), ("GET", "/qr.svg")):
        answer = await house.client.request(method, f"/v1/tokens/{token}{path}", headers=stranger)
        assert refusal(answer) == (403, "invalid_signature")


async def test_forged_malformed_and_expired_tokens_ask_no_database(house: House) -> None:
    token = await house.issue()
    expired = await _expired_token(house)
    with house.counted_connections() as connections:
        assert refusal(await house.verify("nonsense")) == (400, "malformed_token")
        assert refusal(await house.verify(flipped(token, 5))) == (403, "invalid_signature")
        assert refusal(await house.verify(expired)) == (403, "token_expired")
        assert refusal(await house.look(flipped(token, 100))) == (403, "invalid_signature")
        assert refusal(await house.look(expired)) == (403, "token_expired")
        assert not connections
        assert (await house.verify(token)).status_code == 200
        assert connections


async def _expired_token(house: House) -> str:
    """One whose minute is over: made as the service would have made it, two hours ago."""
    await house.issue()
    key = await provided(house.app, KeyRing).signing_key(house.tenant)
    return str(key.mint(Plain(4711, expiry_minute_of(datetime.now(UTC) - timedelta(hours=1)))))


async def test_the_answer_to_an_expired_token_is_the_same_before_and_after_its_row_is_purged(house: House) -> None:
    expired = await _expired_token(house)
    before = await house.verify(expired)
    await provided(house.app, Housekeeping).keep_house()
    assert refusal(await house.verify(expired)) == refusal(before) == (403, "token_expired")


async def test_max_uses_is_exact_when_two_hundred_come_at_once(
    house: House, make_settings: MakeSettings, register: FakeRegister
) -> None:
    """Through two processes' worth of service, so that not only one line of commands is at work."""
    token = await house.issue(max_uses=7)
    async with running(create_app(make_settings(), register=register)) as other:
        answers = await asyncio.gather(
            *(
                client.post(f"/v1/tokens/{token}/verify", headers=house.headers)
                for _ in range(100)
                for client in (house.client, other)
            )
        )
    good = [answer.json()["uses"] for answer in answers if answer.status_code == 200]
    assert sorted(good) == [1, 2, 3, 4, 5, 6, 7]
    assert {refusal(answer) for answer in answers if answer.status_code != 200} == {(409, "token_used_up")}
    statistics = await house.get(f"/v1/tokens/{token}/stats")
    assert statistics["verified"] == 7
    assert (await house.fetch("SELECT uses FROM token_service.tokens WHERE tenant = :t", t=house.tenant))[0][0] == 7


async def test_a_use_is_durable_before_it_is_answered(house: House) -> None:
    token = await house.issue(max_uses=2)
    await house.verify(token)
    rows = await house.fetch("SELECT uses FROM token_service.tokens WHERE tenant = :tenant", tenant=house.tenant)
    assert rows[0].uses == 1


async def test_revoking_is_effective_at_once_in_every_process(
    house: House, make_settings: MakeSettings, register: FakeRegister
) -> None:
    async with running(create_app(make_settings(), register=register)) as other:
        for path in ("/v1/tokens/{token}", "/v1/campaigns/spring/tokens"):
            token = await house.issue()
            before = await other.post(f"/v1/tokens/{token}/verify", headers=house.headers)
            assert before.status_code == 200
            await house.client.delete(path.format(token=token), headers=house.headers)
            after = await other.post(f"/v1/tokens/{token}/verify", headers=house.headers)
            assert refusal(after) == (403, "token_revoked")


async def test_an_edited_row_is_noticed(house: House) -> None:
    for column, value in (
        ("customer_id", "'somebody-else'"),
        ("attributes", "replace(attributes, '5', '9')"),
        ("product_id", "'gold'"),
        ("max_uses", "1000"),
        ("not_before", "NULL"),
        ("expires_at", "expires_at + interval '1 microsecond'"),
        ("issued_at", "issued_at - interval '1 day'"),
        ("mac", "'\\x00000000000000000000000000000000'"),
    ):
        token = await house.issue(
            attributes={"discount": 5}, product_id="tin", max_uses=9, not_before="2026-01-01T00:00:00Z"
        )
        assert (await house.look(token)).status_code == 200
        await house.execute(
            f"UPDATE token_service.tokens SET {column} = {value} WHERE tenant = :tenant",  # noqa: S608 — as above
            tenant=house.tenant,
        )
        assert refusal(await house.verify(token)) == (403, "invalid_signature"), column
        await house.execute("DELETE FROM token_service.tokens WHERE tenant = :tenant", tenant=house.tenant)


async def test_a_row_of_the_same_number_after_a_restored_backup_is_not_this_token(house: House) -> None:
    token = await house.issue(duration=3600)
    await house.execute(
        "UPDATE token_service.tokens SET expires_at = expires_at + interval '1 day' WHERE tenant = :tenant",
        tenant=house.tenant,
    )
    assert refusal(await house.verify(token)) == (404, "token_not_found")


async def test_the_same_key_verifies_once(house: House) -> None:
    token = await house.issue(max_uses=1)
    first = await house.verify(token, key="click-1")
    again = await house.verify(token, key="click-1")
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    refused, repeated = [await house.verify(token, key="click-2") for _ in range(2)]
    assert refusal(refused) == refusal(repeated) == (409, "token_used_up")
    assert repeated.headers["idempotency-replayed"] == "true"
    assert refusal(await house.verify(token, {"method": "GET"}, key="click-1")) == (409, "idempotency_key_reused")
    assert (await house.get(f"/v1/tokens/{token}/stats"))["verified"] == 1


async def test_a_refusal_that_time_will_lift_is_not_kept_under_a_key(house: House) -> None:
    token = await house.issue(duration="P365D", not_before="2027-01-01T00:00:00Z")
    for _ in range(2):
        answer = await house.verify(token, key="early")
        assert refusal(answer) == (403, "token_not_yet_valid")
        assert "idempotency-replayed" not in answer.headers


@pytest.mark.parametrize(
    "body", [{"x": 1}, {"user_agent": 5}, {"address": "nowhere"}, {"address": 16909060}, {"method": "G" * 33}, [1]]
)
async def test_malformed_visits(house: House, body: Any) -> None:
    token = await house.issue()
    assert refusal(await house.verify(token, body)) == (400, "malformed_request")
    assert (await house.look(token)).json()["uses"] == 0


async def test_qr_codes_of_the_link(house: House) -> None:
    token = await house.issue()
    svg = await house.client.get(f"/v1/tokens/{token}/qr.svg", headers=house.headers)
    assert svg.headers["content-type"] == "image/svg+xml"
    assert f"{ORDER['base_url']}/{token}" in svg.text
    png = await house.client.get(f"/v1/tokens/{token}/qr.png", headers=house.headers)
    assert png.headers["content-type"] == "image/png"
    assert png.content.startswith(b"\x89PNG")
    assert (await house.look(token)).json()["uses"] == 0


async def test_bad_signatures_are_slowed_down_and_good_tokens_are_not(
    make_settings: MakeSettings, register: FakeRegister, campaign: dict[str, str], tenant: str
) -> None:
    settings = make_settings(bad_signatures_per_credential=5, bad_signatures_per_address=1000)
    app: FastAPI = create_app(settings, register=register)
    async with running(app) as client:
        house = House(app, client, campaign, tenant)
        token = await house.issue()
        for _ in range(20):
            assert (await house.verify(token)).status_code == 200
            assert refusal(await house.verify("short")) == (400, "malformed_token")
        answers = [await house.verify(flipped(token, bit)) for bit in range(7)]
        assert [answer.status_code for answer in answers] == [403] * 5 + [429] * 2
        assert answers[-1].json()["code"] == "too_many_bad_signatures"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
        assert (await house.verify(token)).status_code == 200
        metrics = (await client.get("/metrics")).text
        assert 'tokens_guess_budgets_exhausted_total{budget="credential"}' in metrics
        assert "tokens_bad_signatures_total" in metrics


async def test_a_visitor_who_guesses_is_slowed_down_and_shuts_nobody_out(
    make_settings: MakeSettings, register: FakeRegister, campaign: dict[str, str], tenant: str
) -> None:
    app = create_app(make_settings(bad_signatures_per_address=3), register=register)
    async with running(app) as client:
        house = House(app, client, campaign, tenant)
        token = await house.issue()
        guesser, other = {"address": "203.0.113.7"}, {"address": "2001:db8::1"}
        answers = [await house.verify(flipped(token, bit), guesser) for bit in range(5)]
        assert [answer.status_code for answer in answers] == [403] * 3 + [429] * 2
        # The same address may be that of a whole network, in which others have good links.
        assert (await house.verify(token, guesser)).status_code == 200
        assert refusal(await house.verify(flipped(token, 9), other)) == (403, "invalid_signature")
        assert (await house.verify(token, other)).status_code == 200
