"""Keys: sealed, rotated without breaking live tokens, known everywhere before they sign."""

import asyncio
import base64
import os
from collections.abc import Sequence
from datetime import timedelta

import pytest
from platform_testing.callers import FakeRegister
from platform_testing.serving import readiness, running
from shared.dependencies import provided
from shared.errors import Unavailable
from shared.sealing import Sealer, parse_key_encryption_keys
from sqlalchemy.ext.asyncio import AsyncConnection
from token_service.app import create_app
from token_service.clock import DatabaseClock
from token_service.housekeeping import Housekeeping
from token_service.keys import store
from token_service.keys.ring import KeyRing
from token_service.keys.sequences import Sequences
from token_service.keys.store import KeyRow

from .campaign_house import ORDER, House, refusal, until
from .conftest import MakeSettings


async def test_a_tenants_first_key_signs_at_once_and_for_all_processes(
    house: House, make_settings: MakeSettings, register: FakeRegister, campaign: dict[str, str], tenant: str
) -> None:
    async with running(create_app(make_settings(), register=register)) as client:
        other = House(house.app, client, campaign, tenant)
        # The other process has looked before there was a key.
        assert refusal(await other.verify("0" * 32)) == (403, "invalid_signature")
        tokens = await asyncio.gather(*(each.issue() for each in (house, other) for _ in range(20)))
        assert len(set(tokens)) == 40
        for token in tokens:
            assert (await other.verify(token)).status_code == 200
            assert (await house.verify(token)).status_code == 200
    keys = await house.fetch("SELECT number FROM token_service.keys WHERE tenant = :tenant", tenant=tenant)
    assert [key.number for key in keys] == [1]


async def test_a_new_key_waits_until_every_process_knows_it_and_breaks_no_live_token(house: House) -> None:
    ring: KeyRing = provided(house.app, KeyRing)
    before = await house.issue()
    added = await ring.rotate(house.tenant)
    assert added.number == 2
    assert timedelta(seconds=15) <= added.signs_from - added.created_at < timedelta(seconds=16)
    still = await house.issue()
    numbers = [(await ring.read_token(house.tenant, bytes.fromhex(token))) for token in (before, still)]
    assert [number[0] for number in numbers if number] == [1, 1]
    await ring.rotate(house.tenant, ahead=timedelta(0))
    after = await house.issue()
    read = await ring.read_token(house.tenant, bytes.fromhex(after))
    assert read is not None
    assert read[0] == 3
    for token in (before, still, after):
        assert (await house.verify(token)).status_code == 200


async def test_a_new_key_stays_known_when_a_reading_ends_that_began_before_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring: KeyRing = provided(house.app, KeyRing)
    await house.issue()
    has_read, may_end = asyncio.Event(), asyncio.Event()
    read_of = store.read_of

    async def read_slowly(connection: AsyncConnection, tenant: str) -> Sequence[KeyRow]:
        rows = await read_of(connection, tenant)
        if asyncio.current_task() is reading and tenant == house.tenant:
            has_read.set()
            await may_end.wait()
        return rows

    monkeypatch.setattr(store, "read_of", read_slowly)
    reading = asyncio.create_task(ring.refresh())
    await has_read.wait()
    await ring.rotate(house.tenant, ahead=timedelta(0))
    may_end.set()
    await reading
    assert ring.key(house.tenant, 2) is not None


async def test_a_key_of_another_process_is_read_before_it_signs(
    house: House, make_settings: MakeSettings, register: FakeRegister, campaign: dict[str, str], tenant: str
) -> None:
    await house.issue()
    other_app = create_app(make_settings(key_refresh_seconds=0.05), register=register)
    async with running(other_app) as client:
        other = House(other_app, client, campaign, tenant)
        ring: KeyRing = provided(other_app, KeyRing)
        await ring.signing_key(tenant)
        await provided(house.app, KeyRing).rotate(tenant)
        await until(lambda: ring.key(tenant, 2) is not None)
        assert (await other.verify(await house.issue())).status_code == 200


async def test_keys_that_could_not_be_read_for_long_prove_no_forgery(
    house: House, make_settings: MakeSettings, tenant: str
) -> None:
    now = [0.0]
    settings = make_settings()
    sealer = Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))
    ring = KeyRing(house.database, sealer, DatabaseClock(), ahead=timedelta(seconds=15), seconds=lambda: now[0])
    await house.issue()
    await ring.signing_key(tenant)
    await provided(house.app, KeyRing).rotate(tenant, ahead=timedelta(0))
    token = bytes.fromhex(await house.issue())
    # Within the time that a rotation leaves, nobody signs with a key that this process does not know.
    assert await ring.read_token(tenant, token) is None
    now[0] = 16.0
    read = await ring.read_token(tenant, token)
    assert read is not None
    assert read[0] == 2


async def test_keys_lie_sealed_and_open_only_with_their_key_encryption_key(
    house: House, make_settings: MakeSettings, register: FakeRegister, tenant: str
) -> None:
    token = await house.issue()
    rows = await house.fetch("SELECT sealed FROM token_service.keys WHERE tenant = :tenant", tenant=tenant)
    assert len(bytes(rows[0].sealed)) > 64
    stranger = make_settings(key_encryption_keys="1:" + base64.b64encode(os.urandom(32)).decode())
    async with running(create_app(stranger, register=register)) as client:
        answer = await client.post(f"/v1/tokens/{token}/verify", headers=house.headers)
        assert refusal(answer) == (503, "temporarily_unavailable")
        ready = await readiness(client)
        assert ready.status_code == 503
        assert ready.json()["checks"]["keys"] != "ok"


async def test_a_key_copied_to_another_tenant_does_not_open(house: House, register: FakeRegister, tenant: str) -> None:
    await house.issue()
    thief = register.add(f"{tenant}-x", "tokens:issue")
    await house.execute(
        "INSERT INTO token_service.keys SELECT :thief, number, sealed, next_sequence, created_at, signs_from,"
        " retired_at, changed_at FROM token_service.keys WHERE tenant = :tenant",
        thief=f"{tenant}-x",
        tenant=tenant,
    )
    answer = await house.client.post(
        "/v1/tokens",
        json={"base_url": "https://x.example", "customer_id": "c", "campaign_id": "k", "duration": 60},
        headers=thief,
    )
    assert answer.status_code == 503
    await house.execute("DELETE FROM token_service.keys WHERE tenant = :thief", thief=f"{tenant}-x")


async def test_numbers_are_never_given_twice(house: House, tenant: str) -> None:
    await house.issue()
    ring: KeyRing = provided(house.app, KeyRing)
    pools = [Sequences(house.database, ring) for _ in range(3)]
    taken = await asyncio.gather(*(pool.take(tenant, count) for count in (1, 7, 999, 1500) for pool in pools))
    numbers = [number for _, some in taken for number in some]
    assert len(numbers) == len(set(numbers)) == 3 * (1 + 7 + 999 + 1500)


async def test_a_key_without_numbers_left_refuses_instead_of_repeating(house: House, tenant: str) -> None:
    await house.issue()
    await house.execute("UPDATE token_service.keys SET next_sequence = 1099511627776 WHERE tenant = :t", t=tenant)
    with pytest.raises(Unavailable):
        await Sequences(house.database, provided(house.app, KeyRing)).take(tenant, 1)


async def test_keys_are_rotated_when_their_time_has_come_and_retired_when_nothing_of_theirs_is_left(
    house: House, make_settings: MakeSettings, tenant: str
) -> None:
    token = await house.issue()
    keys = "SELECT number, retired_at IS NOT NULL AS retired FROM token_service.keys WHERE tenant = :t ORDER BY 1"
    age = "UPDATE token_service.keys SET signs_from = signs_from - interval '400 days' WHERE tenant = :t"
    await house.execute(age, t=tenant)
    await provided(house.app, Housekeeping).keep_house()
    await provided(house.app, Housekeeping).keep_house()
    assert [tuple(key) for key in await house.fetch(keys, t=tenant)] == [(1, False), (2, False)]
    await house.execute(
        "UPDATE token_service.keys SET signs_from = signs_from - interval '2 days' WHERE tenant = :t", t=tenant
    )
    await provided(house.app, Housekeeping).keep_house()
    # The first still has a live token.
    assert [tuple(key) for key in await house.fetch(keys, t=tenant)] == [(1, False), (2, False)]
    assert (await house.verify(token)).status_code == 200
    await house.execute("DELETE FROM token_service.tokens WHERE tenant = :t", t=tenant)
    await provided(house.app, Housekeeping).keep_house()
    assert [tuple(key) for key in await house.fetch(keys, t=tenant)] == [(1, True), (2, False)]
    await provided(house.app, KeyRing).refresh()
    assert refusal(await house.verify(token)) == (403, "invalid_signature")


async def test_old_tokens_are_purged_and_campaigns_keep_their_statistics(house: House, tenant: str) -> None:
    old, young = await house.issue(campaign_id="old"), await house.issue(campaign_id="young")
    await house.verify(old)
    await house.tally.flush()
    await house.execute(
        "UPDATE token_service.tokens SET expires_at = now() - interval '91 days' WHERE tenant = :t AND uses > 0",
        t=tenant,
    )
    await provided(house.app, Housekeeping).keep_house()
    rows = await house.fetch("SELECT count(*) FROM token_service.tokens WHERE tenant = :t", t=tenant)
    assert rows[0][0] == 1
    assert (await house.verify(young)).status_code == 200
    assert (await house.get("/v1/campaigns/old/stats"))["verified"] == 1


async def test_the_age_of_the_keys_can_be_watched(house: House) -> None:
    """Of all tenants' keys it is the oldest that counts, and here that is this tenant's."""
    await house.issue()
    await house.execute(
        "UPDATE token_service.keys SET signs_from = signs_from - interval '1000 days' WHERE tenant = :t",
        t=house.tenant,
    )
    await provided(house.app, Housekeeping).tell_ages()
    assert 86_400_000 <= await _age(house) < 86_500_000
    # One that waits for its time does not sign yet.
    await provided(house.app, KeyRing).rotate(house.tenant)
    await provided(house.app, Housekeeping).tell_ages()
    assert await _age(house) >= 86_400_000
    await provided(house.app, KeyRing).rotate(house.tenant, ahead=timedelta(0))
    await provided(house.app, Housekeeping).tell_ages()
    assert await _age(house) < 86_400_000


async def _age(house: House) -> float:
    lines = (await house.client.get("/metrics")).text.splitlines()
    (age,) = [float(line.split()[1]) for line in lines if line.startswith("tokens_signing_key_age_seconds ")]
    return age


async def test_a_restored_database_gives_no_number_out_again(
    house: House, make_settings: MakeSettings, register: FakeRegister, campaign: dict[str, str], tenant: str
) -> None:
    """It knows less than was issued since: the process that draws numbers changes the key first, and says so."""
    before = await house.issue()
    restored = "UPDATE token_service.keys SET origin = 'another/1/5', next_sequence = 1 WHERE tenant = :tenant"
    await house.execute(restored, tenant=tenant)
    other_app = create_app(make_settings(), register=register)
    async with running(other_app) as client:
        other = House(other_app, client, campaign, tenant)
        provided(other_app, KeyRing).notice = timedelta(0)
        answer = await client.post("/v1/tokens", json=ORDER, headers=campaign)
        assert refusal(answer) == (503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        await other.issue()
        assert (await other.verify(before)).status_code == 200
    rows = await house.fetch(
        "SELECT key_number, sequence FROM token_service.tokens WHERE tenant = :tenant ORDER BY 1, 2", tenant=tenant
    )
    assert [tuple(row) for row in rows] == [(1, 1), (2, 1)]


async def test_keys_of_another_database_are_changed_before_anybody_asks(house: House, tenant: str) -> None:
    await house.issue()
    await house.execute("UPDATE token_service.keys SET origin = 'another/1/5' WHERE tenant = :tenant", tenant=tenant)
    await provided(house.app, Housekeeping).move_keys()
    await provided(house.app, Housekeeping).move_keys()
    rows = await house.fetch(
        "SELECT number, signs_from - created_at FROM token_service.keys WHERE tenant = :tenant ORDER BY 1",
        tenant=tenant,
    )
    assert [row[0] for row in rows] == [1, 2]
    assert timedelta(seconds=4) < rows[1][1] < timedelta(seconds=6)
