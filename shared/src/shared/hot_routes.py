"""A shorter path for the few routes where the framework would take longer than the work.

A FastAPI request passes eleven layers before its route; measured on the ledger's commit they took 40 % of the
time. A hot route is declared once, as data, and is two things from then on:

- an ASGI application that gets the frame (ids, log, metrics), and does itself what the framework would do: it finds
  out who calls, checks the scope, the content type, the Idempotency-Key and the length of the body, reads the body
  into its model, and renders refusals;
- a route of FastAPI, so that it stands in OpenAPI and in `Allow` like every other one.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl

from pydantic import AliasChoices, BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.bodies import refuse_repeated_members
from shared.callers import Caller, Callers, calling_service
from shared.dependencies import provided
from shared.errors import Malformed, PayloadTooLarge, Refusal, UnsupportedMediaType, forget_frames
from shared.idempotency import RequestKey, parse_key
from shared.malformed import refusal_of_body, refusal_of_details
from shared.problems import DocumentRefusals, Renderer, document_problems
from shared.query_rules import refuse_unless_known

B = TypeVar("B")
T = TypeVar("T")

_JSON: Final = "application/json"


class UnknownOperation(Malformed):
    """The query names no operation of this address, or more than one."""

    code = "unknown_operation"


class HotCall(NamedTuple, Generic[B]):
    """A request that may go on to its use case."""

    scope: Scope
    caller: Caller
    body: B
    #: What the query says, where the operation declares it.
    query: Any
    key: RequestKey | None

    @property
    def path_parameter(self) -> str:
        """The one segment of the path that is a parameter."""
        (value,) = self.scope["path_params"].values()
        return cast(str, value)

    def part(self, kind: type[T]) -> T:
        """What `create_app` provided under this class."""
        return provided(self.scope["app"], kind)


@dataclass(frozen=True, slots=True)
class Answered:
    """A good answer in OpenAPI."""

    description: str
    model: Any


@dataclass(frozen=True, slots=True)
class HotOperation(Generic[B]):
    """What a request asks for.

    Args:
        act: parses nothing any more; its answer goes over the wire as it is (an `Answer`, or a response).
        answers: status → what it says.
        body: the body's type; None without one.
        query: what the query may say beside the operation's name.
        refusals: those of the use case. Those of the hot route itself are added.
        example: of the body.
        is_body_optional: then `body` in the call may be None.
        takes_key: whether an Idempotency-Key is heeded.
        max_body_bytes: where it takes more than the service does otherwise.
        codes: field of the body → stable code of its malformation.
        context: for the validators of `body`.
    """

    act: Callable[["HotCall[B]"], Awaitable[ASGIApp]]
    answers: Mapping[int, Answered]
    body: Any = None
    query: type[BaseModel] | None = None
    refusals: tuple[type[Refusal], ...] = ()
    example: Any = None
    is_body_optional: bool = False
    takes_key: bool = True
    max_body_bytes: int | None = None
    codes: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class HotRoute:
    """One declaration: what is checked before the use case, and what OpenAPI says.

    Args:
        path: exact, or with one segment that is a parameter: `/v1/tokens/{token}/verify`.
        name: `operationId`.
        scopes: the caller needs one of them.
        services: of an internal route, which OpenAPI does not show: the services that may call it. `caller` is then
            one of them, of no tenant.
        operations: the one that there is, or several by the name with which the query asks for them.
        authorize: finds out who calls, where a service has more to ask than credentials and scope.
        parameters: name of a path's parameter → its type for OpenAPI.
        document: how refusals look in OpenAPI; problem bodies unless a source document has a shape of its own.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    operations: HotOperation[Any] | Mapping[str, HotOperation[Any]]
    scopes: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    description: str = ""
    authorize: Callable[[Request], Awaitable[Caller]] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    document: DocumentRefusals = document_problems

    def by_name(self) -> Mapping[str, HotOperation[Any]]:
        """Operations by the name in the query; by the empty name if there is only one."""
        return {"": self.operations} if isinstance(self.operations, HotOperation) else self.operations


def header_of(scope: Scope, name: bytes) -> str | None:
    """The value of a request's header, its name in lower case; None without it."""
    for found, value in scope["headers"]:
        if found == name:
            return str(value, "latin-1")
    return None


class _Operation:
    """An operation, with what can be prepared before the first request."""

    def __init__(self, route: HotRoute, name: str, declared: HotOperation[Any], max_body_bytes: int) -> None:
        self.name = name
        self.act = declared.act
        self.route = f"{route.path}?{name}" if name else route.path
        self.max_body_bytes = declared.max_body_bytes or max_body_bytes
        self.has_body = declared.body is not None
        self.is_body_optional = declared.is_body_optional
        self.takes_key = declared.takes_key
        self.query = declared.query
        self._context = None if declared.context is None else dict(declared.context)
        self._codes = declared.codes
        self.names = _names_of(declared.body)
        self._validator = TypeAdapter(declared.body).validator if self.has_body else None

    def parse(self, body: bytes) -> Any:
        """The body as its type says; None where an optional one is empty.

        Raises:
            Malformed: names what is wrong where, and never repeats the values.
        """
        if self._validator is None or (self.is_body_optional and not body.strip()):
            return None
        try:
            parsed = self._validator.validate_json(body, context=self._context)
        except ValidationError as error:
            refuse_repeated_members(body)
            raise refusal_of_body(error, self._codes) from None
        refuse_repeated_members(body, _members_of(parsed))
        return parsed


def _names_of(body: object) -> dict[str, str]:
    """Spelling of a member → the field's name, for fields that are taken in more than one."""
    if not (isinstance(body, type) and issubclass(body, BaseModel)):
        return {}
    choices = {name: field.validation_alias for name, field in body.model_fields.items()}
    return {
        spelling: name
        for name, alias in choices.items()
        if isinstance(alias, AliasChoices)
        for spelling in alias.choices
        if isinstance(spelling, str)
    }


def _members_of(parsed: object) -> int:
    """How many members of objects a body has at least."""
    if isinstance(parsed, list):
        return sum(map(_members_of, parsed))
    return len(parsed.model_fields_set) if isinstance(parsed, BaseModel) else 0


class HotRouteApp:
    """A hot route as an ASGI application.

    How long a body may take to come in is the server's affair (`shared.serving`): a timer for each request would take
    a twentieth of a commit's time.
    """

    def __init__(self, route: HotRoute, *, max_body_bytes: int, render: Renderer) -> None:
        operations = {
            name: _Operation(route, name, operation, max_body_bytes) for name, operation in route.by_name().items()
        }
        self._only = operations.get("")
        self._operations = operations
        self._method = route.method
        self._path = route.path
        self._scopes = route.scopes
        self._services = route.services
        self._authorize = route.authorize
        self._render = render
        queries = [operation.query for operation in operations.values() if operation.query is not None]
        fields = [(name, field) for query in queries for name, field in query.model_fields.items()]
        self._parameters = {*filter(None, operations)} | {field.alias or name for name, field in fields}
        # The usual spellings, each looked up at once.
        self._usual = {
            f"{name}{ending}".encode(): operation
            for name, operation in operations.items()
            if name
            for ending in ("", "=", "=1")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["route"] = self._path
        try:
            answer = await self._answer(scope, receive)
        except Refusal as refusal:
            scope["state"]["log"] = {"refusal": refusal.stable_code, "why": refusal.log}
            answer = self._render(refusal, Request(scope))
            forget_frames(refusal)
        except ClientDisconnect:
            # The caller is gone, and nothing was begun.
            return
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> ASGIApp:
        # Before a byte of the body is waited for: a stranger cannot keep this process waiting.
        caller = await self._caller_of(scope)
        query = scope["query_string"]
        operation = self._usual.get(query) or (self._operation_of(query) if query else self._unnamed())
        scope["state"]["route"] = operation.route
        key_header = header_of(scope, b"idempotency-key") if operation.takes_key else None
        if key_header is not None:
            parse_key(key_header)
        body = b""
        if operation.has_body:
            if not operation.is_body_optional:
                _check_is_json(scope)
            body = await _read_body(scope, receive, operation.max_body_bytes)
            if operation.is_body_optional and body.strip():
                _check_is_json(scope)
        parsed = operation.parse(body)
        request_key = None
        if key_header is not None:
            # By the operation's name, not by the query: ?commit, ?commit= and ?commit=1 are the same request.
            named = operation.name.encode() if operation.name else query
            request_key = RequestKey.of(key_header, self._method, scope["path"], named, body, operation.names)
        asked = None if operation.query is None else _parse_query(operation.query, query)
        return await operation.act(HotCall(scope, caller, parsed, asked, request_key))

    async def _caller_of(self, scope: Scope) -> Caller:
        if self._services:
            return Caller(calling_service(scope, self._services), "", frozenset(), "service")
        if self._authorize is not None:
            return await self._authorize(Request(scope))
        caller = await provided(scope["app"], Callers).authenticate(scope)
        caller.need(*self._scopes)
        return caller

    def _operation_of(self, query: bytes) -> _Operation:
        """The operation that a query names, one way or another.

        Raises:
            UnknownParameter, RepeatedParameter: as they say.
            UnknownOperation: it names none, two, or one with another value than the usual ones.
        """
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        named = [(name, value) for name, value in pairs if name in self._operations]
        is_named = len(named) == 1 and named[0][1] in {"", "1"}
        operation = self._operations[named[0][0]] if is_named else self._unnamed()
        refuse_unless_known(pairs, self._parameters)
        return operation

    def _unnamed(self) -> _Operation:
        """The only operation, where there is but one."""
        if self._only is None:
            *others, last = (f"?{name}" for name in self._operations)
            raise UnknownOperation(f"Name exactly one operation in the query: {', '.join(others)} or {last}.")
        return self._only


def _parse_query(model: type[BaseModel], query: bytes) -> BaseModel:
    try:
        return model.model_validate(dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        raise refusal_of_details([(detail["loc"], detail["msg"]) for detail in details]) from None


def _check_is_json(scope: Scope) -> None:
    """Raises UnsupportedMediaType for a body that says to be something else."""
    content_type = header_of(scope, b"content-type") or ""
    if content_type == _JSON:
        return
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != _JSON and not media_type.endswith("+json"):
        raise UnsupportedMediaType("The body must be application/json.")


async def _read_body(scope: Scope, receive: Receive, max_body_bytes: int) -> bytes:
    declared = header_of(scope, b"content-length") or ""
    if declared.isdecimal() and int(declared) > max_body_bytes:
        raise PayloadTooLarge("The request body is too long.")
    # Joined once: adding chunk to chunk would copy a body that comes in crumbs over and over.
    chunks: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
        if length > max_body_bytes:
            raise PayloadTooLarge("The request body is too long.")
        if not message.get("more_body", False):
            return b"".join(chunks)


@dataclass(frozen=True, slots=True)
class HotWay:
    """The way past the framework to what answers at a path, for requests that it fits."""

    method: str
    path: str
    app: ASGIApp
    fits: Callable[[Scope], bool] | None = None


class _Template(NamedTuple):
    way: HotWay
    before: str
    parameter: str
    after: str


class HotTable:
    """Finds the way of a request past the framework."""

    def __init__(self, ways: Iterable[HotWay]) -> None:
        self._exact: dict[tuple[str, str], HotWay] = {}
        self._templates: list[_Template] = []
        for way in ways:
            if "{" in way.path:
                self._templates.append(_template(way))
            else:
                self._exact[way.method, way.path] = way

    def find(self, scope: Scope) -> ASGIApp | None:
        """What answers a request, with its parameter in the scope; None if there is no way past the framework."""
        method, path = scope["method"], scope["path"]
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact.app if exact.fits is None or exact.fits(scope) else None
        for way, before, parameter, after in self._templates:
            if way.method == method and path.startswith(before) and path.endswith(after):
                value = path[len(before) : len(path) - len(after)]
                if value and "/" not in value:
                    scope["path_params"] = {parameter: value}
                    return way.app if way.fits is None or way.fits(scope) else None
        return None


def _template(way: HotWay) -> _Template:
    before, _, rest = way.path.partition("{")
    parameter, _, after = rest.partition("}")
    return _Template(way, before, parameter, after)
