"""Reports have connections of their own, a time limit, a bound for each client, and end when the caller is gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from fastapi import APIRouter, FastAPI
from platform_testing.databases import MigratedDatabase
from shared.db import Database
from shared.errors import Unavailable
from shared.problems import headers_of, status_of
from shared.reports import ReportRoute, Reports, TooManyReports
from starlette.types import Message

SLOW = sa.text("SELECT pg_sleep(60)")


@pytest.fixture
async def reports(migrated_database: MigratedDatabase) -> AsyncIterator[Reports]:
    reports = Reports(Database(migrated_database("points_ledger"), pool_size=5), seconds=2, at_once=2)
    yield reports
    await reports.close()


async def test_a_statement_that_takes_too_long_ends_as_unavailable(reports: Reports) -> None:
    with pytest.raises(Unavailable):
        async with reports.transaction("demo", "ann") as connection:
            await connection.execute(SLOW)
    async with reports.transaction("demo", "ann") as connection:
        assert (await connection.execute(sa.text("SELECT 1"))).scalar_one() == 1


async def test_a_client_has_no_more_under_way_than_agreed(reports: Reports) -> None:
    async with reports.transaction("demo", "ann"), reports.transaction("demo", "ann"):
        with pytest.raises(TooManyReports) as refused:
            async with reports.transaction("demo", "ann"):
                pass
        async with reports.transaction("demo", "bob"), reports.transaction("other", "ann"):
            pass
    assert status_of(refused.value) == 429
    headers = headers_of(refused.value)
    assert headers["Retry-After"] == "1"
    assert headers["RateLimit-Policy"] == '"reports";q=2'
    assert headers["RateLimit"] == '"reports";r=0;t=1'
    async with reports.transaction("demo", "ann"):
        pass


async def test_a_read_ends_when_its_caller_is_gone() -> None:
    app, began, ended = FastAPI(), asyncio.Event(), asyncio.Event()
    router = APIRouter(route_class=ReportRoute)

    @router.get("/report")
    async def report() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    app.include_router(router)
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 1
        if received == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await began.wait()
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None: ...

    scope = {"type": "http", "method": "GET", "path": "/report", "query_string": b"", "headers": []}
    async with asyncio.timeout(20):
        await app(scope, receive, send)
    assert ended.is_set()
