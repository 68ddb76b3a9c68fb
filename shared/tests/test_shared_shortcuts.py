"""A shortcut leads past the framework to the same endpoint: what is usual, and all that may be refused on the way."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from platform_testing.serving import running
from shared.errors import Conflict
from shared.service_app import create_service_app
from shared.settings import ServiceSettings
from shared.shortcuts import Shortcut

from .conftest import Lifespan


class Broken(Conflict):
    code = "broken"


async def _parcel(to: str, request: Request) -> Response:
    if to == "nobody":
        raise Broken("Nobody is there.", log="the log alone")
    if to == "fault":
        raise LookupError("a fault")
    return Response(f"{to}: {(await request.body()).decode()}", headers={"X-Way": request.scope.get("way", "long")})


async def _at_once(request: Request) -> Response:
    request.scope["way"] = "short"
    return await _parcel(request.path_params["to"], request)


@pytest.fixture
async def client(settings: ServiceSettings, lifespan: Lifespan) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = create_service_app(
        settings.model_copy(update={"max_body_bytes": 50}),
        title="things",
        description="",
        lifespan=lifespan,
        readiness={},
        shortcuts=[
            Shortcut("POST", "/parcels/{to}", _at_once, fits=lambda scope: scope["path_params"]["to"] != "unusual")
        ],
        takes_any_query=("/parcels/",),
    )
    app.add_api_route("/parcels/{to}", _parcel, methods=["POST"], response_class=Response)
    async with running(app) as client:
        yield client


@pytest.mark.parametrize(("to", "way"), [("bob", "short"), ("unusual", "long"), ("b\u00f6b", "short")])
async def test_what_is_usual_goes_the_short_way(client: httpx.AsyncClient, to: str, way: str) -> None:
    answer = await client.post(f"/parcels/{to}", content=b"apples")
    assert (answer.status_code, answer.text) == (200, f"{to}: apples")
    assert answer.headers["X-Way"] == way
    assert answer.headers["X-Request-Id"]


async def test_what_is_refused_looks_the_same_on_both_ways(client: httpx.AsyncClient) -> None:
    for to in ("bob", "unusual"):
        long = await client.post(f"/parcels/{to}", content=b"x" * 51)
        assert (long.status_code, long.json()["code"]) == (413, "payload_too_large")
    refused = await client.post("/parcels/nobody")
    assert (refused.status_code, refused.json()["code"]) == (409, "broken")
    assert "the log alone" not in refused.text


async def test_a_fault_says_nothing_of_the_inside(client: httpx.AsyncClient) -> None:
    answer = await client.post("/parcels/fault")
    assert answer.status_code == 500
    assert "fault" not in answer.text.replace("/parcels/fault", "")
