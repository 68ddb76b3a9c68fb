"""`/v1/tokens`: one use case each. Issuing and verifying are hot routes; the others are FastAPI's."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute
from shared.idempotency import Answer
from shared.problems import document_refusals
from starlette.responses import Response
from starlette.types import Scope

from token_service.counting.kinds import kind_of
from token_service.guesses import TooManyBadSignatures
from token_service.tokens import schemas
from token_service.tokens.domain import (
    BeyondFirstExpiry,
    FewerThanUsed,
    InvalidSignature,
    MalformedToken,
    Token,
    TokenExpired,
    TokenNotFound,
    TokenNotYetValid,
    TokenRevoked,
    TokenUsedUp,
)
from token_service.tokens.idempotency import IdempotentTokens
from token_service.tokens.issuing import Issued, NeverValid
from token_service.tokens.orders import url_link
from token_service.tokens.qr import qr_png, qr_svg
from token_service.tokens.service import TokenService
from token_service.tokens.verifying import Verifying, Visit

ISSUE: Final = "tokens:issue"
VERIFY: Final = "tokens:verify"
STATS: Final = "tokens:stats"
MOST_IN_BATCH: Final = 10_000

_EXAMPLE: Final = "2548a499367f4c2f87fd4873a97a6ff6"
#: Read by the use case, which tells a token with a wrong form from a forged one.
TokenText = Annotated[
    str, Path(alias="token", description="32 lower-case hexadecimal characters.", examples=[_EXAMPLE])
]
_Verifying = Annotated[Verifying, needs(Verifying)]
_Service = Annotated[TokenService, needs(TokenService)]
_Orders = Annotated[list[schemas.OrderBody], Field(min_length=1, max_length=MOST_IN_BATCH, fail_fast=True)]
_NO_STORE: Final = {"Cache-Control": "no-store"}
#: Of a token that is not one of ours; and of one that is no longer valid, or not yet.
_FORGED: Final = (MalformedToken, InvalidSignature, TokenNotFound, TooManyBadSignatures)
_NOT_GOOD: Final = (TokenExpired, TokenRevoked, TokenNotYetValid, TokenUsedUp)


# ——— hot routes ———


async def _issue(call: HotCall[schemas.OrderBody]) -> Answer:
    return await call.part(IdempotentTokens).issue(
        call.caller, call.key, call.body.order(), lambda issued: _created(schemas.issued_body(issued))
    )


async def _issue_all(call: HotCall[list[schemas.OrderBody]]) -> Answer:
    def shape(issued: list[Issued]) -> Answer:
        return _created([schemas.issued_body(each) for each in issued])

    return await call.part(IdempotentTokens).issue_all(
        call.caller, call.key, [order.order() for order in call.body], shape
    )


async def _verify(call: HotCall[schemas.VisitBody | None]) -> Answer:
    text, caller = call.path_parameter, call.caller
    visit = _visit(call.scope, caller, call.body)

    def shape(token: Token) -> Answer:
        return Answer.of(200, schemas.token_body(text, token), Cache_Control="no-store")

    return await call.part(IdempotentTokens).verify(caller.client_id, caller.tenant, text, visit, call.key, shape)


def hot_routes(*, plain_http: bool, batch_max_bytes: int) -> list[HotRoute]:
    """Those that go past the framework, which would take longer than their work.

    Args:
        plain_http: whether a token's link may begin with http.
        batch_max_bytes: the longest body of a batch.
    """
    context = {"plain_http": plain_http}
    return [
        HotRoute(
            method="POST",
            path="/v1/tokens",
            name="issue_token",
            tag="tokens",
            summary="Issue a token",
            description="`duration` is seconds, an ISO 8601 duration such as `PT24H`, or `never`.",
            scopes=(ISSUE,),
            operations=HotOperation(
                _issue,
                body=schemas.OrderBody,
                answers={201: Answered("Issued", schemas.IssuedBody)},
                refusals=(NeverValid,),
                example=schemas.ORDER_EXAMPLE,
                codes=schemas.CODE_OF_FIELD,
                context=context,
            ),
        ),
        HotRoute(
            method="POST",
            path="/v1/tokens/batch",
            name="issue_tokens",
            tag="tokens",
            summary="Issue many, all or nothing",
            scopes=(ISSUE,),
            operations=HotOperation(
                _issue_all,
                body=_Orders,
                answers={201: Answered("Issued, in the order of the request", list[schemas.IssuedBody])},
                refusals=(NeverValid,),
                example=[schemas.ORDER_EXAMPLE],
                codes=schemas.CODE_OF_FIELD,
                context=context,
                max_body_bytes=batch_max_bytes,
            ),
        ),
        HotRoute(
            method="POST",
            path="/v1/tokens/{token}/verify",
            name="verify_token",
            tag="tokens",
            summary="Verify a token",
            description="The body may say who opened the link.",
            scopes=(VERIFY,),
            parameters={"token": TokenText},
            operations=HotOperation(
                _verify,
                body=schemas.VisitBody,
                is_body_optional=True,
                answers={200: Answered("Good; counted, and one of its uses used up", schemas.TokenBody)},
                refusals=(*_FORGED, *_NOT_GOOD),
                example=schemas.VISIT_EXAMPLE,
            ),
        ),
    ]


def _created(body: Any) -> Answer:
    return Answer.of(201, body, Cache_Control="no-store")


# ——— FastAPI's routes ———

router = APIRouter(
    prefix="/v1/tokens/{token}",
    tags=["tokens"],
    dependencies=document_credentials(),
    responses=document_refusals(_FORGED),
)


@router.get(
    "",
    summary="Look at a token",
    response_model=schemas.LookBody,
    responses=document_refusals([*_FORGED, *_NOT_GOOD]),
)
async def look_at_token(
    request: Request,
    text: TokenText,
    service: _Service,
    any_state: Annotated[
        bool, Query(description="Show a token that is no longer valid, or not yet, instead of refusing it.")
    ] = False,
    caller: Caller = require(VERIFY),
) -> Response:
    """The same as verify without counting or using up."""
    visit = _visit(request.scope, caller)
    token, state = await service.look(caller.tenant, text, visit, any_state=any_state)
    return _json(schemas.look_body(text, token, state))


@router.patch(
    "",
    summary="Change a token",
    response_model=schemas.LookBody,
    responses=document_refusals([*_FORGED, TokenRevoked, BeyondFirstExpiry, FewerThanUsed, NeverValid]),
)
async def change_token(
    request: Request, text: TokenText, body: schemas.ChangeBody, service: _Service, caller: Caller = require(ISSUE)
) -> Response:
    """Its quota, its attributes, or its end: that lies before the end it was made with."""
    token, state = await service.change(
        caller.tenant, text, _visit(request.scope, caller), body.changed(), client_id=caller.client_id
    )
    return _json(schemas.look_body(text, token, state))


@router.delete("", summary="Revoke a token", response_model=schemas.RevokedTokenBody)
async def revoke_token(
    request: Request, text: TokenText, service: _Service, caller: Caller = require(ISSUE)
) -> Response:
    """At once and for good; again: the first answer."""
    visit = _visit(request.scope, caller)
    revoked_at = await service.revoke(caller.tenant, text, visit, client_id=caller.client_id)
    return _json(schemas.revoked_body(text, revoked_at))


@router.get("/stats", summary="Statistics of a token", response_model=schemas.TokenStatisticsBody)
async def token_stats(
    request: Request, text: TokenText, service: _Service, caller: Caller = require(STATS)
) -> Response:
    """What has become of it."""
    token, refusals = await service.statistics(caller.tenant, text, _visit(request.scope, caller))
    return _json(schemas.stats_body(text, token, refusals))


def _picture(media_type: str, schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "The code", "content": {media_type: {"schema": schema}}}}


@router.get(
    "/qr.svg",
    summary="The link as a QR code (SVG)",
    response_class=Response,
    responses=_picture("image/svg+xml", {"type": "string"}) | document_refusals([*_FORGED, *_NOT_GOOD]),
)
async def token_qr_svg(
    request: Request, text: TokenText, verifying: _Verifying, caller: Caller = require(ISSUE, VERIFY)
) -> Response:
    link = await _link(request, text, verifying, caller)
    # In a thread, since drawing takes milliseconds.
    return Response(await asyncio.to_thread(qr_svg, link), headers=_NO_STORE, media_type="image/svg+xml")


@router.get(
    "/qr.png",
    summary="The link as a QR code (PNG)",
    response_class=Response,
    responses=_picture("image/png", {"type": "string", "format": "binary"}) | document_refusals([*_FORGED, *_NOT_GOOD]),
)
async def token_qr_png(
    request: Request, text: TokenText, verifying: _Verifying, caller: Caller = require(ISSUE, VERIFY)
) -> Response:
    link = await _link(request, text, verifying, caller)
    return Response(await asyncio.to_thread(qr_png, link), headers=_NO_STORE, media_type="image/png")


async def _link(request: Request, text: str, verifying: Verifying, caller: Caller) -> str:
    token = await verifying.look(caller.tenant, text, _visit(request.scope, caller))
    return url_link(token.content.terms.base_url, text)


def _visit(scope: Scope, caller: Caller, body: schemas.VisitBody | None = None) -> Visit:
    address = scope["app"].state.proxies.client_address(scope)
    if body is None:
        return Visit(caller=address, client_id=caller.client_id)
    kind = kind_of(body.user_agent, body.method, body.purpose)
    visitor = None if body.address is None else str(body.address)
    return Visit(kind, visitor, address, caller.client_id, frozenset(body.spare or ()))


def _json(body: Any) -> Response:
    return Answer.of(200, body, Cache_Control="no-store").response()
