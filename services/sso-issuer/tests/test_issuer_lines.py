"""What waits together is read, asked and written together, and each is answered on its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

import httpx
import orjson
import pytest
import sqlalchemy as sa
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.issuer_world import World, body_of
from platform_testing.serving import running
from shared.calling import ServiceClient
from shared.errors import Unavailable
from shared.register import Client
from sso_issuer.app import create_app
from sso_issuer.secret_checks import SecretChecks
from sso_issuer.tables import events, redemptions
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


async def _redeemed(world: World) -> list[str]:
    async with world.database.connect() as connection:
        query = sa.select(redemptions.c.jti).where(redemptions.c.tenant == world.tenant)
        return list((await connection.execute(query)).scalars())


async def _told_of_redemptions(world: World) -> list[str]:
    """The tokens of which an event says that they were redeemed."""
    async with world.database.connect() as connection:
        query = sa.select(events.batches.c.events).where(events.batches.c.tenant == world.tenant)
        told = [event for row in await connection.scalars(query) for event in orjson.loads(row)]
    return [event["data"]["jti"] for event in told if event["type"] == "redirect.redeemed"]


def _said(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, None if answer.is_success else answer.json()["code"]


# Tokens that are brought back


async def test_tokens_that_are_brought_together_are_used_up_each_once(world: World) -> None:
    """A forged one, one of another vendor and one that is brought twice harm none of the others."""
    for vendor_id, algorithm in (("shop", "ES256"), ("hmac", "HS256"), ("other", "ES256")):
        await world.put_vendor(vendor_id, algorithm=algorithm)
    await world.add_secret("hmac")
    vendors = {vendor_id: world.vendor_client(vendor_id) for vendor_id in ("shop", "hmac")}
    issued = [(("shop", "hmac")[n % 2], await world.redirect(("shop", "hmac")[n % 2])) for n in range(12)]
    foreign = (await world.redirect("other"))["token"]
    wishes = [(vendor_id, redirect["token"]) for vendor_id, redirect in issued for _ in range(2)]
    bad = [("shop", foreign), ("shop", "no.token.this"), ("hmac", issued[1][1]["token"][:-3] + "abc")]
    answers = await asyncio.gather(*(world.redeem(token, vendors[vendor_id]) for vendor_id, token in wishes + bad))
    pairs = zip(answers[0:24:2], answers[1:24:2], strict=True)
    assert all(sorted(map(_said, pair)) == [(200, None), (409, "token_already_redeemed")] for pair in pairs)
    assert [answer.status_code for answer in answers[24:]] == [400, 400, 400]
    assert all(answer.json()["redeemed_at"] for answer in answers if answer.status_code == 409)
    assert sorted(await _redeemed(world)) == sorted(redirect["jti"] for _, redirect in issued)
    assert sorted(await _told_of_redemptions(world)) == sorted(redirect["jti"] for _, redirect in issued)


async def test_a_token_is_used_up_once_also_by_two_replicas(
    world: World, make_settings: Any, register: FakeRegister
) -> None:
    await world.put_vendor()
    tokens, vendor = [(await world.redirect())["token"] for _ in range(6)], world.vendor_client("shop")
    ledger = httpx.ASGITransport(world.ledger.app)
    replica = create_app(make_settings(), register=register, ledger_transport=ledger)
    async with running(replica) as other:
        answers = await asyncio.gather(
            *(
                client.post("/sso/v1/tokens/redeem", json={"token": token}, headers=vendor)
                for token in tokens
                for client in (world.client, other)
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200] * 6 + [409] * 6
    assert all(answer.json()["redeemed_at"] for answer in answers if answer.status_code == 409)
    assert len(await _redeemed(world)) == 6
    assert sorted(await _told_of_redemptions(world)) == sorted(await _redeemed(world))


async def test_a_caller_that_hangs_up_takes_nobody_along(world: World) -> None:
    await world.put_vendor()
    tokens, vendor = [(await world.redirect())["token"] for _ in range(6)], world.vendor_client("shop")
    asked = asyncio.Event()

    def answer() -> Response:
        asked.set()
        return JSONResponse({"balances": [{"user_id": world.user_id, "available": 7}], "absent": []})

    world.ledger.answer = answer
    asking = [asyncio.create_task(world.redeem(token, vendor)) for token in tokens]
    await asked.wait()
    asking[0].cancel()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert [_said(answer) for answer in answers[1:] if isinstance(answer, httpx.Response)] == [(200, None)] * 5


async def test_who_needs_no_neighbour_does_not_wait_for_one_that_hangs(world: World) -> None:
    await world.put_vendor()
    vendor, answering = world.vendor_client("shop"), world.ledger.app
    tokens = [(await world.redirect())["token"] for _ in range(6)]
    asked, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        asked.release()
        await go_on.wait()
        await answering(scope, receive, send)

    world.ledger.app = hang  # type: ignore[assignment]  # it is called as the other one
    waiting = [asyncio.create_task(world.ask_redirect()) for _ in range(6)]
    waiting += [asyncio.create_task(world.redeem(token, vendor)) for token in tokens]
    for _ in range(2):
        await asked.acquire()
    async with asyncio.timeout(20):
        assert _said(await world.ask_redirect("nowhere")) == (404, "vendor_not_found")
        assert _said(await world.redeem("no.token.this", vendor)) == (400, "malformed_token")
    go_on.set()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [201] * 6 + [200] * 6


# Access tokens


async def test_tokens_that_are_asked_about_together_are_judged_each_on_its_own(world: World) -> None:
    auth, stranger = world.add_third_party(), world.add_third_party()
    for client_id, _ in (auth, stranger):
        world.consent(client_id, "points:read")

    async def given(auth: tuple[str, str]) -> str:
        answer = await world.oauth("token", auth=auth, grant_type="client_credentials")
        token: str = body_of(answer, 200)["access_token"]
        return token

    good, revoked, foreign = await asyncio.gather(given(auth), given(auth), given(stranger))
    await world.oauth("revoke", auth=auth, token=revoked)
    shown = [good, revoked, foreign, "no.token.this", good[:-3] + "abc", good] * 3
    answers = await asyncio.gather(*(world.oauth("introspect", auth=auth, token=token) for token in shown))
    assert [answer.json()["active"] for answer in answers] == [True, False, False, False, False, True] * 3


async def test_who_proves_nothing_learns_nothing_and_harms_nobody_in_the_same_line(world: World) -> None:
    """Secrets and what they open are looked up at once, and the secret decides first."""
    auth, bound = world.add_third_party(), world.add_third_party()
    world.consent(auth[0], "points:read")
    world.register.clients[bound] = replace(world.register.clients[bound], ip_allow_list=("192.0.2.0/24",))
    asking = {"grant_type": "client_credentials"}
    token = body_of(await world.oauth("token", auth=auth, **asking), 200)["access_token"]
    strangers = [(auth[0], "wrong"), ("nobody", auth[1]), bound]
    callers = [auth, *strangers] * 4
    shown = await asyncio.gather(*(world.oauth("introspect", auth=one, token=token) for one in callers))
    given = await asyncio.gather(*(world.oauth("token", auth=one, **asking) for one in callers))
    unsaid = await asyncio.gather(
        *(world.oauth("introspect", auth=one, token_type_hint="access_token") for one in callers)
    )
    greedy = await asyncio.gather(*(world.oauth("token", auth=one, **asking, scope='"') for one in callers))
    assert [answer.status_code for answer in shown + given] == [200, 401, 401, 401] * 8
    assert [answer.json()["error"] for answer in unsaid] == ["invalid_request", *["invalid_client"] * 3] * 4
    assert [answer.json()["error"] for answer in greedy] == ["invalid_scope", *["invalid_client"] * 3] * 4
    assert all("active" not in answer.text for answer in shown if answer.status_code != 200)


async def test_a_form_encoded_secret_is_taken_beside_a_literal_one(world: World) -> None:
    client_id, secret = "a client", "with blanks & +"
    world.register.clients[client_id, secret] = replace(_registered(world), client_id=client_id)
    world.register.clients["100%", "a+b"] = replace(_registered(world), client_id="100%")
    asked = [(quote_plus(client_id), quote_plus(secret)), (client_id, secret), ("100%", "a+b"), ("100%", "a b")] * 3
    answers = await asyncio.gather(
        *(world.oauth("token", auth=auth, grant_type="client_credentials") for auth in asked)
    )
    assert [answer.status_code for answer in answers] == [200, 200, 200, 401] * 3


def _registered(world: World) -> Client:
    auth = world.add_third_party()
    return replace(world.register.clients[auth], kind="first_party", scopes=frozenset({"points:read"}))


async def test_a_silent_register_fails_those_who_need_it_and_is_not_asked_twice_about_a_client(world: World) -> None:
    auth, other = world.add_third_party(), world.add_third_party()
    for client_id, _ in (auth, other):
        world.consent(client_id, "points:read")
    platform = ("platform-x", "secret")
    world.register.clients[platform] = replace(_registered(world), client_id=platform[0])
    asking = {"grant_type": "client_credentials"}
    own, foreign = [
        body_of(await world.oauth("token", auth=one, **asking), 200)["access_token"] for one in (platform, auth)
    ]
    world.onboarding.answer = lambda: Response("down", 503)
    answers = await asyncio.gather(
        *(world.oauth("introspect", auth=platform, token=token) for token in (own, foreign) * 4),
        *(world.oauth("token", auth=one, **asking) for one in (platform, auth) * 4),
    )
    assert [answer.status_code for answer in answers] == [200, 503] * 8
    world.register.is_down = True
    answers = await asyncio.gather(
        world.oauth("introspect", auth=platform, token=own), world.oauth("token", auth=platform, **asking)
    )
    assert [answer.status_code for answer in answers] == [503, 503]


async def test_who_does_not_ask_the_ledger_does_not_miss_it(world: World) -> None:
    await world.put_vendor()
    auth = world.add_third_party()
    world.consent(auth[0], "points:read")
    world.ledger.answer = lambda: Response("down", 503)
    *refused, token = await asyncio.gather(
        world.ask_redirect(),
        world.ask_redirect("nowhere"),
        world.ask_redirect(user_id="nobody"),
        world.oauth("token", auth=auth, grant_type="client_credentials"),
    )
    assert list(map(_said, refused)) == [
        (503, "temporarily_unavailable"),
        (404, "vendor_not_found"),
        (404, "user_not_found"),
    ]
    assert token.status_code == 200


# Secrets of clients


@pytest.fixture
def checks(service_keys: ServiceKeys) -> Callable[[Callable[[Any], Response]], SecretChecks]:
    def make(answer: Callable[[Any], Response]) -> SecretChecks:
        async def check(request: Request) -> Response:
            return answer((await request.json())["credentials"])

        app = Starlette(routes=[Route("/internal/clients/check-many", check, methods=["POST"])])
        return SecretChecks(
            ServiceClient(
                "http://register.invalid",
                audience="partner-onboarding",
                service_tokens=service_keys.tokens("sso-issuer"),
                transport=httpx.ASGITransport(app),
            )
        )

    return make


def _client(client_id: str) -> dict[str, object]:
    return {
        "client_id": client_id,
        "tenant": "t",
        "kind": "first_party",
        "scopes": ["sso:issue"],
        "vendor_id": None,
        "ip_allow_list": [],
    }


async def test_secrets_that_wait_together_are_checked_in_one_call_and_anew_each_time(
    checks: Callable[[Callable[[Any], Response]], SecretChecks],
) -> None:
    calls: list[list[str]] = []

    def answer(credentials: list[dict[str, str]]) -> Response:
        calls.append([one["client_id"] for one in credentials])
        good = [one["client_secret"] == "right" for one in credentials]
        found = [_client(one["client_id"]) if right else None for one, right in zip(credentials, good, strict=True)]
        return JSONResponse({"clients": found})

    register = checks(answer)
    wishes = [(f"c{n % 5}", "right" if n % 3 else "wrong") for n in range(30)]
    found = await asyncio.gather(*(register.check(*wish) for wish in wishes))
    assert [client and client.client_id for client in found] == [
        client_id if secret == "right" else None for client_id, secret in wishes
    ]
    assert len(calls) <= 4
    assert max(map(len, calls)) <= 10
    before = len(calls)
    await register.check("c1", "right")
    assert len(calls) == before + 1


async def test_an_endless_secret_is_nobodys_and_spoils_no_call(
    checks: Callable[[Callable[[Any], Response]], SecretChecks],
) -> None:
    def answer(credentials: list[dict[str, str]]) -> Response:
        return JSONResponse({"clients": [_client(one["client_id"]) for one in credentials]})

    register = checks(answer)
    endless, good = await asyncio.gather(register.check("c", "x" * 4097), register.check("c", "x" * 4096))
    assert endless is None
    assert good is not None


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: Response("down", 503),
        lambda _: JSONResponse({"clients": []}),
        lambda _: JSONResponse({"clients": ["nonsense"]}),
        lambda _: JSONResponse({"code": "not_here"}, 404),
    ],
)
async def test_a_register_that_does_not_answer_with_sense_proves_nobody(
    checks: Callable[[Callable[[Any], Response]], SecretChecks], answer: Callable[[Any], Response]
) -> None:
    register = checks(answer)

    async def refused(asking: Awaitable[object]) -> bool:
        with pytest.raises(Unavailable):
            await asking
        return True

    assert await asyncio.gather(*(refused(register.check(f"c{n}", "s")) for n in range(4))) == [True] * 4
