"""What a query may say: what OpenAPI names for the operation, each once. A misspelt filter must not mean "all"."""

from collections.abc import Iterable, Mapping, Set
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request

from shared.errors import Malformed


class UnknownParameter(Malformed):
    code = "unknown_parameter"


class RepeatedParameter(Malformed):
    code = "repeated_parameter"


class QueryRules:
    """Checks queries of the operations in an app's OpenAPI document; what is not in it, such as a page, takes any.

    Args:
        lenient: beginnings of paths whose operations take any query as well, such as OAuth's (RFC 6749, 3.1).
    """

    def __init__(self, lenient: tuple[str, ...] = ()) -> None:
        self._lenient = lenient
        self._operations: Mapping[tuple[str, str], _Allowed] | None = None

    async def check_request(self, request: Request) -> None:
        """The dependency of every route.

        Raises:
            UnknownParameter, RepeatedParameter: as they say.
        """
        if query := request.scope["query_string"]:
            self.check(request.app, request.scope["method"], request.scope["route"].path_format, query)

    def check(self, app: FastAPI, method: str, path: str, query: bytes) -> None:
        """Checks the query of an operation, which is named as OpenAPI names it.

        Raises:
            UnknownParameter, RepeatedParameter: as they say.
        """
        if self._operations is None:
            self._operations = _allowed_by(app.openapi())
        allowed = self._operations.get((method, path))
        if allowed is None or path.startswith(self._lenient):
            return
        refuse_unless_known(parse_qsl(query.decode("latin-1"), keep_blank_values=True), allowed.names, allowed.lists)


def refuse_unless_known(pairs: Iterable[tuple[str, str]], names: Set[str], lists: Set[str] = frozenset()) -> None:
    """Refuses a query unless it has these names alone, each once but for those of `lists`.

    Raises:
        UnknownParameter, RepeatedParameter: as they say.
    """
    seen: set[str] = set()
    for name, _ in pairs:
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise UnknownParameter(f"There is no such parameter here. Known: {known}.", errors=_at(name))
        if name in seen and name not in lists:
            raise RepeatedParameter("A parameter of the query comes twice.", errors=_at(name))
        seen.add(name)


class _Allowed:
    def __init__(self, operation: Mapping[str, Any]) -> None:
        query = [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
        self.names: Final = frozenset(parameter["name"] for parameter in query)
        self.lists: Final = frozenset(parameter["name"] for parameter in query if _is_list(parameter["schema"]))


def _is_list(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "array" or any(_is_list(each) for each in schema.get("anyOf", ()))


def _allowed_by(document: Mapping[str, Any]) -> dict[tuple[str, str], _Allowed]:
    return {
        (method.upper(), path): _Allowed(operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if isinstance(operation, dict)
    }


def _at(name: str) -> list[dict[str, str]]:
    return [{"field": name[:64], "message": "Not taken here"}]
