"""The hosted landing page: a GET uses nothing up, a POST does and goes on, HEAD and prefetch never count."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.serving import running
from shared.calling import ServiceClient
from shared.dependencies import provided
from token_service.app import create_app
from token_service.landing.service import LandingService
from token_service.landing.tenant_names import TenantNames
from token_service.onboarding_client import OnboardingClient

from .campaign_house import OFFER, FakeSessions, House, flipped, refusal
from .conftest import PUBLIC_URL, MakeSettings

PUBLIC = {"User-Agent": "Mozilla/5.0 (Macintosh) Safari/605.1.15", "Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}


@pytest.fixture
async def hosted(house: House) -> House:
    answer = await house.client.put("/v1/campaigns/spring/landing", json=OFFER, headers=house.headers)
    assert answer.status_code == 201
    # Within two seconds by itself; here at once.
    provided(house.app, LandingService)._read_at = float("-inf")
    return house


async def opened(house: House, token: str, method: str = "GET", **headers: str) -> httpx.Response:
    return await house.client.request(method, f"/t/{token}", headers=PUBLIC | headers)


async def pressed(house: House, token: str, page: httpx.Response | None = None) -> httpx.Response:
    found = None if page is None else re.search(r'name="visit" value="([0-9a-f]{32})"', page.text)
    data = {} if found is None else {"visit": found[1]}
    return await house.client.post(f"/t/{token}", data=data, headers=PUBLIC)


async def counts(house: House) -> dict[str, Any]:
    statistics = await house.get("/v1/campaigns/spring/stats")
    return {name: statistics[name] for name in ("opened", "verified", "refused")}


async def test_the_offer_is_shown_and_its_button_uses_the_link_up_and_goes_on(hosted: House) -> None:
    token = await hosted.issue(base_url="https://points.example/t", max_uses=1)
    page = await opened(hosted, token)
    assert page.status_code == 200
    assert page.headers["content-language"] == "de"
    assert "50 % auf Wohnen" in page.text
    assert "Ansehen" in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "script-src" not in page.headers["content-security-policy"]
    gone = await pressed(hosted, token, page)
    assert gone.status_code == 303
    assert gone.headers["location"] == OFFER["destination_url"]
    again = await pressed(hosted, token, await opened(hosted, token))
    assert again.status_code == 409
    assert "schon benutzt" in again.text
    assert await counts(hosted) == {"opened": 1, "verified": 1, "refused": {"token_used_up": 2}}


async def test_pressing_twice_goes_on_twice_and_uses_up_once(hosted: House) -> None:
    token = await hosted.issue(max_uses=1)
    page = await opened(hosted, token)
    for _ in range(2):
        gone = await pressed(hosted, token, page)
        assert (gone.status_code, gone.headers["location"]) == (303, OFFER["destination_url"])
    assert (await counts(hosted))["verified"] == 1


async def test_head_and_prefetch_never_count_and_nothing_is_used_up(hosted: House) -> None:
    token = await hosted.issue(max_uses=1)
    head = await opened(hosted, token, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    for name, value in (("Sec-Purpose", "prefetch;prerender"), ("Purpose", "prefetch"), ("X-Moz", "prefetch")):
        assert (await opened(hosted, token, **{name: value})).status_code == 200
    assert await counts(hosted) == {"opened": 0, "verified": 0, "refused": {}}
    for _ in range(3):
        assert (await opened(hosted, token)).status_code == 200
    assert await counts(hosted) == {"opened": 3, "verified": 0, "refused": {}}
    assert (await pressed(hosted, token)).status_code == 303


async def test_refusals_are_pages_with_their_status(hosted: House) -> None:
    token = await hosted.issue()
    await hosted.client.delete(f"/v1/tokens/{token}", headers=hosted.headers)
    early = await hosted.issue(duration="P365D", not_before="2027-01-01T00:00:00Z")
    for path, status, words in (
        (token, 403, "Dieses Angebot wurde zurückgezogen"),
        (early, 403, "Ein wenig zu früh"),
        (flipped(token, 3), 403, "Dieser Link ist nicht gültig"),
        ("nonsense", 400, "Dieser Link ist nicht vollständig"),
    ):
        for answer in (await opened(hosted, path), await pressed(hosted, path)):
            assert answer.status_code == status
            assert words in answer.text
            assert answer.headers["content-type"].startswith("text/html")


async def test_a_campaign_without_a_landing_page_shows_none(hosted: House) -> None:
    token = await hosted.issue(campaign_id="other", max_uses=1)
    assert (await opened(hosted, token)).status_code == 404
    assert (await pressed(hosted, token)).status_code == 404
    # And nothing was used up by it.
    assert (await hosted.verify(token)).status_code == 200


async def test_an_offer_in_one_language_is_shown_to_all_and_its_words_are_only_words(hosted: House) -> None:
    offer = {"en": {"title": "<b>Now</b>", "text": "One\n\n<script>alert(1)</script>", "button": "Go & see"}}
    await hosted.client.put("/v1/campaigns/spring/landing", json=OFFER | {"offer": offer}, headers=hosted.headers)
    page = await opened(hosted, await hosted.issue())
    assert page.headers["content-language"] == "en"
    assert "&lt;b&gt;Now" in page.text
    assert "<script>" not in page.text
    assert 'hreflang="de"' not in page.text


async def test_a_visitor_who_tries_many_links_is_slowed_down(
    hosted: House, make_settings: MakeSettings, register: FakeRegister
) -> None:
    token = await hosted.issue()
    app = create_app(make_settings(bad_signatures_per_address=2), register=register)
    async with running(app) as client:
        strict = House(app, client, hosted.headers, hosted.tenant)
        answers = [await opened(strict, flipped(token, bit)) for bit in range(4)]
        assert [answer.status_code for answer in answers] == [403, 403, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        # Somebody else may come from the same address, and has a link that is good.
        assert (await opened(strict, token)).status_code == 200


async def test_the_page_names_the_tenant_and_the_destination(hosted: House, sessions: FakeSessions) -> None:
    sessions.names[hosted.tenant] = "Müller & Söhne"
    page = await opened(hosted, await hosted.issue())
    assert "Ein Angebot von Müller &amp; Söhne." in page.text
    assert "Er führt Sie zu " in page.text


async def test_an_offer_is_shown_also_while_nobody_says_what_the_tenant_is_called(
    hosted: House, sessions: FakeSessions
) -> None:
    token = await hosted.issue()
    sessions.is_down = True
    page = await opened(hosted, token)
    assert page.status_code == 200
    assert f"Ein Angebot von {hosted.tenant}." in page.text


async def test_the_name_of_a_tenant_is_remembered_and_renewed() -> None:
    sessions, now = FakeSessions(), [0.0]
    service_tokens = ServiceKeys().tokens("token-service")
    asked = ServiceClient(
        "http://onboarding",
        audience="partner-onboarding",
        service_tokens=service_tokens,
        transport=sessions.transport(),
    )
    names = TenantNames(OnboardingClient(asked), seconds=lambda: now[0])
    sessions.names["demo"] = "Before"
    assert await names.of("demo") == "Before"
    sessions.names["demo"] = "After"
    assert await names.of("demo") == "Before"
    now[0], sessions.is_down = 300.0, True
    assert await names.of("demo") == "Before"
    now[0], sessions.is_down = 305.0, False
    assert await names.of("demo") == "After"
    assert await names.of("nobody") == "nobody"


async def test_landing_pages_may_have_a_host_of_their_own(
    hosted: House, make_settings: MakeSettings, register: FakeRegister
) -> None:
    """Links on the platform's host lead there; its other links lead back, and no cookie is set."""
    token = await hosted.issue(max_uses=1)
    app = create_app(make_settings(landing_origin="http://offers.example:8000"), register=register)
    async with running(app) as client:
        house = House(app, client, hosted.headers, hosted.tenant)
        for method in ("GET", "POST"):
            answer = await house.client.request(method, f"/t/{token}?utm=x%26y", headers=PUBLIC)
            assert answer.status_code == 308
            assert answer.headers["location"] == f"http://offers.example:8000/t/{token}?utm=x%26y"
            assert answer.headers["referrer-policy"] == "no-referrer"
        page = await opened(house, token, Host="offers.example:8000")
        assert page.status_code == 200
        assert "set-cookie" not in page.headers
        links = re.findall(r'href="(/[^"]*)"', page.text)
        assert all(link.startswith(("/t/static/", f"/t/{token}?lang=")) for link in links)
        assert f'href="{PUBLIC_URL}/"' in page.text
        assert f'href="{PUBLIC_URL}/register/privacy"' in page.text
        gone = await house.client.post(f"/t/{token}", headers=PUBLIC | {"Host": "offers.example:8000"})
        assert gone.status_code == 303


@pytest.mark.parametrize(
    "origin", ["https://offers.example/x", "offers.example", "ftp://offers.example", f"{PUBLIC_URL}:444"]
)
def test_an_origin_of_landing_pages_is_another_host_and_no_more(make_settings: MakeSettings, origin: str) -> None:
    with pytest.raises(ValueError, match="landing_origin"):
        make_settings(landing_origin=origin)


async def test_forged_links_ask_no_database(hosted: House) -> None:
    token = await hosted.issue()
    # Keys of tenants that this process has not met yet are read once.
    await opened(hosted, flipped(token, 99))
    with hosted.counted_connections() as connections:
        for bit in range(5):
            assert (await opened(hosted, flipped(token, bit))).status_code == 403
        assert len(connections) <= 1  # the list of tenants with a landing page, every two seconds


def landing_with(destination_url: str) -> dict[str, Any]:
    return OFFER | {"destination_url": destination_url}


async def set_up(house: House, body: dict[str, Any]) -> None:
    answer = await house.client.put("/v1/campaigns/spring/landing", json=body, headers=house.headers)
    assert answer.status_code in {200, 201}, answer.text
    provided(house.app, LandingService)._read_at = float("-inf")


async def open_page(house: House, path: str) -> httpx.Response:
    return await house.client.get(path, headers={"User-Agent": PUBLIC["User-Agent"], "Accept-Language": "en"})


async def test_the_destination_learns_who_comes_and_from_where(house: House) -> None:
    url = "https://mystore.example/{customer_id}?t={token}&d={attributes.discount}&n={attributes.none}#top"
    await set_up(house, landing_with(url))
    token = await house.issue(customer_id="Jürgen & Co", attributes={"discount": 50})
    page = await open_page(house, f"/t/{token}?utm_source=mail&t=mine")
    assert f'action="/t/{token}?utm_source=mail&amp;t=mine"' in page.text
    answer = await house.client.post(f"/t/{token}?utm_source=mail&t=mine&lang=de")
    assert answer.headers["location"] == (
        f"https://mystore.example/J%C3%BCrgen%20%26%20Co?t={token}&d=50&n=&utm_source=mail#top"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://mystore.example/{tokens}",
        "https://mystore.example/{}",
        "https://mystore.example/{attributes.}",
        "https://mystore.example/{token",
        "https://{customer_id}.example/",
        "{token}://mystore.example/",
        "javascript:{token}",
    ],
)
async def test_placeholders_that_nobody_can_fill_in_are_refused(house: House, url: str) -> None:
    answer = await house.client.put("/v1/campaigns/spring/landing", json=landing_with(url), headers=house.headers)
    assert refusal(answer) == (400, "malformed_destination_url")


@pytest.mark.parametrize("behind", ["", ".", ")", ",", "/", ").", "%22", "%C2%BB", "/?utm_source=x"])
async def test_what_a_mail_program_took_into_the_link_does_no_harm(house: House, behind: str) -> None:
    await set_up(house, OFFER)
    token = await house.issue()
    for text in (token, token.upper()):
        page = await open_page(house, f"/t/{text}{behind}")
        assert page.status_code == 200
        assert f'action="/t/{token}' in page.text


async def test_the_page_says_what_it_is_to_previews_and_when_it_ends(house: House) -> None:
    await set_up(house, OFFER)
    page = await open_page(house, f"/t/{await house.issue()}")
    assert '<meta property="og:title" content="50% off housing">' in page.text
    assert '<meta property="og:description" content="For 24 hours, for you alone.">' in page.text
    assert "This offer ends on" in page.text
    assert "mystore.example" in page.text
    for_ever = await open_page(house, f"/t/{await house.issue(duration='never')}")
    assert "This offer ends on" not in for_ever.text


@pytest.mark.parametrize("path", ["/t/", "/t/nonsense", "/t/a/b", "/t/" + "0" * 32, "/t//evil.example"])
async def test_refusals_are_pages_that_lead_nowhere_else(house: House, path: str) -> None:
    page = await open_page(house, path)
    assert page.status_code in {400, 403, 404}
    assert page.headers["content-type"].startswith("text/html")
    assert 'href="//' not in page.text


async def test_of_changes_to_one_state_of_a_landing_page_one_is_made(house: House) -> None:
    path = "/v1/campaigns/spring/landing"

    async def put(number: int, condition: str, tag: str) -> httpx.Response:
        body = OFFER | {"destination_url": f"https://shop.example/{number}"}
        return await house.client.put(path, json=body, headers={**house.headers, condition: tag})

    made = await asyncio.gather(*(put(number, "If-None-Match", "*") for number in range(5)))
    assert sorted(answer.status_code for answer in made) == [201, 412, 412, 412, 412]
    tag = (await house.client.get(path, headers=house.headers)).headers["ETag"]
    changed = await asyncio.gather(*(put(number, "If-Match", tag) for number in range(5, 10)))
    assert sorted(answer.status_code for answer in changed) == [200, 412, 412, 412, 412]
    (winner,) = [answer for answer in changed if answer.status_code == 200]
    present = await house.client.get(path, headers=house.headers)
    assert (present.json(), present.headers["ETag"]) == (winner.json(), winner.headers["ETag"])
    assert (await house.client.delete(path, headers=house.headers)).status_code == 204
    assert (await put(1, "If-Match", winner.headers["ETag"])).status_code == 412
