"""The tables of all services could be distributed by tenant over several servers, and `distribute` would do it."""

import ast
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from local_platform.services import SERVICES
from platform_testing.tenant_exceptions import ACROSS_TENANTS, FOR_ALL_TENANTS
from platform_testing.tenant_rules import breaches, unkeyed
from platform_testing.tenant_watch import LAYOUT
from shared.distributing import plan
from shared.tables import is_for_all_tenants
from shared.tenant_statements import ON_ONE_SERVER, Statement
from typer.testing import CliRunner

PACKAGES = [service.package for service in SERVICES]


def tables_of(package: str) -> sa.MetaData:
    metadata: sa.MetaData = import_module(f"{package}.tables").metadata
    return metadata


@pytest.mark.parametrize("package", PACKAGES)
def test_every_key_has_the_tenant(package: str) -> None:
    assert unkeyed(tables_of(package)) == []


def test_the_rules_for_statements_know_the_tables_that_every_server_has() -> None:
    tables = [table for package in PACKAGES for table in tables_of(package).sorted_tables]
    assert {table.fullname for table in tables if is_for_all_tenants(table.info)} == FOR_ALL_TENANTS
    assert all(LAYOUT.by_tenant(table.fullname) for table in tables if table.fullname not in FOR_ALL_TENANTS)


@pytest.mark.parametrize("place", ACROSS_TENANTS)
def test_every_exception_is_that_of_a_function(place: str) -> None:
    module, _, function = place.partition(":")
    found = import_module(module)
    # What is defined inside a function can only be looked for from outside.
    assert callable(attrgetter(function.partition(".<locals>")[0])(found))


def statements_in(value: Any) -> Iterator[Statement]:
    if isinstance(value, Statement):
        yield value
    elif isinstance(value, dict):
        yield from (one for one in value.values() if isinstance(one, Statement))


def test_a_statement_with_two_texts_names_the_tenant_in_one_of_them() -> None:
    found: set[Statement] = set()
    for package in [*PACKAGES, "shared"]:
        modules = pkgutil.walk_packages(import_module(package).__path__, f"{package}.")
        names = [one.name for one in modules if ".migrations" not in one.name and not one.name.endswith("__main__")]
        found |= {one for name in names for value in vars(import_module(name)).values() for one in statements_in(value)}
    assert len(found) > 20
    assert {one: breaches(one.of_one_tenant, LAYOUT) for one in found} == {one: [] for one in found}
    assert all(one.of_several.endswith(ON_ONE_SERVER) for one in found)


def lines_in(package: str) -> Iterator[ast.Call]:
    """The calls that make a line of group commit."""
    for path in sorted(Path(*import_module(package).__path__).rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            made = call.func if isinstance(call, ast.Call) else None
            made = made.value if isinstance(made, ast.Subscript) else made
            if isinstance(call, ast.Call) and isinstance(made, ast.Name) and made.id == "GroupCommit":
                yield call


def test_every_line_says_whose_its_commands_are_and_whether_a_batch_is_of_one_tenant() -> None:
    lines = [line for package in PACKAGES for line in lines_in(package)]
    assert len(lines) > 10
    for line in lines:
        assert {"tenant_of", "is_of_one_tenant"} <= {given.arg for given in line.keywords}, ast.unparse(line)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_service_has_the_command(package: str) -> None:
    ended = CliRunner().invoke(import_module(f"{package}.__main__").cli, ["distribute", "--dry-run"])
    assert ended.exit_code == 0
    assert ended.stdout == "".join(f"{statement};\n" for statement in plan(tables_of(package)))
