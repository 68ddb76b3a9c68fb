"""Figures about a process and its database, as Prometheus reads them."""

import time
from collections.abc import Callable

import pytest
import uvicorn
from fastapi import FastAPI
from platform_testing.serving import running
from prometheus_client import REGISTRY
from pydantic import SecretStr
from shared.db import Database
from shared.errors import Conflict, TooManyRequests, Unavailable
from shared.rate_limits import Counts, RateLimit
from shared.service_app import create_service_app
from shared.serving import DrainingServer
from sqlalchemy import text

from .conftest import Lifespan, MakeSettings


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def app(make_settings: MakeSettings, lifespan: Lifespan, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setenv("BUILD_REVISION", "4f2a91c")

    async def is_well() -> None:
        return

    async def is_ill() -> None:
        raise Unavailable("No.")

    readiness = {"well": is_well, "ill": is_ill}
    app = create_service_app(make_settings(), title="figures", description="", lifespan=lifespan, readiness=readiness)

    @app.get("/taken")
    async def taken() -> None:
        raise Conflict("Taken.", code="reference_reused")

    return app


async def test_refusals_are_counted_by_their_codes(app: FastAPI) -> None:
    before = figure("refusals_total", code="reference_reused")
    async with running(app) as client:
        for _ in range(3):
            assert (await client.get("/taken")).status_code == 409
    assert figure("refusals_total", code="reference_reused") == before + 3


async def test_build_and_readiness_are_told(app: FastAPI) -> None:
    async with running(app) as client:
        assert (await client.get("/healthz")).json() == {"status": "alive", "version": "0+4f2a91c"}
        assert (await client.get("/readyz")).status_code == 503
    assert figure("build_info", service="figures", version="0+4f2a91c") == 1
    assert figure("readiness_check", check="well") == 1
    assert figure("readiness_check", check="ill") == 0


async def _divide(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("SELECT 1 / 0"))


async def _divide_raw(database: Database) -> None:
    async with database.raw_transaction() as connection:
        await connection.execute("SELECT 1 / 0")


@pytest.mark.parametrize("divide", [_divide, _divide_raw])
async def test_errors_of_the_database_are_counted_by_sqlstate(
    database: Database, divide: Callable[..., object]
) -> None:
    before = figure("database_errors_total", sqlstate="22012")
    with pytest.raises(Exception, match="division by zero"):
        await divide(database)
    assert figure("database_errors_total", sqlstate="22012") == before + 1


async def test_a_database_that_is_away_is_counted_and_refusals_of_use_cases_are_not(
    database: Database, unused_tcp_port: int
) -> None:
    away = Database(f"postgresql://a:b@127.0.0.1:{unused_tcp_port}/c")
    before = figure("database_errors_total", sqlstate="connection")
    with pytest.raises(Unavailable):
        await away.ping()
    assert figure("database_errors_total", sqlstate="connection") == before + 1
    with pytest.raises(Conflict):
        async with database.raw_transaction():
            raise Conflict("Taken.", code="reference_reused")
    assert figure("database_errors_total", sqlstate="connection") == before + 1
    await away.dispose()


async def test_pools_tell_how_many_connections_are_in_use(shared_url: str) -> None:
    alone = Database(shared_url, pool_size=3, pool="watched")
    assert figure("database_connections_at_most", pool="watched") == 3
    async with alone.transaction() as connection, alone.raw_transaction():
        await connection.execute(text("SELECT 1"))
        assert figure("database_connections_in_use", pool="watched") == 1
        assert figure("database_connections_in_use", pool="watched-lines") == 1
    assert figure("database_connections_in_use", pool="watched") == 0
    assert figure("database_connections_in_use", pool="watched-lines") == 0
    await alone.dispose()


async def test_what_a_limit_holds_back_is_counted() -> None:
    limit = RateLimit(Counts.at(SecretStr("memory://")), 1, 60, "figures")
    await limit.count("somebody")
    with pytest.raises(TooManyRequests):
        await limit.count("somebody")
    assert figure("rate_limit_refusals_total", limit="figures") == 1


async def test_an_event_loop_that_is_held_up_is_noticed(
    app: FastAPI, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    server = DrainingServer(uvicorn.Config(app), app, make_settings())
    sums = []
    for seconds in (0.1, 0.1, 0.1 + 3):
        await server.on_tick(1)
        now[0] += seconds
        sums.append(figure("event_loop_lag_seconds_sum"))
    await server.on_tick(1)
    assert sums[-1] - sums[0] == pytest.approx(0)
    assert figure("event_loop_lag_seconds_sum") - sums[-1] == pytest.approx(3)
