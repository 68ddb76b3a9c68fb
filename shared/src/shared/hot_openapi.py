"""How a hot route stands in OpenAPI: FastAPI describes it from a route that is made of its declaration."""

import inspect
import re
from collections.abc import Awaitable, Callable
from functools import reduce
from operator import or_
from typing import Annotated, Any, Final, cast

from fastapi import Body, Path, Query
from fastapi.routing import APIRouter
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.callers import document_credentials
from shared.errors import Refusal
from shared.hot_routes import HotOperation, HotRoute, UnknownOperation
from shared.idempotency import IdempotencyKey
from shared.problems import document_refusals

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def add_to_router(route: HotRoute, app: ASGIApp, router: APIRouter) -> None:
    """Makes the hot route a route of FastAPI as well, which describes it."""
    by_name = route.by_name()
    named = [name for name in by_name if name]
    answers: dict[int | str, dict[str, Any]] = {}
    for name, operation in by_name.items():
        for status, answered in operation.answers.items():
            said = f"{name}: {answered.description}" if name else answered.description
            before = [answers[status]["description"]] if status in answers else []
            answers[status] = {"description": "; ".join([*before, said]), "model": answered.model}
    first, *_ = answers
    router.add_api_route(
        route.path,
        _described_endpoint(route),
        methods=[route.method],
        name=route.name,
        summary=route.summary,
        description=route.description,
        tags=[route.tag],
        dependencies=[] if route.services else document_credentials(),
        include_in_schema=not route.services,
        status_code=int(first),
        response_model=answers[first]["model"],
        response_description=answers[first]["description"],
        responses={"4XX": route.document("Refused", []), "5XX": route.document("Failed", []), **answers}
        | document_refusals(
            _refusals_of(route),
            route.document,
            malformed=(code for operation in by_name.values() for code in operation.codes.values()),
        ),
        openapi_extra={"parameters": [_operation_parameter(name, by_name[name]) for name in named]} if named else None,
        max_body_size=max((one.max_body_bytes or 0 for one in by_name.values()), default=0) or None,
    )
    added = cast(Any, router.routes[-1])
    # What answers here too is the application itself: reached past the short way, it behaves the same.
    added.app = _WithinFramework(app)


class _WithinFramework:
    """A hot route below the framework's layers: the length of its body is its own affair."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[MAX_BODY_SIZE_SCOPE_KEY] = float("inf")
        await self._app(scope, receive, send)


def _described_endpoint(route: HotRoute) -> Callable[..., Awaitable[None]]:
    """An endpoint for FastAPI to look at: its parameters are those of the declaration."""

    async def endpoint(**_: Any) -> None:
        raise LookupError("a hot route answers by itself")

    by_name = route.by_name()
    operations = list(by_name.values())
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, keyword, annotation=route.parameters.get(name, Annotated[str, Path()]))
        for name in _PARAMETER.findall(route.path)
    ]
    queries = [operation.query for operation in operations if operation.query is not None]
    if queries:
        parameters.append(inspect.Parameter("query", keyword, annotation=Annotated[queries[0], Query()]))
    bodies = [operation.body for operation in operations if operation.body is not None]
    if bodies:
        examples: Any = {
            name or "example": {"value": operation.example}
            for name, operation in by_name.items()
            if operation.example is not None
        }
        is_optional = all(operation.is_body_optional for operation in operations)
        body = reduce(or_, bodies)
        parameters.append(
            inspect.Parameter(
                "body",
                keyword,
                annotation=Annotated[body | None if is_optional else body, Body(openapi_examples=examples or None)],
                default=None if is_optional else inspect.Parameter.empty,
            )
        )
    if any(operation.takes_key for operation in operations):
        parameters.append(inspect.Parameter("key", keyword, annotation=IdempotencyKey))
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what FastAPI looks at
    return endpoint


def _operation_parameter(name: str, operation: HotOperation[Any]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "allowEmptyValue": True,
        "schema": {"enum": ["", "1"]},
        "description": f"{next(iter(operation.answers.values())).description}. Body: {operation.body.__name__}",
    }


def _refusals_of(route: HotRoute) -> list[type[Refusal]]:
    """Those of the use cases, and of the choice between them."""
    by_name = route.by_name()
    found = {refused: None for operation in by_name.values() for refused in operation.refusals}
    return [*found, UnknownOperation] if len(by_name) > 1 else [*found]
