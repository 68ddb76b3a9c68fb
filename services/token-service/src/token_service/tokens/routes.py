"""`/v1/tokens`: parse, one use case, shape.

Issuing and verifying are hot routes with pydantic on the raw body; the others plain Starlette routes.
"""

from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter
from shared.callers import Caller
from shared.errors import MethodNotAllowed
from shared.hot_routes import HotRoutes
from shared.idempotency import Answer
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from token_service.counting.kinds import kind_of
from token_service.requests import authenticate, check_is_json, json_response, parse, request_key
from token_service.tokens import schemas
from token_service.tokens.domain import Token
from token_service.tokens.issuing import Issued, Issuing
from token_service.tokens.once import Once
from token_service.tokens.orders import url_link
from token_service.tokens.qr import qr_png, qr_svg
from token_service.tokens.service import TokenService
from token_service.tokens.verifying import Verifying, Visit

ISSUE: Final = "tokens:issue"
VERIFY: Final = "tokens:verify"
STATS: Final = "tokens:stats"
MOST_IN_BATCH: Final = 10_000

_NO_STORE: Final = {"Cache-Control": "no-store"}
_ORDER = TypeAdapter(schemas.OrderBody)
_ORDERS: TypeAdapter[list[schemas.OrderBody]] = TypeAdapter(
    Annotated[list[schemas.OrderBody], Field(min_length=1, max_length=MOST_IN_BATCH, fail_fast=True)]
)
_VISIT = TypeAdapter(schemas.VisitBody)
_ONE: Final = "/v1/tokens/{token}"


def hot_routes() -> HotRoutes:
    """Those that go past the framework, which would take longer than their work."""
    return {("POST", "/v1/tokens"): issue, ("POST", f"{_ONE}/verify"): verify}


def routes() -> list[Route]:
    """In the order in which they are tried."""
    return [
        # Posts to these two are hot routes; here they only tell other methods what they take.
        Route("/v1/tokens", _only_post, methods=["POST"]),
        Route(f"{_ONE}/verify", _only_post, methods=["POST"]),
        Route("/v1/tokens/batch", issue_batch, methods=["POST"]),
        Route(f"{_ONE}/stats", stats, methods=["GET"]),
        Route(f"{_ONE}/qr.svg", qr_as_svg, methods=["GET"]),
        Route(f"{_ONE}/qr.png", qr_as_png, methods=["GET"]),
        Route(_ONE, look, methods=["GET"]),
        Route(_ONE, revoke, methods=["DELETE"]),
    ]


async def _only_post(_request: Request) -> Response:
    raise MethodNotAllowed("This address takes POST.")


async def issue(request: Request, body: bytes) -> Answer:
    caller = await authenticate(request, "/v1/tokens", ISSUE)
    check_is_json(request)
    order = parse(_ORDER, body, schemas.context_of(request)).order()
    key = request_key(request, body)
    if key is not None:
        once: Once = request.app.state.once
        return await once.issue_all(caller, key, [order], lambda issued: _created(schemas.issued_body(issued[0])))
    issuing: Issuing = request.app.state.issuing
    return _created(schemas.issued_body(await issuing.issue(caller.tenant, order)))


async def issue_batch(request: Request) -> Response:
    caller = await authenticate(request, "/v1/tokens/batch", ISSUE)
    request.scope[MAX_BODY_SIZE_SCOPE_KEY] = request.app.state.settings.batch_max_bytes
    body = await request.body()
    check_is_json(request)
    orders = [each.order() for each in parse(_ORDERS, body, schemas.context_of(request))]
    key = request_key(request, body)
    if key is not None:
        once: Once = request.app.state.once
        return (await once.issue_all(caller, key, orders, lambda issued: _created(_all(issued)))).response()
    issuing: Issuing = request.app.state.issuing
    return json_response(_all(await issuing.issue_all(caller.tenant, orders)), 201)


async def verify(request: Request, body: bytes) -> Answer:
    caller = await authenticate(request, f"{_ONE}/verify", VERIFY)
    text = request.path_params["token"]
    visit = _visit(request, caller, parse(_VISIT, body) if body.strip() else None)
    key = request_key(request, body)

    def shape(token: Token) -> Answer:
        return Answer.of(200, schemas.token_body(text, token), **_KEPT_HEADERS)

    if key is not None:
        once: Once = request.app.state.once
        return await once.verify(caller.client_id, caller.tenant, text, visit, key, shape)
    verifying: Verifying = request.app.state.verifying
    return shape(await verifying.verify(caller.tenant, text, visit))


async def look(request: Request) -> Response:
    caller = await authenticate(request, _ONE, VERIFY)
    text = request.path_params["token"]
    verifying: Verifying = request.app.state.verifying
    return json_response(schemas.token_body(text, await verifying.look(caller.tenant, text, _visit(request, caller))))


async def revoke(request: Request) -> Response:
    caller = await authenticate(request, _ONE, ISSUE)
    text = request.path_params["token"]
    service: TokenService = request.app.state.tokens
    revoked_at = await service.revoke(caller.tenant, text, _visit(request, caller))
    return json_response(schemas.revoked_body(text, revoked_at))


async def stats(request: Request) -> Response:
    caller = await authenticate(request, f"{_ONE}/stats", STATS)
    text = request.path_params["token"]
    service: TokenService = request.app.state.tokens
    token, refusals = await service.statistics(caller.tenant, text, _visit(request, caller))
    return json_response(schemas.stats_body(text, token, refusals))


async def qr_as_svg(request: Request) -> Response:
    link = await _link(request, f"{_ONE}/qr.svg")
    return Response(qr_svg(link), headers=_NO_STORE, media_type="image/svg+xml")


async def qr_as_png(request: Request) -> Response:
    link = await _link(request, f"{_ONE}/qr.png")
    return Response(qr_png(link), headers=_NO_STORE, media_type="image/png")


async def _link(request: Request, route: str) -> str:
    caller = await authenticate(request, route, ISSUE, VERIFY)
    text = request.path_params["token"]
    verifying: Verifying = request.app.state.verifying
    token = await verifying.look(caller.tenant, text, _visit(request, caller))
    return url_link(token.terms.base_url, text)


def _visit(request: Request, caller: Caller, body: schemas.VisitBody | None = None) -> Visit:
    address = request.app.state.proxies.client_address(request.scope)
    if body is None:
        return Visit(caller=address, client_id=caller.client_id)
    kind = kind_of(body.user_agent, body.method, body.purpose)
    return Visit(kind, None if body.address is None else str(body.address), address, caller.client_id)


_KEPT_HEADERS: Final = {"Cache_Control": "no-store"}


def _created(body: Any) -> Answer:
    return Answer.of(201, body, **_KEPT_HEADERS)


def _all(issued: list[Issued]) -> list[dict[str, Any]]:
    return [schemas.issued_body(each) for each in issued]
