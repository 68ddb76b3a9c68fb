"""All four services as the programs build them, for rules that hold in each of them; nothing is started."""

import importlib
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from local_platform.environments import Environments
from local_platform.ports import Ports
from local_platform.services import SERVICES, Service
from local_platform.state_directory import StateDirectory
from shared.settings import read_settings
from starlette.routing import compile_path

#: What a service says of itself, to those who run it; never through the gateway.
OPERATIONS = {"/healthz", "/readyz", "/metrics", "/docs", "/docs/static", "/openapi.json"}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


@dataclass(frozen=True)
class PublicRoute:
    """A path of a service that the world may reach, with the methods that it takes."""

    service: Service
    path: str
    methods: frozenset[str]
    #: Those that stand in OpenAPI, with what it says of them.
    documented: Mapping[str, Mapping[str, Any]]
    #: What its addresses look like, as its routes read them (`{user_id:account}`).
    pattern: re.Pattern[str]

    @property
    def example(self) -> str:
        """The path with a value in the place of each parameter."""
        return re.sub(r"{[^}]*}", "example-1", self.path)

    @property
    def is_page(self) -> bool:
        return not self.documented

    def matches(self, path: str) -> bool:
        """Whether an address is one of this path."""
        return self.pattern.fullmatch(path) is not None

    def __str__(self) -> str:
        return f"{self.service.name} {self.path}"


def build_every_service(directory: Path, **changed: str) -> dict[Service, FastAPI]:
    """The apps of all services, with the settings that `make run` would give them.

    Args:
        changed: settings of all of them that differ, by their names without prefix.
    """
    state = StateDirectory(directory)
    state.prepare()
    environments = Environments(Ports(8000), state)
    return {
        service: _build(service, environments, {f"{service.prefix}{name}": value for name, value in changed.items()})
        for service in SERVICES
    }


def _build(service: Service, environments: Environments, changed: dict[str, str]) -> FastAPI:
    given = environments.of_service(service, f"postgresql://nobody@127.0.0.1:1/{service.database}") | changed
    settings_class = importlib.import_module(f"{service.package}.settings").Settings
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        settings = read_settings(settings_class)
    app: FastAPI = importlib.import_module(f"{service.package}.app").create_app(settings)
    return app


def public_routes(service: Service, app: FastAPI) -> list[PublicRoute]:
    """Every path that the service answers, but for what it keeps for the others and for its operators."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    patterns: dict[str, re.Pattern[str]] = {}
    for route in iter_route_contexts(app.routes):
        assert route.path is not None, f"{route!r} is of a kind that these tests cannot look into"
        pattern, path, _ = compile_path(route.path)
        found[path] |= route.methods or set()
        patterns[path] = pattern
    documented = {
        path: {method.upper(): said for method, said in operations.items() if method.upper() in METHODS}
        for path, operations in app.openapi()["paths"].items()
    }
    return [
        PublicRoute(service, path, frozenset(methods), documented.get(path, {}), patterns[path])
        for path, methods in found.items()
        if not path.startswith("/internal") and path not in OPERATIONS
    ]
