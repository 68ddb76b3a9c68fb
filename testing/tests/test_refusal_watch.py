"""The watch over refusals finds what an OpenAPI document does not say."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from platform_testing.callers import ServiceKeys
from platform_testing.refusals import RefusalWatch
from platform_testing.serving import running
from pydantic import BaseModel, SecretStr
from shared.errors import Conflict, NotFound
from shared.idempotency import IdempotencyKey
from shared.paging import Cursor
from shared.preconditions import Condition
from shared.problems import document_refusals
from shared.service_app import create_service_app
from shared.settings import Mode, ServiceSettings

router = APIRouter()


class Note(BaseModel):
    text: str


class Lost(NotFound):
    code = "note_lost"


class Torn(Conflict):
    code = "note_torn"


@router.get("/notes/{name}", responses=document_refusals([Lost]))
async def find_note(name: str, cursor: Cursor = None) -> Note:
    """Finds no note."""
    del cursor
    raise {"lost": Lost, "torn": Torn, "hidden": NotFound}[name]("There is no such note.")


@router.put("/notes/{name}")
async def write_note(name: str, note: Note, key: IdempotencyKey, condition: Condition) -> Note:
    """Writes any note."""
    del name, key, condition
    return note


@pytest.fixture
def app(service_keys: ServiceKeys) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield

    settings = ServiceSettings(
        mode=Mode.DEVELOPMENT,
        database_url=SecretStr("postgresql://nobody@127.0.0.1:9/nowhere"),
        public_url="https://points.example",
        port=8001,
        service_key=SecretStr(service_keys.private("points-ledger")),
        service_peers=service_keys.peers,
    )
    made = create_service_app(settings, title="notes", description="", lifespan=lifespan, readiness={})
    made.include_router(router)
    return made


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as client:
        yield client


@pytest.fixture
def found(refusal_watch: RefusalWatch) -> Iterator[set[str]]:
    """What the watch finds; forgotten before the test of the refusals that every test ends with."""
    refusal_watch.titles.add("notes")
    yield refusal_watch.undeclared
    refusal_watch.titles.remove("notes")
    refusal_watch.undeclared.clear()


async def test_a_status_that_is_not_declared_is_found(client: httpx.AsyncClient, found: set[str]) -> None:
    assert (await client.get("/notes/torn")).status_code == 409
    assert found == {"notes: GET /notes/{name}: 409 note_torn"}


async def test_a_code_that_is_not_declared_is_found(client: httpx.AsyncClient, found: set[str]) -> None:
    assert (await client.get("/notes/hidden")).status_code == 404
    assert found == {"notes: GET /notes/{name}: 404 not_found"}


async def test_what_is_declared_is_fine_and_so_is_what_every_operation_refuses(
    client: httpx.AsyncClient, found: set[str]
) -> None:
    note = {"text": "x"}
    for method, path, arguments, status in (
        ("GET", "/notes/lost", {}, 404),
        ("GET", "/notes/lost?other=1", {}, 400),
        ("GET", "/notes/lost?cursor=1&cursor=2", {}, 400),
        ("PUT", "/notes/a", {"content": "{", "headers": {"Content-Type": "application/json"}}, 400),
        (
            "PUT",
            "/notes/a",
            {"content": '{"text":"a","text":"b"}', "headers": {"Content-Type": "application/json"}},
            400,
        ),
        ("PUT", "/notes/a", {"content": "text", "headers": {"Content-Type": "text/plain"}}, 415),
        ("PUT", "/notes/a", {"json": {"text": 1}}, 400),
        ("PUT", "/notes/a", {"json": note, "headers": {"Idempotency-Key": "ä".encode()}}, 400),
        ("PUT", "/notes/a", {"json": note, "headers": {"If-Match": "x"}}, 400),
        ("PUT", "/notes/a", {"json": {"text": "x" * 2_000_000}}, 413),
        ("PUT", "/notes/a", {"json": note, "headers": {"Content-Encoding": "gzip"}}, 415),
        ("PUT", "/notes/a", {"json": note}, 200),
    ):
        answer = await client.request(method, path, **arguments)  # type: ignore[arg-type]  # the table's
        assert (method, path, answer.status_code) == (method, path, status), answer.text
    assert found == set()


def test_each_operation_names_what_follows_from_what_it_takes(app: FastAPI) -> None:
    finding = app.openapi()["paths"]["/notes/{name}"]["get"]["responses"]
    writing = app.openapi()["paths"]["/notes/{name}"]["put"]["responses"]
    codes = {
        status: set(answer["content"]["application/problem+json"]["x-codes"])
        for status, answer in writing.items()
        if status.isdecimal() and int(status) >= 400
    }
    assert {"malformed_json", "malformed_request", "malformed_idempotency_key", "unknown_parameter"} <= codes["400"]
    assert codes["409"] == {"idempotency_key_reused"}
    assert codes["412"] == {"precondition_failed"}
    assert codes["503"] == {"outcome_unknown", "temporarily_unavailable"}
    # Nobody is asked who calls, and a read takes no body.
    assert not {"401", "403", "408", "413"} & finding.keys()
    assert finding["503"]["content"]["application/problem+json"]["x-codes"] == ["temporarily_unavailable"]
    assert list(finding) == sorted(finding)
    assert "invalid_cursor" in finding["400"]["content"]["application/problem+json"]["x-codes"]
