"""The audit is filtered, searched and downloaded: over HTTP and on the operators' page."""

import csv
import io
from datetime import UTC, datetime

import pytest
from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Action
from partner_onboarding.register.tables import audit_entries
from sqlalchemy import insert

from .integration_partner import sign_in_as
from .onboarding_house import House


async def noted(house: House, tenant: str, action: Action, subject: str, **values: object) -> None:
    """An entry in the audit, as of an act."""
    entry = {"actor_kind": "operator", "actor": "boss", "details": {}} | values
    async with house.register.database.transaction() as connection:
        await connection.execute(insert(audit_entries).values(tenant=tenant, action=action, subject=subject, **entry))


@pytest.mark.parametrize(
    ("asked", "subjects"),
    [
        ({}, ["three", "two", "one"]),
        ({"q": "T"}, ["three", "two"]),
        ({"q": "NEXT"}, ["three"]),
        ({"q": "203.0.113"}, ["two"]),
        ({"q": "id-1"}, ["one"]),
        ({"q": "%"}, []),
        ({"action": "user_changed"}, ["two", "one"]),
        ({"actor_kind": "client"}, ["three"]),
        ({"since": "2026-03-29T00:30:00Z"}, ["three", "two"]),
        ({"since": "0001-01-01T00:00:00Z"}, ["three", "two", "one"]),
        ({"until": "2026-03-29T00:30:00Z"}, ["one"]),
        ({"q": "t", "action": "user_changed", "actor_kind": "operator"}, ["two"]),
    ],
)
async def test_the_audit_is_filtered_and_searched_and_all_of_it_downloaded(
    house: House, asked: dict[str, str], subjects: list[str]
) -> None:
    operator, tenant = await house.caller("clients:admin"), house.tenant
    when = {n: datetime(2026, 3, 29, n, tzinfo=UTC) for n in range(3)}
    await noted(house, tenant, "user_changed", "one", recorded_at=when[0], request_id="id-1")
    await noted(house, tenant, "user_changed", "two", recorded_at=when[1], origin="203.0.113.0/24")
    await noted(house, tenant, "signed_in", "three", recorded_at=when[2], actor_kind="client", actor="=next")
    mine = {"since": "2026-03-29T00:00:00Z", "until": "2026-03-29T12:00:00Z"} | asked
    found = (await house.http.get("/v1/audit", params=mine, headers=operator)).json()
    assert ([entry["subject"] for entry in found["entries"]], found["next_cursor"]) == (subjects, None)
    download = await house.http.get("/v1/audit", params=mine, headers=operator | {"Accept": "text/csv"})
    assert download.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.DictReader(io.StringIO(download.text)))
    assert [row["subject"] for row in rows] == subjects
    assert [row["actor"] for row in rows if row["subject"] == "three"] == ["'=next"] * ("three" in subjects)


async def test_a_filtered_page_of_the_audit_leads_on_with_its_filter(house: House) -> None:
    operator = await house.caller("clients:admin")
    for n in range(5):
        await noted(house, house.tenant, "user_changed" if n % 2 == 0 else "signed_in", f"subject-{n}")
    asked = {"action": "user_changed", "limit": "2"}
    first = (await house.http.get("/v1/audit", params=asked, headers=operator)).json()
    rest = asked | {"cursor": first["next_cursor"]}
    second = (await house.http.get("/v1/audit", params=rest, headers=operator)).json()
    seen = [entry["subject"] for entry in (*first["entries"], *second["entries"])]
    assert (seen, second["next_cursor"]) == (["subject-4", "subject-2", "subject-0"], None)
    other = await house.http.get("/v1/audit", params=rest | {"action": "signed_in"}, headers=operator)
    assert (other.status_code, other.json()["code"]) == (400, "invalid_cursor")


async def test_a_search_of_the_audit_looks_through_so_many_entries_and_leads_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_store, "LOOKED_THROUGH", 3)
    operator = await house.caller("clients:admin")
    await noted(house, house.tenant, "user_changed", "deep-below")
    for n in range(5):
        await noted(house, house.tenant, "signed_in", f"subject-{n}")
    seen, cursor, pages = [], None, 0
    while cursor is not None or pages == 0:
        params = {"q": "deep"} | ({"cursor": cursor} if cursor else {})
        page = (await house.http.get("/v1/audit", params=params, headers=operator)).json()
        seen += [entry["subject"] for entry in page["entries"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert seen == ["deep-below"]
    assert pages > 1
    csv_text = (await house.http.get("/v1/audit?q=deep", headers=operator | {"Accept": "text/csv"})).text
    assert csv_text.count("deep-below") == 1
    await sign_in_as(house, "operator")
    text = (await house.http.get("/operations/audit?q=deep")).text
    assert "Nothing among the entries looked through so far." in text


async def test_the_page_of_the_audit_filters_by_the_tenants_days_and_shows_seconds(house: House) -> None:
    moment = datetime(2026, 3, 28, 23, 30, 17, tzinfo=UTC)
    await noted(house, house.tenant, "user_changed", "late-in-the-evening", recorded_at=moment)
    await sign_in_as(house, "operator")
    for day, found in {"2026-03-28": True, "2026-03-29": False}.items():
        page = (await house.http.get(f"/operations/audit?from={day}&to={day}&action=user_changed")).text
        assert ("late-in-the-evening" in page) is found, day
    page = (await house.http.get("/operations/audit?from=2026-03-28&to=2026-03-28")).text
    assert "28 Mar 2026, 23:30:17 UTC" in page
    for language in ("en", "de"):
        assert (await house.http.get(f"/operations/audit?lang={language}")).status_code == 200
    link = "/operations/audit?from=2026-03-28&to=2026-03-28&format=csv"
    assert link.replace("&", "&amp;") in page
    download = await house.http.get(link)
    assert download.headers["content-type"] == "text/csv; charset=utf-8"
    assert "late-in-the-evening" in download.text


@pytest.mark.parametrize(
    "query", ["q=%00", "q=a%e2%80%8bb", f"q={'x' * 200}", "action=no", "by=x", "from=2026-13-01", "to=9999-12-31"]
)
async def test_the_page_of_the_audit_leaves_out_what_it_does_not_understand(house: House, query: str) -> None:
    await noted(house, house.tenant, "user_changed", "some-subject")
    await sign_in_as(house, "operator")
    shown = await house.http.get(f"/operations/audit?{query}")
    assert (shown.status_code, "some-subject" in shown.text) == (200, True)
