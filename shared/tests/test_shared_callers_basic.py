"""Basic credentials: asked of the register once, remembered briefly, and not lost with it."""

import asyncio
import base64

import pytest
from platform_testing.callers import basic
from platform_testing.serving import PUBLIC_URL
from shared.callers import FRESH_SECONDS, STALE_SECONDS, Caller, Callers, InsufficientScope
from shared.errors import Unauthenticated, Unavailable
from shared.problems import headers_of
from shared.proxies import ProxyTrust
from shared.register import Client

from .clocks import Clock
from .held_register import HeldRegister, ask, encoded, until


@pytest.fixture
def register() -> HeldRegister:
    return HeldRegister()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def callers(register: HeldRegister, clock: Clock) -> Callers:
    return Callers(register, keys=None, public_url=PUBLIC_URL, proxies=ProxyTrust(()), clock=clock)


async def test_a_client_is_known_by_its_id_and_secret(callers: Callers, register: HeldRegister) -> None:
    headers = register.add("demo", "points:redeem", "points:read", vendor_id="shop", client_id="shop-backend")
    caller = await ask(callers, headers)
    assert caller == Caller(
        "shop-backend", "demo", frozenset({"points:redeem", "points:read"}), "first_party", "shop", None
    )
    assert caller.vendor == "shop"


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc"])
async def test_the_scheme_is_read_in_any_case(callers: Callers, register: HeldRegister, scheme: str) -> None:
    headers = register.add("demo")
    assert await ask(callers, {"Authorization": headers["Authorization"].replace("Basic", scheme)})


async def test_a_secret_may_hold_colons_and_an_id_any_letter(callers: Callers, register: HeldRegister) -> None:
    """RFC 7617: the id ends at the first colon, the charset is UTF-8."""
    register.clients["Bäckerei", "a:b::c:ü"] = Client("Bäckerei", "demo", frozenset())
    assert (await ask(callers, encoded("Bäckerei:a:b::c:ü".encode()))).client_id == "Bäckerei"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic YTp",
        "Basic YT pi",
        "Basic YTpi\u00e9",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b":secret").decode(),
        "Basic " + base64.b64encode(b"id:").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode(b"id:sec\0ret").decode(),
        "Basic " + base64.b64encode(b"i\0d:secret").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:secret").decode(),
        "Basic " + base64.b64encode(b"\xed\xa0\x80:secret").decode(),
        "Digest username=a",
        "YTpi",
        "Bearer",
    ],
)
async def test_what_is_no_credentials_is_401_without_asking(
    callers: Callers, register: HeldRegister, header: str
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await ask(callers, {"Authorization": header})
    assert register.asked == 0
    assert {"Basic", "Bearer"} <= set(headers_of(refused.value)["WWW-Authenticate"].replace(",", " ").split())


async def test_a_third_party_that_calls_with_its_secret_is_told_to_bring_a_token(
    callers: Callers, register: HeldRegister
) -> None:
    register.clients["app", "secret"] = Client("app", "demo", frozenset({"points:read"}), "third_party")
    caller = await ask(callers, encoded(b"app:secret"))
    with pytest.raises(InsufficientScope, match="access token") as refused:
        caller.need("points:read")
    assert headers_of(refused.value)["WWW-Authenticate"].startswith("Bearer ")


async def test_wrong_credentials_are_401_and_do_not_say_which_part_is_wrong(
    callers: Callers, register: HeldRegister
) -> None:
    register.clients["known", "right"] = Client("known", "demo", frozenset())
    answers = []
    for credentials in (b"known:wrong", b"unknown:right"):
        with pytest.raises(Unauthenticated) as refused:
            await ask(callers, encoded(credentials))
        answers.append((refused.value.message, refused.value.stable_code, refused.value.members))
    assert answers[0] == answers[1]


# ——— memory ———


async def test_what_the_register_said_is_good_for_a_moment(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    headers = register.add("demo")
    for _ in range(10):
        await ask(callers, headers)
    assert register.asked == 1
    clock.now += FRESH_SECONDS
    await ask(callers, headers)
    assert register.asked == 2


async def test_a_revoked_secret_stops_working_within_five_seconds_though_it_is_used_all_the_time(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    headers = register.add("demo")
    await ask(callers, headers)
    clock.now += FRESH_SECONDS - 0.1
    await ask(callers, headers)
    register.clients.clear()
    revoked_at = clock.now
    while clock.now - revoked_at < 5:
        try:
            await ask(callers, headers)
        except Unauthenticated:
            break
        clock.now += 0.1
    assert clock.now - revoked_at < 5
    with pytest.raises(Unauthenticated):
        await ask(callers, headers)


async def test_a_change_of_scopes_is_seen_within_five_seconds(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    headers = register.add("demo", "points:read", client_id="c")
    assert (await ask(callers, headers)).scopes == {"points:read"}
    ((key, _),) = register.clients.items()
    register.clients[key] = Client("c", "demo", frozenset({"points:admin"}))
    clock.now += 5
    assert (await ask(callers, headers)).scopes == {"points:admin"}


async def test_a_refusal_is_remembered_for_a_second_and_no_longer(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    headers = basic("new", "secret")
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await ask(callers, headers)
    assert register.asked == 1
    register.clients["new", "secret"] = Client("new", "demo", frozenset())
    clock.now += 1
    assert await ask(callers, headers)


async def test_no_secret_lies_in_the_memory(callers: Callers, register: HeldRegister) -> None:
    headers = register.add("demo")
    ((client_id, secret),) = register.clients
    await ask(callers, headers)
    with pytest.raises(Unauthenticated):
        await ask(callers, basic(client_id, "wrong-" + secret))
    kept = repr(vars(callers))
    assert secret not in kept
    assert headers["Authorization"].removeprefix("Basic ") not in kept


# ——— the register away ———


async def test_who_is_known_goes_on_while_the_register_is_away(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    headers = register.add("demo")
    await ask(callers, headers)
    register.is_down = True
    began, asked = clock.now, register.asked
    while clock.now - began < 120:
        assert await ask(callers, headers)
        clock.now += 0.25
    await until(lambda: register.waiting == 0)
    # It is asked now and then, and not by each request.
    assert register.asked - asked <= 121


async def test_who_is_not_known_is_told_to_come_again(callers: Callers, register: HeldRegister, clock: Clock) -> None:
    register.is_down = True
    for seconds in (0, 0.5, 60, 3600):
        clock.now += seconds
        with pytest.raises(Unavailable) as refused:
            await ask(callers, basic("somebody", "secret"))
        assert int(headers_of(refused.value)["Retry-After"]) >= 1


async def test_a_stranger_finds_out_that_the_register_is_back(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    """Where nobody is known, as in a service that has just started, only strangers can ask."""
    headers = register.add("demo", "points:read")
    register.is_down = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            await ask(callers, headers)
        clock.now += 1.5
    register.is_down = False
    assert (await ask(callers, headers)).tenant == "demo"


async def test_what_was_said_long_ago_is_not_believed_for_ever(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    headers = register.add("demo")
    await ask(callers, headers)
    register.is_down = True
    clock.now += STALE_SECONDS
    with pytest.raises(Unavailable):
        await ask(callers, headers)


async def test_who_was_refused_is_not_let_in_while_the_register_is_away(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    headers = register.add("demo")
    await ask(callers, headers)
    register.clients.clear()
    clock.now += FRESH_SECONDS
    with pytest.raises(Unauthenticated):
        await ask(callers, headers)
    register.is_down = True
    clock.now += 10
    with pytest.raises(Unavailable):
        await ask(callers, headers)


async def test_nobody_who_is_known_waits_for_a_register_that_is_silent(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    """Away as a machine is whose packets are swallowed: each question takes its whole time-out."""
    known = [register.add("demo") for _ in range(20)]
    for headers in known:
        await ask(callers, headers)
    register.is_down = True
    clock.now += FRESH_SECONDS
    assert await ask(callers, known[0])
    register.let_go.clear()
    for seconds in range(30):
        clock.now += 1
        async with asyncio.timeout(20):
            for headers in known:
                assert await ask(callers, headers)
        await asyncio.sleep(0)
        # One a second asks whether it is back; not all twenty.
        assert register.waiting <= seconds + 1
    register.let_go.set()
    await until(lambda: register.waiting == 0)


async def test_when_the_register_is_back_its_word_counts_within_five_seconds(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    revoked, other = register.add("demo"), register.add("demo")
    await ask(callers, revoked)
    await ask(callers, other)
    register.is_down = True
    clock.now += 60
    assert await ask(callers, revoked)
    register.is_down = False
    register.clients.clear()
    back_at = clock.now
    while clock.now - back_at < 5:
        try:
            await ask(callers, revoked)
        except Unauthenticated:
            break
        await until(lambda: register.waiting == 0)
        clock.now += 0.25
    assert clock.now - back_at < 5
    for headers in (revoked, other):
        with pytest.raises(Unauthenticated):
            await ask(callers, headers)
