"""What a service tells the audit: what its tests compare with its routes and commands."""

import ast
from importlib import resources
from typing import Final

from fastapi import FastAPI
from typer import Typer
from typer.main import get_command

from platform_testing.access import Route, routes_of

#: Commands that every service has, and why they leave no row.
COMMON_COMMANDS: Final = {
    "serve": "runs the service",
    "migrate": "changes tables, not what is in them",
    "distribute": "changes where tables lie, not what is in them",
    "reseal": "changes under which key things lie, and nothing that anybody reads",
    "events": "what clients are sent of events is kept in tables of its own",
}


def changing_routes(app: FastAPI) -> set[Route]:
    """Every route that may change something, hot routes too; endpoints of events have tables of their own."""
    return {
        (method, path)
        for method, path in routes_of(app)
        if method not in {"GET", "HEAD", "OPTIONS"} and not path.startswith("/events/")
    }


def commands_of(cli: Typer) -> set[str]:
    return set(getattr(get_command(cli), "commands"))  # noqa: B009 — the library does not type it


def noted_actions(package: str) -> set[str]:
    """The actions of all acts that the package's code makes."""
    with resources.as_file(resources.files(package)) as root:
        return {
            str(ast.literal_eval(node.args[2]))
            for file in root.rglob("*.py")
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Act"
        }
