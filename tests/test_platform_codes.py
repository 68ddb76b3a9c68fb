"""One catalogue of codes: every code that a service can send stands in it, and nothing else."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared.codes import catalogue, type_of

from shared import errors

ROOT = Path(__file__).parents[1]
PACKAGES = ("shared", "points_ledger", "sso_issuer", "partner_onboarding", "token_service")
SOURCES = [ROOT / "shared" / "src", *sorted(ROOT.glob("services/*/src"))]
#: Sent by the gateway itself; the Caddyfile names them.
OF_THE_GATEWAY = {"gateway_refused", "service_unavailable", "not_found", "payload_too_large"}


def _modules() -> Iterator[str]:
    for package in PACKAGES:
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            if ".migrations" not in module.name and not module.name.endswith("__main__"):
                yield module.name


def _kinds(kind: type[errors.Refusal]) -> Iterator[type[errors.Refusal]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def _codes_of_classes() -> set[str]:
    modules = set(_modules())
    for module in modules:
        importlib.import_module(module)
    return {kind.code for kind in _kinds(errors.Refusal) if kind.__module__ in modules}


def _codes_of_calls() -> set[str]:
    """Every text that is handed over as `code=`."""
    return {
        keyword.value.value
        for directory in SOURCES
        for file in directory.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }


def test_every_code_that_a_service_can_send_stands_in_the_catalogue() -> None:
    sent = _codes_of_classes() | _codes_of_calls() | OF_THE_GATEWAY
    assert sorted(sent - set(catalogue())) == []


def test_the_catalogue_has_no_code_that_nobody_sends() -> None:
    everywhere = "\n".join(
        file.read_text(encoding="utf-8")
        for directory in [*SOURCES, ROOT / "deploy" / "gateway"]
        for file in directory.rglob("*")
        if file.is_file() and file.suffix in {".py", ""} and file.name != "codes.toml"
    )
    assert [code for code in catalogue() if f'"{code}"' not in everywhere and f" {code} " not in everywhere] == []


@pytest.mark.parametrize("code", catalogue().values(), ids=lambda code: code.code)
def test_an_entry_says_what_it_means_and_what_to_do_in_a_sentence_each(code: object) -> None:
    entry = catalogue()[code.code]
    assert entry.meaning.endswith(".")
    assert entry.action.endswith(".")
    assert max(len(entry.meaning), len(entry.action)) <= 160


def test_the_type_of_a_problem_leads_to_its_code() -> None:
    assert type_of("insufficient_points") == "/developers/codes#insufficient_points"
