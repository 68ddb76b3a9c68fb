"""How a hot route is found, what it checks before its use case, and how it stands in OpenAPI by itself."""

import gc
import weakref
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.serving import PUBLIC_URL, running
from pydantic import BaseModel, ConfigDict, Field
from shared.callers import Callers
from shared.dependencies import provide
from shared.errors import Conflict
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute, HotTable, HotWay
from shared.idempotency import Answer
from shared.proxies import ProxyTrust
from shared.service_app import create_service_app
from shared.settings import ServiceSettings

from .conftest import Lifespan


async def exact(*_: Any) -> None:
    return


async def template(*_: Any) -> None:
    return


async def choosy(*_: Any) -> None:
    return


TABLE = HotTable(
    [
        HotWay("POST", "/v1/tokens", exact),
        HotWay("POST", "/v1/tokens/{token}/verify", template),
        HotWay("GET", "/tenants/{tenant}/keys", choosy, fits=lambda scope: scope["path_params"]["tenant"] == "demo"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "found", "parameters"),
    [
        ("POST", "/v1/tokens", exact, None),
        ("POST", "/v1/tokens/abc/verify", template, {"token": "abc"}),
        ("POST", "/v1/tokens/a b\0é/verify", template, {"token": "a b\0é"}),
        ("GET", "/v1/tokens", None, None),
        ("POST", "/v1/tokens/", None, None),
        ("POST", "/v1/tokens//verify", None, None),
        ("POST", "/v1/tokens/verify", None, None),
        ("POST", "/v1/tokens/a/b/verify", None, None),
        ("POST", "/v1/tokens/abc/verify/", None, None),
        ("GET", "/v1/tokens/abc/verify", None, None),
        ("POST", "/v1/tokens/{token}", None, None),
        ("GET", "/tenants/demo/keys", choosy, {"tenant": "demo"}),
        ("GET", "/tenants/other/keys", None, {"tenant": "other"}),
    ],
)
def test_a_request_finds_its_hot_route_or_none(
    method: str, path: str, found: Any, parameters: dict[str, str] | None
) -> None:
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path}
    assert TABLE.find(scope) is found
    assert scope.get("path_params") == parameters


class ParcelBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    weight: Annotated[int, Field(strict=True, gt=0)]


class SentBody(BaseModel):
    weight: int
    to: str


class PageQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(le=10)] = 5


class TooHeavy(Conflict):
    code = "too_heavy"


RAISED: list[weakref.ref[TooHeavy]] = []


def refuse(weight: int) -> None:
    refusal = TooHeavy("Nobody can carry that.")
    RAISED.append(weakref.ref(refusal))
    try:
        cause = ValueError(weight)
        raise cause
    except ValueError as error:
        raise refusal from error


async def send_parcel(call: HotCall[ParcelBody]) -> Answer:
    if call.body.weight > 100:
        refuse(call.body.weight)
    return Answer.of(201, {"weight": call.body.weight, "to": call.path_parameter})


async def note(call: HotCall[ParcelBody | None]) -> Answer:
    return Answer.of(200, [call.caller.client_id, call.body is None, call.key is not None])


async def look(call: HotCall[None]) -> Answer:
    return Answer.of(200, call.query.limit)


ROUTES = [
    HotRoute(
        method="POST",
        path="/parcels/{to}",
        name="send_parcel",
        tag="parcels",
        summary="Send a parcel",
        scopes=("parcels:send", "parcels:all"),
        operations=HotOperation(
            send_parcel,
            body=ParcelBody,
            answers={201: Answered("On its way", SentBody)},
            refusals=(TooHeavy,),
            example={"weight": 5},
            codes={"weight": "malformed_weight"},
            max_body_bytes=50,
        ),
    ),
    HotRoute(
        method="POST",
        path="/notes",
        name="change_notes",
        tag="notes",
        summary="Change notes",
        scopes=("notes",),
        operations={
            "add": HotOperation(
                note, body=ParcelBody, is_body_optional=True, answers={200: Answered("Added", SentBody)}
            ),
            "drop": HotOperation(
                note, body=ParcelBody, is_body_optional=True, answers={200: Answered("Gone", SentBody)}
            ),
        },
    ),
    HotRoute(
        method="GET",
        path="/looks",
        name="look",
        tag="looks",
        summary="Look",
        scopes=("looks",),
        operations=HotOperation(look, query=PageQuery, answers={200: Answered("Seen", SentBody)}, takes_key=False),
    ),
]
SCOPES = ("parcels:all", "notes", "looks")
INTERNAL = HotRoute(
    method="POST",
    path="/internal/parcels/{to}",
    name="count_parcels",
    tag="internal",
    summary="Count parcels",
    services=("sso-issuer",),
    operations=HotOperation(
        send_parcel, body=ParcelBody, answers={201: Answered("Counted", SentBody)}, takes_key=False
    ),
)


@pytest.fixture
def app(settings: ServiceSettings, lifespan: Lifespan, register: FakeRegister, service_keys: ServiceKeys) -> FastAPI:
    app = create_service_app(
        settings, title="things", description="", lifespan=lifespan, readiness={}, hot_routes=[*ROUTES, INTERNAL]
    )
    provide(app, Callers(register, keys=None, public_url=PUBLIC_URL, proxies=ProxyTrust([])))
    provide(app, service_keys.tokens("points-ledger"))
    return app


@pytest.fixture
async def client(app: FastAPI, register: FakeRegister) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as client:
        client.headers.update(register.add("demo", *SCOPES, client_id="ann"))
        yield client


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_what_is_declared_is_done(client: httpx.AsyncClient) -> None:
    answer = await client.post("/parcels/bob", json={"weight": 5})
    assert (answer.status_code, answer.json()) == (201, {"weight": 5, "to": "bob"})
    assert (await client.get("/looks")).json() == 5
    assert (await client.get("/looks?limit=7")).json() == 7


async def test_what_is_not_as_declared_is_refused(client: httpx.AsyncClient) -> None:
    parcel = {"weight": 5}
    post = client.post
    assert told(await post("/parcels/bob", json={"weight": 101})) == (409, "too_heavy")
    assert told(await post("/parcels/bob", json={"weight": 0})) == (400, "malformed_weight")
    assert told(await post("/parcels/bob", json=parcel | {"more": 1})) == (400, "malformed_request")
    assert told(await post("/parcels/bob", content=b"{", headers={"Content-Type": "application/json"})) == (
        400,
        "malformed_json",
    )
    assert told(await post("/parcels/bob", data={"weight": "5"})) == (415, "unsupported_media_type")
    assert told(await post("/parcels/bob", json={"weight": int("5" * 50)})) == (413, "payload_too_large")
    key = {"Idempotency-Key": "a b"}
    assert told(await post("/parcels/bob", json=parcel, headers=key)) == (400, "malformed_idempotency_key")
    for query in ("limit=11", "limit="):
        assert told(await client.get(f"/looks?{query}")) == (400, "malformed_request")
    assert told(await client.get("/looks?limit=1&limit=2")) == (400, "repeated_parameter")
    assert told(await client.get("/looks?more=1")) == (400, "unknown_parameter")
    for members in ('"weight": 5, "weight": 6', '"weight": 101, "weight": 5', '"weight": 5, "\\u0077eight": 6'):
        body = f"{{{members}}}".encode()
        answer = await post("/parcels/bob", content=body, headers={"Content-Type": "application/json"})
        assert told(answer) == (400, "repeated_member")


@pytest.mark.parametrize("path", ["/parcels/bob", "/letters/bob"])
async def test_an_answered_refusal_is_gone_without_the_garbage_collector(
    app: FastAPI, client: httpx.AsyncClient, path: str
) -> None:
    """Also one that stands in a variable of the frame that raises it, and whose cause does so as well."""

    @app.post("/letters/{to}")
    async def send_letter(parcel: ParcelBody) -> None:
        refuse(parcel.weight)

    gc.disable()
    try:
        assert told(await client.post(path, json={"weight": 102})) == (409, "too_heavy")
        assert RAISED[-1]() is None
    finally:
        gc.enable()


async def test_an_operation_is_named_once_in_the_query(client: httpx.AsyncClient) -> None:
    for query in ("add", "add=", "add=1", "drop"):
        assert (await client.post(f"/notes?{query}")).json() == ["ann", True, False]
    for query in ("", "add&drop", "add=2", "more"):
        assert told(await client.post(f"/notes?{query}")) == (400, "unknown_operation")
    assert told(await client.post("/notes?add&more=1")) == (400, "unknown_parameter")


async def test_a_body_may_be_optional(client: httpx.AsyncClient) -> None:
    assert (await client.post("/notes?add", json={"weight": 1}, headers={"Idempotency-Key": "k"})).json() == [
        "ann",
        False,
        True,
    ]
    assert told(await client.post("/notes?add", content=b"weight=1")) == (415, "unsupported_media_type")


async def test_strangers_and_callers_without_the_scope_are_refused_before_their_body_is_read(
    app: FastAPI, client: httpx.AsyncClient, register: FakeRegister
) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b" "

    for headers, refused in (
        ({"Authorization": ""}, (401, "invalid_credentials")),
        (register.add("demo", "looks"), (403, "insufficient_scope")),
    ):
        assert told(await client.post("/parcels/bob", content=endless(), headers=headers)) == refused
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/parcels/bob",
        "query_string": b"",
        "headers": [],
        "client": None,
    }
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nothing of the body is waited for")

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == 401


def test_it_stands_in_openapi_with_all_that_it_takes_and_answers(app: FastAPI) -> None:
    document = app.openapi()
    sending = document["paths"]["/parcels/{to}"]["post"]

    assert (sending["operationId"], sending["summary"], sending["tags"]) == (
        "send_parcel",
        "Send a parcel",
        ["parcels"],
    )
    assert sending["security"] == [{"basic": []}, {"bearer": []}]
    assert {parameter["name"] for parameter in sending["parameters"]} == {"to", "Idempotency-Key"}
    assert sending["requestBody"]["required"]
    body = sending["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/ParcelBody"}
    assert body["examples"] == {"example": {"value": {"weight": 5}}}
    answers = sending["responses"]
    assert answers["201"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/SentBody"}
    assert answers["201"]["description"] == "On its way"
    assert {"too_heavy", "idempotency_key_reused"} <= codes(answers["409"])
    assert {"malformed_request", "malformed_json", "malformed_weight"} <= codes(answers["400"])
    for status, code in (("401", "invalid_credentials"), ("403", "insufficient_scope"), ("413", "payload_too_large")):
        assert code in codes(answers[status])
    assert {"415", "429", "503", "4XX", "5XX"} <= answers.keys()
    assert "422" not in answers


def test_several_operations_of_a_path_stand_there_together(app: FastAPI) -> None:
    document = app.openapi()
    changing = document["paths"]["/notes"]["post"]

    by_name = {parameter["name"]: parameter for parameter in changing["parameters"]}
    assert by_name.keys() == {"add", "drop", "Idempotency-Key"}
    assert by_name["add"]["schema"] == {"enum": ["", "1"]}
    assert not changing["requestBody"].get("required", False)
    assert "unknown_operation" in codes(changing["responses"]["400"])
    assert [one.split(":")[0] for one in changing["responses"]["200"]["description"].split("; ")] == ["add", "drop"]
    looking = document["paths"]["/looks"]["get"]
    assert [parameter["name"] for parameter in looking["parameters"]] == ["limit"]
    assert "requestBody" not in looking


def codes(answer: dict[str, Any]) -> set[str]:
    (content,) = answer["content"].values()
    return set(content["x-codes"])


async def test_an_internal_route_is_for_the_services_that_it_names_and_not_in_openapi(
    client: httpx.AsyncClient, service_keys: ServiceKeys
) -> None:
    async def asked_by(*headers: str) -> tuple[int, str | None]:
        sent = {"Authorization": headers[0]} if headers else {}
        answer = await client.post("/internal/parcels/bob", json={"weight": 5}, headers=sent)
        return answer.status_code, answer.json().get("code")

    def bearer(service: str) -> str:
        return f"Bearer {service_keys.tokens(service).mint('points-ledger')}"

    assert await asked_by(bearer("sso-issuer")) == (201, None)
    assert await asked_by(bearer("token-service")) == (403, "forbidden")
    assert (await asked_by())[0] == 401
    assert (await asked_by("Bearer nonsense"))[0] == 401
    assert not [path for path in (await client.get("/openapi.json")).json()["paths"] if path.startswith("/internal")]
