"""`/v1/tokens`: parse, one use case, shape.

Plain Starlette routes with pydantic on the raw body: these are the hot paths, and FastAPI's handling of
parameters would take as long as all the rest.
"""

import orjson
from pydantic import ValidationError
from shared.callers import Callers
from shared.errors import Malformed
from starlette.requests import Request
from starlette.responses import Response

from token_service.tokens import schemas
from token_service.tokens.domain import CallerKind
from token_service.tokens.issuing import Issuing
from token_service.tokens.verifying import Verifying

ISSUE = "tokens:issue"
VERIFY = "tokens:verify"


async def issue(request: Request) -> Response:
    request.state.route = "/v1/tokens"
    callers: Callers = request.app.state.callers
    caller = await callers.authenticate(request.scope)
    caller.need(ISSUE)
    issuing: Issuing = request.app.state.issuing
    body = await request.body()
    try:
        order = schemas.OrderBody.model_validate_json(body, context={"plain_http": request.app.state.plain_http})
    except ValidationError as error:
        raise Malformed(str(error.errors()[0]["msg"])) from None
    issued = await issuing.issue(caller.tenant, order.order())
    return Response(orjson.dumps(schemas.issued_body(issued)), 201, {"Cache-Control": "no-store"}, "application/json")


async def verify(request: Request) -> Response:
    request.state.route = "/v1/tokens/{token}/verify"
    callers: Callers = request.app.state.callers
    caller = await callers.authenticate(request.scope)
    caller.need(VERIFY)
    verifying: Verifying = request.app.state.verifying
    text = request.path_params["token"]
    token = await verifying.verify(caller.tenant, text, CallerKind.PERSON)
    return Response(
        orjson.dumps(schemas.token_body(text, token)), 200, {"Cache-Control": "no-store"}, "application/json"
    )


async def look(request: Request) -> Response:
    request.state.route = "/v1/tokens/{token}"
    callers: Callers = request.app.state.callers
    caller = await callers.authenticate(request.scope)
    caller.need(VERIFY)
    verifying: Verifying = request.app.state.verifying
    text = request.path_params["token"]
    token = await verifying.look(caller.tenant, text)
    return Response(
        orjson.dumps(schemas.token_body(text, token)), 200, {"Cache-Control": "no-store"}, "application/json"
    )
