"""How a hot route is found: by an exact path, or by a path with one segment that is a parameter."""

from typing import Any

import pytest
from shared.hot_routes import HotTable


async def exact(*_: Any) -> None:
    return


async def template(*_: Any) -> None:
    return


TABLE = HotTable({("POST", "/v1/tokens"): exact, ("POST", "/v1/tokens/{token}/verify"): template})


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
    ],
)
def test_a_request_finds_its_hot_route_or_none(
    method: str, path: str, found: Any, parameters: dict[str, str] | None
) -> None:
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path}
    assert TABLE.find(scope) is found
    assert scope.get("path_params") == parameters
