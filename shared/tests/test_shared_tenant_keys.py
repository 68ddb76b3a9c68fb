"""The keys of tenants: a new one is found, a revoked one refused, and known ones serve on while the issuer is away."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from platform_testing.callers import FakeRegister
from platform_testing.serving import PUBLIC_URL
from shared.bounded import Bounded
from shared.callers import Callers
from shared.errors import Refusal, Unavailable
from shared.jwks import FRESH_SECONDS, STALE_SECONDS, TenantKeys
from shared.jwt import SigningKey
from shared.problems import headers_of
from shared.proxies import ProxyTrust

from shared import jwks

from .clocks import Clock
from .forging import ec_key, private_jwk
from .token_issuer import NOW, Issuer, ask, claims, let_run, refused


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> TenantKeys:
    return TenantKeys(issuer, clock=clock, pace_seconds=0)


@pytest.fixture
def callers(keys: TenantKeys, monkeypatch: pytest.MonkeyPatch) -> Callers:
    monkeypatch.setattr("time.time", lambda: float(NOW))
    return Callers(FakeRegister(), keys=keys, public_url=PUBLIC_URL, proxies=ProxyTrust([]))


async def test_a_new_key_is_found_whatever_anybody_has_asked_before(callers: Callers, issuer: Issuer) -> None:
    old = issuer.add_key("demo", "k1")
    await ask(callers, old.sign(claims(), "at+jwt"))
    made_up = SigningKey.from_jwk(private_jwk(ec_key(), "made-up"))
    assert await refused(callers, made_up.sign(claims(), "at+jwt")) == "unknown_key"
    new = issuer.add_key("demo", "k2")
    assert await ask(callers, new.sign(claims(), "at+jwt"))
    assert await ask(callers, old.sign(claims(), "at+jwt"))


async def test_a_fetch_that_read_before_the_key_was_there_refuses_nobody(callers: Callers, issuer: Issuer) -> None:
    old = issuer.add_key("demo", "k1")
    await ask(callers, old.sign(claims(), "at+jwt"))
    made_up = SigningKey.from_jwk(private_jwk(ec_key(), "made-up"))
    issuer.let_go.clear()
    guess = asyncio.create_task(refused(callers, made_up.sign(claims(), "at+jwt")))
    await let_run()
    new = issuer.add_key("demo", "k2")
    rightful = asyncio.create_task(ask(callers, new.sign(claims(), "at+jwt")))
    await let_run()
    issuer.let_go.set()
    assert await guess == "unknown_key"
    assert await rightful


async def test_while_the_issuer_is_away_an_unknown_key_is_not_called_bad(callers: Callers, issuer: Issuer) -> None:
    old = issuer.add_key("demo", "k1")
    await ask(callers, old.sign(claims(), "at+jwt"))
    new = issuer.add_key("demo", "k2")
    issuer.is_down = True
    for _ in range(3):
        with pytest.raises(Unavailable) as refusal:
            await ask(callers, new.sign(claims(), "at+jwt"))
        assert int(headers_of(refusal.value)["Retry-After"]) >= 1


async def test_a_thousand_made_up_keys_cost_the_issuer_a_few_questions_and_shut_nobody_out(
    callers: Callers, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = issuer.add_key("demo", "k1")
    await ask(callers, old.sign(claims(), "at+jwt"))
    signed = [
        SigningKey(f"made-up-{number}", old.algorithm, old.key).sign(claims(), "at+jwt") for number in range(1000)
    ]
    flood = [asyncio.create_task(refused(callers, token)) for token in signed]
    await let_run(1)
    new = issuer.add_key("demo", "k2")
    assert await ask(callers, new.sign(claims(), "at+jwt"))
    assert set(await asyncio.gather(*flood)) == {"unknown_key"}
    assert len(issuer.asked) <= 4


async def test_fetches_of_one_tenant_keep_a_distance(issuer: Issuer, clock: Clock) -> None:
    issuer.add_key("demo", "k1")
    keys = TenantKeys(issuer, clock=clock, pace_seconds=0.05)
    began = asyncio.get_running_loop().time()
    for number in range(4):
        assert f"made-up-{number}" not in await keys.of("demo", f"made-up-{number}")
    assert len(issuer.asked) == 4
    assert asyncio.get_running_loop().time() - began >= 3 * 0.05 - 0.01


# ——— keys that have leaked ———


async def test_a_revoked_key_is_refused_although_it_is_remembered(
    callers: Callers, issuer: Issuer, keys: TenantKeys
) -> None:
    leaked, other = issuer.add_key("demo", "k1"), issuer.add_key("other", "k1")
    token = leaked.sign(claims(), "at+jwt")
    await ask(callers, token)
    del issuer.keys["demo"]["k1"]
    successor = issuer.add_key("demo", "k2")
    issuer.revoked.add(("demo", "k1"))
    await keys.look_for_revoked()
    assert await refused(callers, token) == "unknown_key"
    assert await ask(callers, successor.sign(claims(), "at+jwt"))
    assert await ask(callers, other.sign(claims("other"), "at+jwt"))


async def test_a_revoked_key_stays_refused_while_the_issuer_is_away_and_after_it_has_forgotten(
    callers: Callers, issuer: Issuer, keys: TenantKeys, clock: Clock
) -> None:
    leaked = issuer.add_key("demo", "k1")
    token = leaked.sign(claims(), "at+jwt")
    await ask(callers, token)
    issuer.revoked.add(("demo", "k1"))
    await keys.look_for_revoked()
    issuer.is_down = True
    with pytest.raises(Unavailable):
        await keys.look_for_revoked()
    for seconds in (0, FRESH_SECONDS, 300):
        clock.now += seconds
        assert await refused(callers, token) == "unknown_key"
    issuer.is_down = False
    issuer.revoked.clear()
    await keys.look_for_revoked()
    assert await refused(callers, token) == "unknown_key"


async def test_a_key_that_is_revoked_while_its_set_is_fetched_is_refused(
    callers: Callers, issuer: Issuer, keys: TenantKeys
) -> None:
    leaked = issuer.add_key("demo", "k1")
    issuer.let_go.clear()
    asking = asyncio.create_task(refused(callers, leaked.sign(claims(), "at+jwt")))
    await let_run()
    issuer.revoked.add(("demo", "k1"))
    await keys.look_for_revoked()
    issuer.let_go.set()
    assert await asking == "unknown_key"


async def test_a_key_that_was_taken_back_is_forgotten(callers: Callers, issuer: Issuer, clock: Clock) -> None:
    old = issuer.add_key("demo", "k1")
    await ask(callers, old.sign(claims(), "at+jwt"))
    issuer.keys["demo"].clear()
    issuer.add_key("demo", "k2")
    clock.now += FRESH_SECONDS
    assert await refused(callers, old.sign(claims(), "at+jwt")) == "unknown_key"


async def test_a_hundred_first_tokens_under_a_new_key_all_wait_for_one_answer(
    callers: Callers, issuer: Issuer, clock: Clock
) -> None:
    old = issuer.add_key("demo", "k1")
    await ask(callers, old.sign(claims(), "at+jwt"))
    new = issuer.add_key("demo", "k2")
    issuer.let_go.clear()
    asking = [asyncio.create_task(ask(callers, new.sign(claims(), "at+jwt"))) for _ in range(100)]
    await let_run()
    # Meanwhile the known keys go on.
    assert await ask(callers, old.sign(claims(), "at+jwt"))
    issuer.let_go.set()
    assert len(await asyncio.gather(*asking)) == 100
    assert len(issuer.asked) == 2


async def test_who_hangs_up_takes_the_keys_from_nobody(callers: Callers, issuer: Issuer) -> None:
    key = issuer.add_key("demo", "k1")
    issuer.let_go.clear()
    asking = [asyncio.create_task(ask(callers, key.sign(claims(), "at+jwt"))) for _ in range(10)]
    await let_run()
    asking[0].cancel()
    await asyncio.gather(asking[0], return_exceptions=True)
    issuer.let_go.set()
    assert len(await asyncio.gather(*asking[1:])) == 9
    assert len(issuer.asked) == 1


async def test_known_keys_serve_on_while_the_issuer_is_away(callers: Callers, issuer: Issuer, clock: Clock) -> None:
    key = issuer.add_key("demo", "k1")
    began = clock.now
    await ask(callers, key.sign(claims(), "at+jwt"))
    issuer.is_down = True
    while clock.now - began < STALE_SECONDS - 1:
        assert await ask(callers, key.sign(claims(), "at+jwt"))
        clock.now += 60
    # Not for ever: a key may have been taken back meanwhile.
    clock.now = began + STALE_SECONDS
    for seconds in (0, 1, 60):
        clock.now += seconds
        with pytest.raises(Unavailable):
            await ask(callers, key.sign(claims(), "at+jwt"))
    issuer.is_down = False
    clock.now += 1
    assert await ask(callers, key.sign(claims(), "at+jwt"))


async def test_nobody_with_a_known_key_waits_for_a_silent_issuer(
    callers: Callers, issuer: Issuer, clock: Clock
) -> None:
    key = issuer.add_key("demo", "k1")
    await ask(callers, key.sign(claims(), "at+jwt"))
    clock.now += FRESH_SECONDS
    issuer.let_go.clear()
    first = asyncio.create_task(ask(callers, key.sign(claims(), "at+jwt")))
    await let_run()
    for _ in range(10):
        async with asyncio.timeout(20):
            assert await ask(callers, key.sign(claims(), "at+jwt"))
    assert issuer.waiting == 1
    issuer.let_go.set()
    assert await first


@pytest.mark.parametrize("answer", [{}, {"keys": None}, {"keys": {}}])
async def test_an_answer_that_makes_no_sense_is_as_none(
    callers: Callers, issuer: Issuer, clock: Clock, answer: Mapping[str, Any]
) -> None:
    key = issuer.add_key("demo", "k1")
    token = key.sign(claims(), "at+jwt")
    issuer.answer = answer
    with pytest.raises(Unavailable) as refusal:
        await ask(callers, token)
    assert headers_of(refusal.value)["Retry-After"]
    issuer.answer = None
    clock.now += 1
    assert await ask(callers, token)
    issuer.answer = answer
    clock.now += FRESH_SECONDS
    assert await ask(callers, token)


async def test_a_good_token_is_not_called_bad_because_the_issuer_is_away(
    callers: Callers, issuer: Issuer, clock: Clock
) -> None:
    """401 would make clients throw the token away, and ask for the next one where nobody answers."""
    key = issuer.add_key("demo", "k1")
    issuer.is_down = True
    for seconds in (0, 0.5, 1, 60):
        clock.now += seconds
        with pytest.raises(Unavailable):
            await ask(callers, key.sign(claims(), "at+jwt"))
    assert len(issuer.asked) == 3


async def test_a_tenant_that_lost_its_authority_is_refused(callers: Callers, issuer: Issuer, clock: Clock) -> None:
    key = issuer.add_key("demo", "k1")
    await ask(callers, key.sign(claims(), "at+jwt"))
    del issuer.keys["demo"]
    clock.now += FRESH_SECONDS
    for _ in range(2):
        assert await refused(callers, key.sign(claims(), "at+jwt")) == "wrong_issuer"


# ——— floods of made-up tenants ———


async def test_made_up_tenants_drive_no_real_one_out(
    callers: Callers, issuer: Issuer, keys: TenantKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_began", Bounded(20))
    key = issuer.add_key("demo", "k1")
    await ask(callers, key.sign(claims(), "at+jwt"))
    for number in range(50):
        assert await refused(callers, key.sign(claims(f"made-up-{number}"), "at+jwt")) == "wrong_issuer"
    assert len(keys._began) == 20
    issuer.is_down = True
    assert await ask(callers, key.sign(claims(), "at+jwt"))


async def test_a_tenant_that_has_just_got_its_authority_is_known_whatever_was_asked_before(
    callers: Callers, issuer: Issuer
) -> None:
    stranger = issuer.add_key("demo", "k1")
    assert await refused(callers, stranger.sign(claims("new"), "at+jwt")) == "wrong_issuer"
    key = issuer.add_key("new", "k2")
    assert await ask(callers, key.sign(claims("new"), "at+jwt"))


async def test_a_flood_of_made_up_tenants_asks_the_issuer_of_no_more_than_so_many_at_once(
    callers: Callers, issuer: Issuer
) -> None:
    key = issuer.add_key("demo", "k1")
    issuer.let_go.clear()
    flood = [
        asyncio.create_task(ask(callers, key.sign(claims(f"made-up-{number}"), "at+jwt"))) for number in range(100)
    ]
    await let_run()
    issuer.let_go.set()
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert issuer.most <= jwks._FETCHES
    assert all(isinstance(outcome, Refusal) for outcome in outcomes)
    assert sum(isinstance(outcome, Unavailable) for outcome in outcomes) == 100 - jwks._FETCHES
