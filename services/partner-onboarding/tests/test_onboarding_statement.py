"""A person's own statement: what the ledger says, as a page and as CSV, and nobody else's."""

import csv
import io
from typing import Any

import pytest

from .onboarding_house import House

HTML = {"Accept": "text/html"}
HOLD = {
    "vendor_id": "shop",
    "transactionid": "t-9",
    "points": 250,
    "created_at": "2026-11-21T20:00:00.000Z",
    "expires_at": "2026-11-21T20:15:00.000Z",
}


def entry(number: int, points: int = 100, **changed: Any) -> dict[str, Any]:
    told = {
        "user_id": "erika",
        "number": number,
        "kind": "credit" if points > 0 else "redemption",
        "points": points,
        "balance": 1_250,
        "vendor_id": None if points > 0 else "shop",
        "reference": f"r-{number}",
        "reason": f"reason {number}",
        "created_at": "2026-11-20T10:30:00.000Z",
    }
    return told | changed


async def signed_in(house: House, *entries: dict[str, Any]) -> None:
    await house.sign_in(await house.user())
    house.neighbours.balances[house.tenant, "erika"] = (1_000, 250)
    house.neighbours.entries[house.tenant, "erika"] = list(entries)
    house.neighbours.vendors[house.tenant] = [{"vendor_id": "shop", "name": "Rewards <Shop>"}]


async def test_a_person_reads_what_was_earned_spent_and_set_aside(house: House) -> None:
    await signed_in(house, entry(2, -300, reason="Coffee <beans>"), entry(1, 1_550))
    house.neighbours.holds[house.tenant, "erika"] = [HOLD]
    english = (await house.http.get("/account/statement")).text
    for words in ("Earned", "+1,550", "Spent", "−300", "Coffee &lt;beans&gt;", "Rewards &lt;Shop&gt;", "20 Nov 2026"):
        assert words in english
    assert "Set aside until" in english
    assert "21 Nov 2026, 20:15 UTC" in english
    german = (await house.http.get("/account/statement?lang=de")).text
    for words in ("Kontoauszug", "Gesammelt", "+1.550", "Eingelöst", "20.11.2026, 10:30 UTC", "Zurückgelegt bis"):
        assert words in german
    assert 'href="/account/statement"' in (await house.http.get("/account")).text


async def test_older_entries_are_a_page_further(house: House) -> None:
    await signed_in(house, *(entry(number) for number in range(120, 0, -1)))
    house.neighbours.holds[house.tenant, "erika"] = [HOLD]
    first = (await house.http.get("/account/statement")).text
    assert ("reason 120<" in first, "reason 70<" in first) == (True, False)
    assert 'href="/account/statement?cursor=50"' in first
    second = (await house.http.get("/account/statement?cursor=50")).text
    assert ("reason 120<" in second, "reason 70<" in second) == (False, True)
    assert "Set aside until" not in second
    # A link that the ledger does not know begins at the top.
    assert "reason 120<" in (await house.http.get("/account/statement?cursor=-1")).text


async def test_the_statement_as_csv_has_every_entry_and_no_formula(house: House) -> None:
    many = [entry(number) for number in range(1_201, 1, -1)]
    await signed_in(house, *many, entry(1, -300, reason="=HYPERLINK(1)", reference="@x"))
    house.neighbours.holds[house.tenant, "erika"] = [HOLD]
    answer = await house.http.get("/account/statement?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="statement.csv"' in answer.headers["content-disposition"]
    assert answer.headers["cache-control"] == "no-store"
    hold, *entries = csv.DictReader(io.StringIO(answer.text))
    assert (hold["kind"], hold["points"], hold["held_until"]) == ("hold", "-250", "2026-11-21T20:15:00.000Z")
    assert len(entries) == 1_201
    assert entries[-1] == {
        "time": "2026-11-20T10:30:00.000Z",
        "kind": "redemption",
        "shop": "Rewards <Shop>",
        "reason": "'=HYPERLINK(1)",
        "reference": "'@x",
        "points": "-300",
        "balance": "1250",
        "held_until": "",
    }


async def test_somebody_without_an_account_has_an_empty_statement(house: House) -> None:
    await house.sign_in(await house.user())
    assert "There are no entries yet." in (await house.http.get("/account/statement")).text
    assert len((await house.http.get("/account/statement?format=csv")).text.splitlines()) == 1


@pytest.mark.parametrize("query", ["", "?format=csv"])
async def test_points_are_never_guessed(house: House, query: str) -> None:
    await signed_in(house, entry(1))
    house.neighbours.ledger_is_down = True
    answer = await house.http.get(f"/account/statement{query}", headers=HTML)
    assert answer.status_code == 503
    assert "Not available at the moment" in answer.text


async def test_a_statement_is_for_whom_it_is_about(house: House) -> None:
    answer = await house.http.get("/account/statement?format=csv")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/login?next=%2Faccount%2Fstatement%3Fformat%3Dcsv",
    )
