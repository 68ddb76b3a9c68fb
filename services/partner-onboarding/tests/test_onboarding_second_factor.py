"""The second factor: a password alone opens nothing where an account has one, or must have one."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pyotp
import pytest
from partner_onboarding.app import create_app
from partner_onboarding.register.second_factors.domain import STEP_SECONDS, fitting_step, new_secret
from partner_onboarding.settings import Settings
from platform_testing.callers import ServiceKeys
from platform_testing.serving import running

from .onboarding_house import FAST, PASSWORD, House

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def code_of(page: httpx.Response, *, steps_ahead: int = 0) -> str:
    """What the person's app shows, from the key on the set-up page."""
    secret = re.search(r'class="secret">([A-Z2-7]{32})<', page.text)
    assert secret is not None
    return app_code(secret[1], steps_ahead=steps_ahead)


def app_code(secret: str, *, steps_ahead: int = 1) -> str:
    """What the app shows in the next half minute: it is good already, and stays so for a minute.

    A code of now sets the factor up (`set_up`): it may have become the former one until it is read.
    """
    return pyotp.TOTP(secret).at(datetime.now(UTC) + timedelta(seconds=STEP_SECONDS * steps_ahead))


async def post(browser: httpx.AsyncClient, page: str, action: str, **fields: str) -> httpx.Response:
    shown = await browser.get(page)
    token = re.search(r'name="csrf_token" value="([^"]+)"', shown.text)
    assert token is not None, shown.text
    return await browser.post(action, data={"csrf_token": token[1], **fields})


@pytest.fixture
async def strict_house(settings: Settings, house: House, service_keys: ServiceKeys) -> AsyncIterator[House]:
    """The same house, where people with a role must have a second factor."""
    app = create_app(settings.model_copy(update={"second_factor_required": True}), cost=FAST)
    async with running(app):
        strict = House(app, house.register, house.neighbours, house.tenant, service_keys)
        async with strict.http:
            yield strict


async def give_password(browser: httpx.AsyncClient, email: str, **fields: str) -> httpx.Response:
    """The first half of a sign-in."""
    shown = await browser.get("/login")
    token = re.search(r'name="csrf_token" value="([^"]+)"', shown.text)
    assert token is not None
    return await browser.post("/login", data={"csrf_token": token[1], "email": email, "password": PASSWORD, **fields})


async def signed_in(house: House, email: str) -> httpx.AsyncClient:
    browser = house.browser()
    assert (await give_password(browser, email)).headers["location"] == "/account"
    return browser


async def set_up(browser: httpx.AsyncClient) -> tuple[str, list[str]]:
    """Sets a second factor up for somebody who is signed in; the secret and the recovery codes."""
    assert (await post(browser, "/account/second-factor", "/account/second-factor/begin")).status_code == 303
    page = await browser.get("/account/second-factor")
    secret = re.search(r'class="secret">([A-Z2-7]{32})<', page.text)
    assert secret is not None
    done = await post(
        browser, "/account/second-factor", "/account/second-factor", code=app_code(secret[1], steps_ahead=0)
    )
    assert done.status_code == 200, done.text
    codes = re.findall(r'class="secret">([a-z2-9-]{14})<', done.text)
    assert len(codes) == 10
    return secret[1], codes


async def test_with_a_second_factor_the_password_alone_opens_nothing(house: House) -> None:
    email = await house.user("erika")
    first = await signed_in(house, email)
    secret, _ = await set_up(first)
    browser = house.browser()
    answer = await give_password(browser, email)
    assert answer.headers["location"].startswith("/login/code?next=")
    # The cookie of the first half opens no page but the one for the code.
    assert (await browser.get("/account")).status_code == 303
    assert (await browser.get("/account/data")).status_code == 303
    wrong = await post(browser, "/login/code", "/login/code", code="000000")
    assert wrong.status_code == 400
    half_cookie = browser.cookies["__Host-session"]
    right = await post(browser, "/login/code", "/login/code?next=/account", code=app_code(secret))
    assert (right.status_code, right.headers["location"]) == (303, "/account")
    assert browser.cookies["__Host-session"] != half_cookie
    assert (await browser.get("/account")).status_code == 200


async def test_a_code_is_good_once(house: House) -> None:
    email = await house.user("erika")
    secret, _ = await set_up(await signed_in(house, email))
    code = app_code(secret)
    for expected in (303, 400):
        browser = house.browser()
        await give_password(browser, email)
        answer = await post(browser, "/login/code", "/login/code", code=code)
        assert answer.status_code == expected


async def test_a_recovery_code_opens_once_and_new_ones_end_the_former(house: House) -> None:
    email = await house.user("erika")
    first = await signed_in(house, email)
    secret, codes = await set_up(first)
    for expected in (303, 400):
        browser = house.browser()
        await give_password(browser, email)
        answer = await post(browser, "/login/code", "/login/code", code=codes[0].upper().replace("-", " "))
        assert answer.status_code == expected
    renewed = await post(first, "/account/second-factor", "/account/second-factor/codes", code=app_code(secret))
    assert renewed.status_code == 200
    browser = house.browser()
    await give_password(browser, email)
    answer = await post(browser, "/login/code", "/login/code", code=codes[1])
    assert answer.status_code == 400


async def test_codes_are_not_tried_out(house: House) -> None:
    email = await house.user("erika")
    secret, _ = await set_up(await signed_in(house, email))
    browser = house.browser()
    await give_password(browser, email)
    statuses = [(await post(browser, "/login/code", "/login/code", code=f"{n:06}")).status_code for n in range(8)]
    assert statuses[-1] == 429
    # The right one is not taken either: who has just the password must not learn that this one was it.
    answer = await post(browser, "/login/code", "/login/code", code=app_code(secret))
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)


async def test_whoever_has_a_role_must_set_one_up_before_anything_opens(strict_house: House) -> None:
    house = strict_house
    email = await house.user("olga", roles=("operator",))
    browser = house.browser()
    answer = await give_password(browser, email, next="/operations")
    assert answer.headers["location"].startswith("/login/second-factor?next=")
    assert (await browser.get("/operations")).status_code == 303
    page = await browser.get("/login/second-factor?next=/operations")
    assert "<svg" in page.text
    done = await post(
        browser,
        "/login/second-factor?next=/operations",
        "/login/second-factor?next=/operations",
        code=code_of(page),
    )
    assert done.status_code == 200
    assert 'href="/operations"' in done.text
    assert (await browser.get("/operations")).status_code == 200
    kept = await post(
        browser,
        "/account/second-factor",
        "/account/second-factor/remove",
        remove_code=code_of(page, steps_ahead=1),
    )
    assert kept.status_code == 409


async def test_a_second_factor_is_given_up_with_a_code_alone(house: House) -> None:
    email = await house.user("erika")
    browser = await signed_in(house, email)
    secret, _ = await set_up(browser)
    remove = "/account/second-factor/remove"
    assert (await post(browser, "/account/second-factor", remove, remove_code="123456")).status_code == 400
    gone = await post(browser, "/account/second-factor", remove, remove_code=app_code(secret))
    assert gone.status_code == 303
    answer = await give_password(house.browser(), email)
    assert answer.headers["location"] == "/account"


@pytest.mark.parametrize(("ahead", "fits"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_off_by_one_step(ahead: int, fits: bool) -> None:
    secret = new_secret()
    code = pyotp.TOTP(secret).at(NOW + timedelta(seconds=STEP_SECONDS * ahead))
    step = fitting_step(secret, code, NOW, after=0)
    assert (step is not None) == fits
    if step is not None:
        assert fitting_step(secret, code, NOW, after=step) is None


@pytest.mark.parametrize("given", ["", "12345", "1234567", "12345a", "٣٣٣٣٣٣", "-12345", "1" * 5000])
def test_what_is_no_code_fits_nothing(given: str) -> None:
    assert fitting_step(new_secret(), given, NOW, after=0) is None
