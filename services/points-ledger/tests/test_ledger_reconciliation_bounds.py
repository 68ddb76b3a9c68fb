"""A comparison holds no transaction open, takes no more than its part, and survives a database that is away."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg
import pytest
from platform_testing.plans import connected
from points_ledger.domain.transactions import State
from points_ledger.eai.queries import read_horizon
from points_ledger.lists import Line
from points_ledger.reconciliations import service as service_module
from points_ledger.reconciliations.domain import Finding, Kind, StatedLine, Summary
from points_ledger.reconciliations.service import ReconciliationService
from shared.db import Database
from shared.errors import Unavailable
from shared.reports import Reports
from sqlalchemy.ext.asyncio import AsyncConnection

from .parties import Platform, Vendor


@pytest.fixture
async def reports(ledger_url: str) -> AsyncIterator[Reports]:
    reports = Reports(Database(ledger_url, pool_size=2), seconds=10, at_once=1)
    yield reports
    await reports.close()


def a_line(number: int, transaction: str) -> Line[StatedLine]:
    return Line(number, StatedLine(transactionid=transaction, state=State.CONFIRMED, points=1))


async def test_no_transaction_is_open_and_no_connection_taken_while_lines_are_awaited(
    reports: Reports, rows: asyncpg.Connection, tenant: str
) -> None:
    """A vendor that is slow must hold nothing back: no vacuum, and no other report."""
    taken: list[int] = []

    async def lines() -> AsyncIterator[list[Line[StatedLine]]]:
        for number in (1, 2):
            taken.append(
                await rows.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND state <> 'idle' AND pid <> pg_backend_pid() AND query LIKE '%unnest%'"
                )
            )
            yield [a_line(number, f"t-{number}")]

    service = ReconciliationService(reports)
    found = [one async for one in service.compare(tenant, "shop", lines(), client_id="one")]
    assert isinstance(found[-1], Summary)
    assert taken == [0, 0]


async def test_a_transaction_that_is_being_written_as_the_range_ends_is_found(
    reports: Reports,
    ledger_url: str,
    tenant: str,
    shop: Vendor,
    platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has its time already, and the next day's range begins after it."""
    await shop.commit(await platform.user_with(5), "known", 1)
    async with connected(ledger_url) as writer:
        writing = writer.transaction()
        await writing.start()
        await writer.execute(
            "/* dated */ INSERT INTO points_ledger.transactions (tenant, vendor_id, transaction_id, user_id, state,"
            " points, deducted, refunded, description, created_at, ended_at, touched_at)"
            " SELECT tenant, vendor_id, 'late', user_id, 'rejected', 1, 0, 0, '', now.at, now.at, now.at"
            " FROM points_ledger.transactions, (SELECT clock_timestamp() AS at) AS now WHERE tenant = $1",
            tenant,
        )
        horizons = []

        async def noted(connection: AsyncConnection) -> datetime:
            horizons.append(await read_horizon(connection))
            if len(horizons) == 1:
                await writing.commit()
            return horizons[-1]

        monkeypatch.setattr(service_module, "read_horizon", noted)

        async def none() -> AsyncIterator[list[Line[StatedLine]]]:
            return
            yield

        found = [one async for one in ReconciliationService(reports).compare(tenant, "shop", none(), client_id="one")]
        assert {one.transaction_id for block in found[:-1] for one in block} == {"known", "late"}


async def test_a_client_compares_no_more_lists_at_once_than_it_may_have_reports(
    reports: Reports, tenant: str, shop: Vendor
) -> None:
    service, more = ReconciliationService(reports), asyncio.Event()

    async def slow() -> AsyncIterator[list[Line[StatedLine]]]:
        await more.wait()
        yield [a_line(1, "a")]

    async def none() -> AsyncIterator[list[Line[StatedLine]]]:
        return
        yield

    first = service.compare(tenant, "shop", slow(), client_id="one")
    assert await anext(first) == []
    from shared.reports import TooManyReports

    with pytest.raises(TooManyReports):
        await anext(service.compare(tenant, "shop", none(), client_id="one"))
    other = service.compare(tenant, "shop", none(), client_id="two")
    assert await anext(other) == []
    await other.aclose()
    more.set()
    assert [one async for one in first][-1].yours == 1
    # The place is free again, also after one that was given up half way.
    for _ in range(2):
        given_up = service.compare(tenant, "shop", none(), client_id="one")
        await anext(given_up)
        await given_up.aclose()


async def test_a_list_is_read_up_to_its_bound(reports: Reports, tenant: str) -> None:
    async def lines() -> AsyncIterator[list[Line[StatedLine]]]:
        yield [a_line(number, f"t-{number}") for number in range(1, 4)]
        yield [a_line(number, f"t-{number}") for number in range(4, 9)]
        raise AssertionError("nothing behind the bound is read")

    service = ReconciliationService(reports, most_lines=5)
    found = [one async for one in service.compare(tenant, "shop", lines(), client_id="one")]
    findings: list[Finding] = [each for block in found[:-1] for each in block]
    assert [each.kind for each in findings] == [*[Kind.ONLY_YOURS] * 5, Kind.MALFORMED]
    assert findings[-1].line == 6
    assert found[-1].yours == 6
    assert Kind.ONLY_OURS not in found[-1].found


async def test_a_database_that_is_away_for_a_moment_does_not_end_a_comparison(
    reports: Reports, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from points_ledger.reconciliations import queries

    read, failures = queries.read_named, 2

    async def sometimes(*arguments: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise Unavailable(log="away")
        return await read(*arguments)

    monkeypatch.setattr(queries, "read_named", sometimes)

    async def lines() -> AsyncIterator[list[Line[StatedLine]]]:
        yield [a_line(1, "a")]

    found = [one async for one in ReconciliationService(reports).compare(tenant, "shop", lines(), client_id="one")]
    assert found[-1].yours == 1
    assert failures == 0
