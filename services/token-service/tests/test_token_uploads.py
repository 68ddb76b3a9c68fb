"""A list by page: looked at without effect, issued once however often it is pressed, and only by its own person."""

import csv
import io
import re

import httpx
import pytest

from .campaign_house import FakeSessions, House

LIST = "customer_id,campaign_id\ncustomer-1,by-page\ncustomer-2,by-page\n,by-page\n"
COMMON = {"base_url": "https://shop.example/offers", "duration": "PT24H"}


async def uploaded(
    house: House, admin: dict[str, str], content: bytes | str = LIST, name: str = "Kunden Mai.csv", **fields: str
) -> httpx.Response:
    body = content.encode() if isinstance(content, str) else content
    return await house.client.post(
        "/campaign-lists", data=COMMON | fields, files={"file": (name, body, "text/csv")}, headers=admin
    )


@pytest.fixture
def admin(house: House, sessions: FakeSessions) -> dict[str, str]:
    return sessions.add(f"admin-of-{house.tenant}", house.tenant, "tenant_admin") | {"Accept": "text/html"}


async def issued(house: House) -> int:
    answer = await house.client.get("/v1/campaigns/by-page/stats", headers=house.headers)
    return 0 if answer.status_code == 404 else int(answer.json()["issued"])


async def test_a_list_is_shown_first_and_issued_by_the_next_press_once(house: House, admin: dict[str, str]) -> None:
    kept = await uploaded(house, admin)
    assert kept.status_code == 303
    assert (await uploaded(house, admin)).headers["location"] == kept.headers["location"]
    page = (await house.client.get(kept.headers["location"], headers=admin | {"Accept-Language": "en"})).text
    assert "2 rows would become links, 1 would be refused." in page
    assert "malformed_row: customer_id is missing" in page
    assert "<bdi>Kunden Mai.csv</bdi>" in page
    assert await issued(house) == 0
    downloads = [await house.client.post(kept.headers["location"], headers=admin) for _ in range(2)]
    assert downloads[0].content == downloads[1].content
    assert downloads[0].headers["content-disposition"] == 'attachment; filename="Kunden-Mai-links.csv"'
    rows = list(csv.DictReader(io.StringIO(downloads[0].text)))
    assert [bool(row["token"]) for row in rows] == [True, True, False]
    assert all(row["url_link"] == f"https://shop.example/offers/{row['token']}" for row in rows[:2])
    assert (rows[2]["line"], "customer_id" in rows[2]["error"]) == ("4", True)
    assert await issued(house) == 2


async def test_a_list_is_of_the_person_who_uploaded_it(
    house: House, admin: dict[str, str], sessions: FakeSessions
) -> None:
    where = (await uploaded(house, admin)).headers["location"]
    other = sessions.add(f"other-of-{house.tenant}", house.tenant, "tenant_admin")
    sessions.known[f"other-of-{house.tenant}"]["user_id"] = "u2"
    foreign = sessions.add(f"foreign-of-{house.tenant}", "t-elsewhere", "tenant_admin")
    for stranger in (other, foreign):
        for method in ("GET", "POST"):
            answer = await house.client.request(method, where, headers=stranger)
            assert (answer.status_code, "half an hour" in answer.text or "list_gone" in answer.text) == (404, True)
    assert (await house.client.get("/campaign-lists/nothing", headers=admin)).status_code == 404


async def test_another_site_uploads_and_issues_nothing(house: House, admin: dict[str, str]) -> None:
    where = (await uploaded(house, admin)).headers["location"]
    foreign = admin | {"Sec-Fetch-Site": "cross-site"}
    assert (await uploaded(house, foreign)).status_code == 403
    assert (await house.client.post(where, headers=foreign)).status_code == 403
    assert await issued(house) == 0


@pytest.mark.parametrize(
    ("content", "fields", "status", "code"),
    [
        ("name\nx\n", {}, 400, "malformed_header"),
        (b"PK\x03\x04" + b"x" * 100, {}, 400, ""),
        (LIST, {"duration": "for ever"}, 400, "malformed_default"),
        (LIST, {"base_url": "nowhere"}, 400, "malformed_default"),
        ("", {}, 400, ""),
    ],
)
async def test_what_cannot_be_read_is_said_beside_the_form(
    house: House, admin: dict[str, str], content: bytes | str, fields: dict[str, str], status: int, code: str
) -> None:
    answer = await uploaded(house, admin, content, **fields)
    assert answer.status_code == status, answer.text
    assert 'role="alert"' in answer.text
    assert code in answer.text
    assert 'name="file"' in answer.text


async def test_a_list_without_a_file_and_one_that_is_too_long(house: House, admin: dict[str, str]) -> None:
    nothing = await house.client.post("/campaign-lists", data=COMMON, headers=admin)
    assert (nothing.status_code, 'role="alert"' in nothing.text) == (400, True)
    long = await uploaded(house, admin, "customer_id,campaign_id\n" + "x" * 2_000_100)
    assert long.status_code == 413


async def test_ndjson_and_windows_1252_are_taken(house: House, admin: dict[str, str]) -> None:
    lines = b'{"customer_id": "c-1", "campaign_id": "by-page"}\n'
    where = (await uploaded(house, admin, lines, "list.ndjson")).headers["location"]
    answer = await house.client.post(where, headers=admin)
    assert re.search(r'"token":"[0-9a-f]{32}"', answer.text)
    umlauts = LIST.replace("customer-1", "Müller").encode("windows-1252")
    where = (await uploaded(house, admin, umlauts, charset="windows-1252")).headers["location"]
    assert "Müller" in (await house.client.get(where, headers=admin)).text
