"""Events that were recorded before rows held several keep their ids, numbers and order."""

import secrets

import asyncpg
import pytest
import sqlalchemy as sa
from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from shared.db import Database
from shared.events.domain import Reader
from shared.events.feed import Feed, Page
from shared.events.tables import EventTables, define_event_tables
from shared.migrating import downgrade, upgrade

_BEFORE = {
    "points_ledger": "0004",
    "sso_issuer": "20261129_0006",
    "partner_onboarding": "20261129_0010",
    "token_service": "0005",
}
_IDS = [f"evt_{digit * 24}" for digit in "abcd"]


async def _record_as_before(url: str, schema: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"INSERT INTO {schema}.event_positions (tenant, last_number) VALUES ('t', 2)")  # noqa: S608 — our own name
    await connection.execute(
        f"INSERT INTO {schema}.events (tenant, number, event_id, type, owner, happened_at, data)"  # noqa: S608 — our own name
        """ VALUES ('t', 1, $1, 'x', 'shop', '2026-11-01T10:00:00.125Z', '{"n": 1}'),"""
        """ ('t', 2, $2, 'x', NULL, '2026-11-01T11:00:00Z', '{"n": 2}')""",
        *_IDS[:2],
    )
    await connection.execute(
        f"INSERT INTO {schema}.event_outbox (tenant, events) VALUES ('t', jsonb_build_array("  # noqa: S608 — our own name
        "jsonb_build_object('id', $1::text, 'type', 'x', 'owner', 'shop', 'at', '2026-11-01T12:00:00.000Z',"
        """ 'data', '{"n": 3}'::jsonb), jsonb_build_object('id', $2::text, 'type', 'x', 'owner', NULL,"""
        """ 'at', '2026-11-01T12:00:00.000Z', 'data', '{"n": 4}'::jsonb)))""",
        *_IDS[2:],
    )
    await connection.close()


async def _read(url: str, tables: EventTables) -> tuple[Page, ...]:
    database = Database(url)
    feed = Feed(database, tables, "x")
    await feed.number_recorded()
    platform, shop = Reader("t", "p", None), Reader("t", "s", "shop")
    pages = [
        await feed.read(platform, after=None, types=(), limit=10),
        await feed.read(shop, after=None, types=(), limit=10),
        await feed.read(platform, after=_IDS[1], types=(), limit=10),
    ]
    await database.dispose()
    return tuple(pages)


@pytest.mark.parametrize("package", sorted(_BEFORE))
def test_events_of_the_first_version_keep_their_ids_and_order_up_and_down_and_up(
    postgres: EmbeddedPostgres, package: str
) -> None:
    name, password = f"packed_{package}", secrets.token_urlsafe(16)
    postgres.create_role_and_database(name, password)
    url = postgres.url(name, name, password)
    upgrade(url, package, _BEFORE[package])
    in_own_loop(_record_as_before(url, package))
    for _ in range(2):
        upgrade(url, package)
        everything, shops, behind = in_own_loop(_read(url, define_event_tables(sa.MetaData(schema=package))))
        assert [(event.number, event.event_id, event.data["n"]) for event in everything.events] == [
            *zip((1, 2, 3, 4), _IDS, (1, 2, 3, 4), strict=True)
        ]
        assert everything.events[0].happened_at.isoformat() == "2026-11-01T10:00:00.125000+00:00"
        assert [event.data["n"] for event in shops.events] == [1, 3]
        assert [event.data["n"] for event in behind.events] == [3, 4]
        downgrade(url, package, _BEFORE[package])
