"""What partners are promised of their interface: spelling, status codes, and that nothing is billed twice."""

import asyncio
import csv
import re
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from partner_onboarding.app import create_app
from partner_onboarding.settings import Settings
from platform_testing.serving import running

from .handshake_partner import Partner
from .onboarding_house import FAST, House

CODE = re.compile(r"[1-9A-HJ-NP-Za-km-z]{22}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_codes_are_22_base58_characters_and_good_for_one_hour(house: House) -> None:
    partner = await Partner.of(house)
    answer = await partner.get("init-register-handshake", Accept="application/json;charset=UTF-8")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    codes = answer.json()
    assert set(codes) == {"registerCode", "authorizationCode", "expiresAt"}
    assert CODE.fullmatch(codes["registerCode"])
    assert CODE.fullmatch(codes["authorizationCode"])
    assert TIME.fullmatch(codes["expiresAt"])
    left = datetime.fromisoformat(codes["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


async def test_no_two_codes_are_alike(house: House) -> None:
    partner = await Partner.of(house)
    given = await asyncio.gather(*(partner.codes() for _ in range(50)))
    assert len({code for codes in given for code in (codes["registerCode"], codes["authorizationCode"])}) == 100


async def test_the_post_twin_gives_the_same_codes_for_the_same_key(house: House) -> None:
    partner = await Partner.of(house)
    key = {"Idempotency-Key": secrets.token_hex(8)}
    first = await partner.post("init-register-handshake", **key)
    again = await partner.post("init-register-handshake", **key)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert (await partner.post("init-register-handshake")).json() != first.json()


@pytest.mark.parametrize(
    "path",
    ["init-register-handshake", "activate-user/somebody", "event-list", "billing?month=2026-11"],
)
async def test_credentials_and_scope_are_needed(house: House, path: str) -> None:
    nobody = await house.http.get(f"/user/partner/{path}")
    assert nobody.status_code == 401
    assert "Basic" in nobody.headers["www-authenticate"]
    stranger = await house.http.get(f"/user/partner/{path}", headers=await house.caller("points:read"))
    assert (stranger.status_code, stranger.json()["code"]) == (403, "insufficient_scope")


async def test_activation_assigns_one_month_and_a_repeat_changes_nothing(house: House) -> None:
    partner = await Partner.of(house)
    await house.user("erika")
    await partner.link("erika", datetime.now(UTC))
    assert await partner.events() == {"erika": {}}
    first = await partner.get("activate-user/erika")
    events = await partner.events()
    again = [await partner.get("activate-user/erika"), await partner.post("activate-user/erika")]
    assert [answer.status_code for answer in (first, *again)] == [200, 200, 200]
    assert [answer.json() for answer in again] == [first.json()] * 2
    assert await partner.events() == events
    since = first.json()["activatedAt"]
    assert events == {"erika": {"activationDates": [since], "assignments": [{"months": 1, "assignedAt": since}]}}


async def test_ten_activations_at_once_assign_one_month(house: House) -> None:
    partner = await Partner.of(house)
    await house.user("erika")
    await partner.link("erika", datetime.now(UTC))
    answers = await asyncio.gather(*(partner.get("activate-user/erika") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    events = (await partner.events())["erika"]
    assert len(events["activationDates"]) == len(events["assignments"]) == 1


async def test_activation_without_handshake_is_forbidden_and_of_nobody_not_found(house: House) -> None:
    partner = await Partner.of(house)
    await house.user("erika")
    elsewhere = await house.another_tenant()
    await house.user("only-there", tenant=elsewhere)
    forbidden = await partner.get("activate-user/erika")
    assert (forbidden.status_code, forbidden.json()["code"]) == (403, "no_handshake")
    for user_id in ("nobody", "only-there"):
        missing = await partner.get(f"activate-user/{user_id}")
        assert (missing.status_code, missing.json()["code"]) == (404, "user_not_found")


@pytest.mark.parametrize("user_id", ["%00", "x" * 129, "%20", "a%0Ab"])
async def test_a_malformed_user_id_is_a_bad_parameter(house: House, user_id: str) -> None:
    partner = await Partner.of(house)
    assert (await partner.get(f"activate-user/{user_id}")).status_code == 400
    assert (await partner.remove(user_id)).status_code == 400


async def test_removing_ends_the_link_until_the_next_handshake(house: House) -> None:
    partner = await Partner.of(house)
    await house.user("erika")
    await partner.link("erika", datetime.now(UTC))
    await partner.get("activate-user/erika")
    removed = await partner.remove("erika")
    assert removed.status_code == 200
    again = await partner.remove("erika")
    assert (again.status_code, again.json()["code"]) == (404, "link_not_found")
    assert (await partner.remove("nobody")).status_code == 404
    assert (await partner.get("activate-user/erika")).status_code == 403
    assert (await partner.events())["erika"]["removalDates"] == [removed.json()["removedAt"]]
    await partner.link("erika", datetime.now(UTC))
    assert (await partner.get("activate-user/erika")).status_code == 200
    events = (await partner.events())["erika"]
    # Linked and activated twice within one month: billed once.
    assert (len(events["activationDates"]), len(events["removalDates"]), len(events["assignments"])) == (2, 1, 1)


async def test_partners_see_nothing_of_each_other(house: House) -> None:
    ours, theirs = await Partner.of(house), await Partner.of(house)
    await house.user("erika")
    await ours.link("erika", datetime.now(UTC))
    await ours.get("activate-user/erika")
    assert await theirs.events() == {}
    assert (await theirs.get("activate-user/erika")).status_code == 403
    assert (await theirs.remove("erika")).status_code == 404
    assert (await theirs.bill(f"{datetime.now(UTC):%Y-%m}"))["assignments"] == []


async def test_the_bill_agrees_with_the_event_list_as_json_and_as_csv(house: House) -> None:
    partner = await Partner.of(house)
    for name in ("erika", "max", "zoe"):
        await house.user(name)
        await partner.link(name, datetime.now(UTC))
        await partner.get(f"activate-user/{name}")
    month = f"{datetime.now(UTC):%Y-%m}"
    bill = await partner.bill(month)
    listed = [
        {"userId": user_id, **assignment}
        for user_id, events in (await partner.events()).items()
        for assignment in events["assignments"]
    ]
    assert sorted(bill["assignments"], key=str) == sorted(listed, key=str)
    assert (bill["month"], bill["sum"]) == (month, 3)
    table = await partner.get(f"billing?month={month}", Accept="text/csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["billing-sum"] == "3"
    lines = list(csv.DictReader(table.text.splitlines()))
    assert [(line["userId"], line["assignedAt"]) for line in lines] == [
        (one["userId"], one["assignedAt"]) for one in bill["assignments"]
    ]


@pytest.mark.parametrize(
    ("accept", "shown"),
    [
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("text/csv;q=0.1, application/json", "application/json"),
        ("text/csv;q=0", "application/json"),
    ],
)
async def test_the_bill_weighs_what_accept_names(house: House, accept: str, shown: str) -> None:
    partner = await Partner.of(house)
    answer = await partner.get("billing?month=2026-11", Accept=accept)
    assert answer.headers["content-type"].partition(";")[0] == shown


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-00", "0000-01", "2026-1", "2026-01-01", "²⁰²⁶-01"])
async def test_a_malformed_month_is_refused(house: House, month: str) -> None:
    partner = await Partner.of(house)
    assert (await partner.get(f"billing?month={month}")).status_code == 400


async def test_the_month_of_a_bill_has_four_digits_of_a_year(house: House) -> None:
    partner = await Partner.of(house)
    assert (await partner.bill("0987-06"))["month"] == "0987-06"
    table = await partner.get("billing?month=0987-06", Accept="text/csv")
    assert 'filename="billing-0987-06.csv"' in table.headers["content-disposition"]


async def test_who_asks_too_often_is_told_when_to_come_again(house: House, settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"partner_requests_per_minute": 3}), cost=FAST)
    partner, other = await Partner.of(house), await Partner.of(house)
    async with running(app) as http:
        statuses = []
        for _ in range(4):
            answer = await http.get("/user/partner/event-list", headers=partner.headers)
            statuses.append(answer.status_code)
        assert statuses == [200, 200, 200, 429]
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        init = await http.get("/user/partner/init-register-handshake", headers=partner.headers)
        assert (init.status_code, init.json()["code"]) == (429, "too_many_requests")
        assert (await http.get("/user/partner/event-list", headers=other.headers)).status_code == 200


async def test_the_maintenance_switch_answers_503(house: House, settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"partner_maintenance": True}), cost=FAST)
    partner = await Partner.of(house)
    async with running(app) as http:
        for path in ("init-register-handshake", "event-list", "activate-user/erika"):
            answer = await http.get(f"/user/partner/{path}", headers=partner.headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "maintenance")
            assert int(answer.headers["retry-after"]) > 0
