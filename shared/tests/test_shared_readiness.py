"""`/readyz` tells the truth about the database, and tells it at once, also when the database hangs."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest
from fastapi import FastAPI
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.callers import ServiceKeys
from platform_testing.databases import MigratedDatabase
from platform_testing.serving import readiness as readiness_of
from platform_testing.serving import running
from pydantic import SecretStr
from shared.calling import ServiceClient
from shared.db import Database
from shared.errors import Unavailable
from shared.readiness import check_database
from shared.service_app import create_service_app
from shared.service_tokens import ServiceTokens

from shared import readiness

from .conftest import Lifespan, MakeSettings

PACKAGE = "points_ledger"


@contextmanager
def frozen(server: EmbeddedPostgres) -> Iterator[None]:
    """Stopped in the middle of whatever it does, as a machine whose disk hangs."""
    assert server.process is not None
    parent = psutil.Process(server.process.pid)
    processes = [parent, *parent.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@pytest.fixture
def ledger_url(migrated_database: MigratedDatabase) -> str:
    return migrated_database(PACKAGE)


@pytest.fixture
def app(ledger_url: str, make_settings: MakeSettings, lifespan: Lifespan) -> FastAPI:
    database = Database(ledger_url)
    return create_service_app(
        make_settings(),
        title="things",
        description="",
        lifespan=lifespan,
        readiness={"database": lambda: check_database(database, PACKAGE)},
    )


async def test_it_tells_revision_and_clock(app: FastAPI) -> None:
    async with running(app) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["checks"] == {"database": "ok"}
    told = answer.json()["database"]
    assert told["revision"]
    assert abs(told["clock_ahead_seconds"]) < 5


async def test_it_answers_within_a_second_while_the_database_hangs_and_is_ready_when_it_is_back(
    app: FastAPI, postgres: EmbeddedPostgres
) -> None:
    assert readiness._SECONDS < 1
    async with running(app) as client:
        while (await client.get("/readyz")).status_code != 200:
            pass
        with frozen(postgres):
            for _ in range(3):
                answer = await client.get("/readyz")
                # It was given up: the database's own time-out has another word, five seconds later.
                assert (answer.status_code, answer.json()["checks"]) == (503, {"database": "does not answer"})
        while (answer := await client.get("/readyz")).status_code != 200:
            assert answer.status_code == 503


@pytest.mark.parametrize("seconds", [90, -90])
async def test_a_clock_that_is_far_from_the_databases_makes_it_unready(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    monkeypatch.setattr(readiness, "time", lambda: time.time() + seconds)
    async with running(app) as client:
        answer = await readiness_of(client)
    assert answer.status_code == 503
    assert f"{seconds} s ahead" in answer.json()["checks"]["database"]


async def test_a_neighbour_that_does_not_answer_is_told_and_makes_nothing_unready(
    make_settings: MakeSettings, lifespan: Lifespan, service_keys: ServiceKeys
) -> None:
    now = [100.0]
    is_there = [False]

    async def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if is_there[0] else 503, json={})

    neighbour = ServiceClient(
        "http://ledger.invalid",
        audience="points-ledger",
        service_tokens=ServiceTokens(SecretStr(service_keys.private("sso-issuer")), service_keys.peers),
        transport=httpx.MockTransport(answer),
        clock=lambda: now[0],
    )
    app = create_service_app(
        make_settings(), title="things", description="", lifespan=lifespan, readiness={}, neighbours=[neighbour]
    )
    async with running(app) as client:

        async def told() -> object:
            answer = await client.get("/readyz")
            assert answer.status_code == 200
            return answer.json()["neighbours"]["points-ledger"]

        assert await told() == {"answers": None, "for_seconds": 0}
        for seconds in (0, 5):
            with pytest.raises(Unavailable):
                await neighbour.get("/")
            assert await told() == {"answers": False, "for_seconds": seconds}
            now[0] += 5
        is_there[0] = True
        await neighbour.get("/")
        assert await told() == {"answers": True, "for_seconds": 0}
