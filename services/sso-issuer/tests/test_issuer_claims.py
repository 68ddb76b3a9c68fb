"""What is in a token: the claims of the source document to the letter, under three algorithms."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from platform_testing.issuer_world import World, claims_of, header_of, verify_independently
from sso_issuer.redirects.domain import destination
from sso_issuer.vendors.domain import Delivery


async def test_claims_are_spelled_as_in_the_source(world: World) -> None:
    await world.put_vendor(claim_spelling="lower")
    claims = claims_of((await world.redirect())["token"])
    times = {"iat": claims["iat"], "exp": claims["iat"] + 60}
    assert claims == times | {
        "firstname": "Ada",
        "lastname": "Löwe",
        "points": 500,
        "email": "ada@example.org",
        "email_verified": True,
        "userid": "user-1",
        "iss": world.issuer,
        "aud": "shop",
        "jti": claims["jti"],
    }


async def test_a_vendor_whose_clock_is_five_seconds_behind_takes_a_fresh_token(world: World) -> None:
    await world.put_vendor(lifetime_seconds=60)
    before = int(time.time())
    claims = claims_of((await world.redirect())["token"])
    assert before - 5 <= claims["iat"] <= time.time() - 5
    assert claims["exp"] == claims["iat"] + 60


@pytest.mark.parametrize("seconds", [1, 5, 6, 300])
async def test_every_lifetime_that_can_be_agreed_on_can_be_issued(world: World, seconds: int) -> None:
    await world.put_vendor(lifetime_seconds=seconds)
    claims = claims_of((await world.redirect())["token"])
    assert claims["exp"] == claims["iat"] + seconds


async def test_claims_are_spelled_in_camel_case_for_vendors_that_ask_for_it(world: World) -> None:
    await world.put_vendor(claim_spelling="camel", lifetime_seconds=300, audience="https://shop.example")
    answer = await world.redirect()
    claims = claims_of(answer["token"])
    times = {"iat": claims["iat"], "exp": claims["iat"] + 300}
    assert claims == times | {
        "firstName": "Ada",
        "lastName": "Löwe",
        "points": 500,
        "email": "ada@example.org",
        "email_verified": True,
        "userId": "user-1",
        "iss": world.issuer,
        "aud": "https://shop.example",
        "jti": answer["jti"],
    }


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_a_vendor_verifies_with_the_published_key_alone(world: World, algorithm: str) -> None:
    await world.put_vendor(algorithm=algorithm)
    token = (await world.redirect())["token"]
    key = next(key for key in await world.jwks() if key["kid"] == header_of(token)["kid"])
    assert header_of(token) == {"alg": algorithm, "kid": key["kid"], "typ": "JWT"}
    verify_independently(token, key)


async def test_a_vendor_verifies_with_the_text_of_its_secret_alone(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    secret = await world.add_secret()
    token = (await world.redirect())["token"]
    assert header_of(token) == {"alg": "HS256", "kid": secret["kid"], "typ": "JWT"}
    verify_independently(token, secret["secret"])


async def test_es256_is_the_default(world: World) -> None:
    assert (await world.put_vendor())["algorithm"] == "ES256"
    assert header_of((await world.redirect())["token"])["alg"] == "ES256"


async def test_no_two_tokens_share_a_jti(world: World) -> None:
    await world.put_vendor()
    assert len({(await world.redirect())["jti"] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("redirect_url", "url"),
    [
        ("https://shop.example/redeem", "https://shop.example/redeem?token=T"),
        ("https://shop.example", "https://shop.example?token=T"),
        ("https://shop.example/redeem?", "https://shop.example/redeem?token=T"),
        ("https://shop.example/redeem?a=1", "https://shop.example/redeem?a=1&token=T"),
        ("https://shop.example/redeem?a=1&", "https://shop.example/redeem?a=1&token=T"),
        ("https://shop.example/r?a=%20b;c&x=/?y", "https://shop.example/r?a=%20b;c&x=/?y&token=T"),
    ],
)
def test_the_vendors_own_query_is_kept_letter_by_letter(redirect_url: str, url: str) -> None:
    assert destination(redirect_url, Delivery.QUERY, "T") == (url, {})


@given(query=st.from_regex(r"([a-z]=[a-z0-9%/?]{0,8}&?){0,4}", fullmatch=True))
def test_a_token_is_always_a_parameter_of_its_own(query: str) -> None:
    url, fields = destination(f"https://shop.example/r?{query}", Delivery.QUERY, "T")
    assert url.startswith(f"https://shop.example/r?{query}")
    assert url.partition("?")[2].split("&")[-1] == "token=T"
    assert "&&" not in url.removeprefix(f"https://shop.example/r?{query}")
    assert fields == {}


def test_a_form_is_posted_to_the_bare_address() -> None:
    url = "https://shop.example/r?a=1"
    assert destination(url, Delivery.FORM_POST, "T") == (url, {"token": "T"})
