"""Records about people are kept as long as the settings say, and no longer."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from partner_onboarding.register.tables import audit_entries, mails
from partner_onboarding.retention import retention
from partner_onboarding.settings import Settings
from partner_onboarding.third_parties.tables import consents, integration_requests
from platform_testing.databases import MigratedDatabase
from platform_testing.plans import connected, indexes_of
from sqlalchemy.ext.asyncio import AsyncEngine

from .onboarding_house import House

_OLD = timedelta(days=2000)


async def test_old_records_go_and_young_ones_stay(house: House, owner: AsyncEngine, settings: Settings) -> None:
    await house.user("erika")
    client_id, _ = await house.client("points:read", kind="third_party", redirect_uris=("https://app.example/back",))
    await _add(house, audit_entries, actor_kind="shell", actor="", action="client_disabled", subject="x", details={})
    for mail_id in ("sent", "waiting"):
        waits = {"next_attempt_at": sa.func.now() if mail_id == "waiting" else None}
        await _add(house, mails, mail_id=mail_id, user_id="erika", kind="confirm", language="en", **waits)
    for state in ("declined", "submitted"):
        decided = {"decided_at": sa.func.now(), "decided_by": "x", "reason": b"x"} if state == "declined" else {}
        await _add(
            house,
            integration_requests,
            request_id=state,
            particulars=b"x",
            scopes=["points:read"],
            redirect_uris=["https://app.example/back"],
            state=state,
            **decided,
        )
    for version, event in enumerate(("granted", "extended", "withdrawn", "granted"), 1):
        await _add(house, consents, **_consent(client_id, version, event))
    await _forget(house, settings)
    assert await _kept(house, mails.c.mail_id) == ["sent", "waiting"], "nothing is old yet"

    for column in (mails.c.created_at, integration_requests.c.decided_at, audit_entries.c.recorded_at):
        await _age(owner, house, column)
    await _age(owner, house, consents.c.recorded_at, consents.c.version <= 3)
    await _forget(house, settings)
    assert await _kept(house, mails.c.mail_id) == ["waiting"]
    assert await _kept(house, integration_requests.c.request_id) == ["submitted"]
    assert await _kept(house, audit_entries.c.subject) == []
    assert await _kept(house, consents.c.version) == [4], "the consent that was given anew holds"


async def test_the_service_cannot_delete_what_is_young_whatever_it_asks_for(house: House) -> None:
    await _add(house, audit_entries, actor_kind="shell", actor="", action="client_disabled", subject="x", details={})
    async with house.register.database.transaction() as connection:
        await connection.execute(sa.text("SELECT partner_onboarding.forget_audit_entries('-10 years', 1000000)"))
    assert "x" in await _kept(house, audit_entries.c.subject)


async def test_a_consent_that_holds_stays_however_old_it_is(
    house: House, owner: AsyncEngine, settings: Settings
) -> None:
    client_id, _ = await house.client("points:read", kind="third_party", redirect_uris=("https://app.example/back",))
    for version, event in enumerate(("granted", "extended"), 1):
        await _add(house, consents, **_consent(client_id, version, event))
    await _age(owner, house, consents.c.recorded_at)
    await _forget(house, settings)
    assert await _kept(house, consents.c.version) == [1, 2]


async def test_a_withdrawal_outlives_what_it_ended(house: House, owner: AsyncEngine, settings: Settings) -> None:
    """Whichever chore comes first: without the withdrawal, the version before it would hold again."""
    client_id, _ = await house.client("points:read", kind="third_party", redirect_uris=("https://app.example/back",))
    for version, event in enumerate(("granted", "withdrawn"), 1):
        await _add(house, consents, **_consent(client_id, version, event))
    await _age(owner, house, consents.c.recorded_at)
    by_name = {chore.name: chore for chore in retention(house.register.database, settings)}
    await by_name["forget withdrawals"].do()
    assert await _kept(house, consents.c.version) == [1, 2]
    await by_name["forget ended consents"].do()
    assert await _kept(house, consents.c.version) == [2]
    await by_name["forget withdrawals"].do()
    assert await _kept(house, consents.c.version) == []


def _consent(client_id: str, version: int, event: str) -> dict[str, Any]:
    return {
        "client_id": client_id,
        "version": version,
        "event": event,
        "subject": "erika",
        "scopes": [] if event == "withdrawn" else ["points:read"],
        "words": {},
        "language": "en",
        "actor_kind": "tenant_admin",
        "actor": "erika",
    }


@pytest.mark.parametrize(("table", "written_at"), [("audit_entries", "recorded_at"), ("mails", "created_at")])
async def test_old_rows_are_found_by_their_age(young_database: MigratedDatabase, table: str, written_at: str) -> None:
    """Each hour, over all tenants: most rounds find nothing, and must not read everything for it."""
    place = f"partner_onboarding.{table}"
    statement = f"SELECT 1 FROM {place} WHERE {written_at} < now() - $1::interval LIMIT 5000"  # noqa: S608 - our names
    async with connected(young_database("partner_onboarding")) as young:
        found = await indexes_of(young, statement)
    assert list(found) == [f"ix_{table}_{written_at}"]
    assert f"({written_at} < " in found[f"ix_{table}_{written_at}"]


async def _add(house: House, table: sa.Table, **values: Any) -> None:
    async with house.register.database.transaction() as connection:
        await connection.execute(sa.insert(table).values(tenant=house.tenant, **values))


async def _age(owner: AsyncEngine, house: House, column: sa.Column[Any], *conditions: sa.ColumnElement[bool]) -> None:
    """As its owner: the role that serves cannot change all of them."""
    async with owner.begin() as connection:
        statement = sa.update(column.table).where(column.table.c.tenant == house.tenant, *conditions)
        await connection.execute(statement.values({column.name: column - _OLD}))


async def _kept(house: House, column: sa.Column[Any]) -> list[Any]:
    async with house.register.database.transaction() as connection:
        query = sa.select(column).where(column.table.c.tenant == house.tenant).order_by(column)
        return list((await connection.execute(query)).scalars())


async def _forget(house: House, settings: Settings) -> None:
    for chore in retention(house.register.database, settings):
        await chore.do()
