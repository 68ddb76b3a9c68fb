"""Lists of which a filter leaves little over: each page looks at so many rows and no more, and no row is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.databases import new_database, owner_url
from platform_testing.plans import as_sent, connected, rows_looked_at
from points_ledger import reach
from points_ledger.domain.transactions import State
from points_ledger.eai import queries as eai
from points_ledger.holds import queries as holds
from sqlalchemy.ext.asyncio import AsyncConnection

from .parties import EAI, Platform, Vendor

NOW = datetime(2026, 11, 29, tzinfo=UTC)
FEW = 100


async def pages(client: httpx.AsyncClient, path: str, rows: str, headers: Any, **query: Any) -> list[list[str]]:
    """The ids on each page."""
    found, cursor = [], None
    while True:
        asked = {"limit": 4, **query} | ({} if cursor is None else {"cursor": cursor})
        answer = (await client.get(path, params=asked, headers=headers)).raise_for_status().json()
        found.append([row["transactionid"] for row in answer[rows]])
        cursor = answer["next_cursor"]
        if cursor is None:
            return found


@contextmanager
def looking_no_further(rows: int) -> Iterator[None]:
    """The ledger looks at so many rows for a page, also for one whose statement it has kept."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reach, "REACH", rows)
        eai.page_of.cache_clear()
        yield
    eai.page_of.cache_clear()


async def fill(shop: Vendor, user: str, rows: asyncpg.Connection, tenant: str) -> None:
    """Transactions of each state, many of one between few of the others."""
    for number in range(20):
        name = f"t-{number:02}"
        assert (await shop.commit(user, name, 1)).status_code == 200
        if number % 3 == 0:
            assert (await shop.confirm(user, name)).status_code == 200
        elif number == 10:
            assert (await shop.rollback(user, name)).status_code == 200
        elif number % 3 == 1:
            await rows.execute(
                "UPDATE points_ledger.transactions SET expires_at = clock_timestamp()"
                " WHERE tenant = $1 AND transaction_id = $2",
                tenant,
                name,
            )


@pytest.mark.parametrize("rows_a_page", [1, 2, 3, 4, 5])
async def test_who_follows_next_cursor_sees_all_though_pages_are_cut_short(
    platform: Platform,
    shop: Vendor,
    rows: asyncpg.Connection,
    tenant: str,
    rows_a_page: int,
) -> None:
    await fill(shop, await platform.user_with(100), rows, tenant)
    made = (await shop.look_up("t-03")).json()["createdat"]
    lists: list[tuple[str, str, Any, dict[str, str]]] = [
        (EAI, "transactions", shop.headers, {**state, **since})
        for state in [{}, *({"state": each.value} for each in State)]
        for since in ({}, {"since": made}, {"updated_since": made}, {"since": made, "updated_since": made})
    ]
    lists += [("/v1/holds", "holds", platform.headers, query) for query in ({}, {"vendor_id": "shop"})]
    for path, named, headers, query in lists:
        whole = [one for page in await pages(shop.client, path, named, headers, **query) for one in page]
        with looking_no_further(rows_a_page):
            cut = await pages(shop.client, path, named, headers, **query)
        assert [one for page in cut for one in page] == whole, query
        if named == "holds" or "updated_since" in query or query.get("state") == "held":
            assert all(len(page) <= rows_a_page for page in cut), query


@pytest.mark.parametrize("state", ["confirmed", "held"])
async def test_a_page_looks_at_so_many_rows_and_no_more(postgres: EmbeddedPostgres, state: str) -> None:
    """Of a vendor with thousands of transactions that the filter does not leave over: held ones have expired."""
    name = f"points_ledger_reach_{state}"
    url = new_database(postgres, "points_ledger", name)

    async def of_changes(connection: AsyncConnection) -> None:
        await eai.read_changes(
            connection, "demo", "shop", state=State.REJECTED, since=None, updated_since=NOW, after=None, limit=10
        )

    async def of_held(connection: AsyncConnection) -> None:
        await eai.read_transactions(connection, "demo", "shop", state=State.HELD, since=None, after=None, limit=10)

    async def of_holds(connection: AsyncConnection) -> None:
        await holds.read_holds(
            connection, "demo", user_id=None, vendor_id=None, older_than_seconds=None, after=None, limit=10
        )

    later = f"'{(NOW + timedelta(days=1)).isoformat()}'"
    asked = {
        of_changes: f"'held', {later}, 'expired', 'rejected', 'demo', 'shop', {later}, '{NOW.isoformat()}', 10",
        of_held: f"{later}, 'demo', 'shop', '-infinity', '', 10",
        of_holds: "'demo', 10",
    }
    async with connected(owner_url(postgres, name)) as filled:
        await filled.execute(
            "INSERT INTO points_ledger.transactions"
            " SELECT 'demo', 'shop', 't-' || n, 'ada', state, 1, (state = 'confirmed')::int, 0, '', at, at,"
            " CASE WHEN state = 'confirmed' THEN at END, at"
            " FROM generate_series(1, 3000) n, (VALUES ($1::timestamptz, $2::text)) AS made (at, state)",
            NOW,
            state,
        )
        for send in [of_changes, *([of_held, of_holds] if state == "held" else [])]:
            with looking_no_further(FEW):
                statement = await as_sent(url, send)
            assert await rows_looked_at(filled, statement, asked[send], "transactions") == FEW, statement
