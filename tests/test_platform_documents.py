"""What holds of the documents: links lead somewhere, tables equal the code, tests that they name exist."""

import itertools
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from .running_platform import REPOSITORY, SERVICES
from .test_platform_repository import run, tracked

#: Lines. A README tells what something is and where to read on.
LONGEST_README = 120
HEADINGS_OF_A_DECISION = ["Context", "Decision", "Alternatives", "Consequences"]
DOCUMENTS = tracked("*.md")
DECISIONS = sorted(path for path in tracked("docs/decisions/*.md") if path.name != "README.md")


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def tokens_of(document: Path) -> list[Token]:
    """All Markdown tokens, those inside of paragraphs as well."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8")):
        found += [token, *(token.children or [])]
    return found


@cache
def anchors_of(document: Path) -> frozenset[str]:
    """The fragments that headings can be reached under, spelled as code hosts spell them."""
    tokens = tokens_of(document)
    headings = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_in_a_document_leads_to_a_file_and_a_heading(document: Path) -> None:
    dead = []
    for token in tokens_of(document):
        target = str(token.attrs.get("href") or token.attrs.get("src") or "")
        # A path from the root is an address at the gateway; the pages for developers have such.
        if not target or re.match(r"[a-z]+:|/", target):
            continue
        place, _, fragment = target.partition("#")
        file = (document.parent / place).resolve() if place else document
        if not file.exists() or not file.is_relative_to(REPOSITORY) or (fragment and fragment not in anchors_of(file)):
            dead.append(target)
    assert dead == []


def test_readmes_are_short() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in tracked("*README.md")}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_README} == {}


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_readme_leads_to_its_settings_and_decisions(service: str) -> None:
    readme = REPOSITORY / "services" / service / "README.md"
    linked = {str(token.attrs.get("href")) for token in tokens_of(readme) if token.type == "link_open"}
    assert {f"../../docs/settings.md#{service}", f"../../docs/decisions/README.md#{service}"} <= linked


def test_the_settings_page_equals_the_code() -> None:
    checked = run(sys.executable, "docs/settings_tables.py", "--check")
    assert checked.returncode == 0, checked.stderr


def test_every_document_is_reached_from_the_first_page() -> None:
    reached: set[Path] = set()
    waiting = [REPOSITORY / "docs" / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in reached:
            continue
        reached.add(document)
        for token in tokens_of(document):
            place = str(token.attrs.get("href") or "").partition("#")[0]
            file = (document.parent / place).resolve()
            if place.endswith(".md") and file.exists():
                waiting.append(file)
    assert [name_of(path) for path in tracked("docs/*.md") if path not in reached] == []


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    index = (REPOSITORY / "docs" / "decisions" / "README.md").read_text()
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for path in DECISIONS:
        assert f"]({path.name})" in index, path.name


@pytest.mark.parametrize("decision", DECISIONS, ids=name_of)
def test_a_decision_says_status_context_alternatives_and_consequences(decision: Path) -> None:
    lines = decision.read_text().splitlines()
    assert lines[0].startswith(f"# {decision.name[:4]}. ")
    assert re.match(r"Status: (accepted|replaced by \[\d{4}\]\(.+\)) · Part: \S+", lines[2])
    assert [line[3:] for line in lines if line.startswith("## ")] == HEADINGS_OF_A_DECISION


def test_tests_that_documents_name_exist() -> None:
    named = {name for path in DOCUMENTS for name in re.findall(r"`(test_\w+)`", path.read_text())}
    code = "\n".join(path.read_text() for path in tracked("*test_*.py"))
    defined = set(re.findall(r"\bdef (test_\w+)", code))
    assert named - defined == set()
