"""What holds of the repository as a whole: its commands, its words, its documents, its walls."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .running_platform import REPOSITORY, SERVICES

#: Lines. A list of proofs reads from top to bottom and may be longer than a room of the house.
LONGEST_ROOM, LONGEST_PROOF = 450, 600
#: Put together here, so that this file does not contain them itself.
FORBIDDEN = {
    "an absolute path of one machine": re.compile("|".join(("/ro" + "ot/", "/wo" + "rk/", "/ho" + "me/[a-z]+/"))),
    "a task left undone": re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b"),
}
BINARY = {".png", ".ico", ".woff2", ".sqlite"}


def tracked(*patterns: str) -> list[Path]:
    """Files under version control, or about to be."""
    listing = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns).stdout
    return [path for name in listing.split("\0") if name and (path := REPOSITORY / name).is_file()]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def test_the_commands_that_the_readme_names_can_be_made() -> None:
    """“make” is a verb, too: only what is set as code counts."""
    readme = (REPOSITORY / "README.md").read_text()
    code = "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", readme, re.MULTILINE | re.DOTALL))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code))
    assert {"run", "demo"} <= named
    assert named - make_targets() - {f"migrate-{service}" for service in SERVICES} == set()


def test_continuous_integration_runs_the_tests_that_make_runs() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert "make test" in script.read_text()
    assert "make drills" in script.read_text()
    assert script.stat().st_mode & 0o111
    assert "test" in make_targets()


def test_make_alone_lists_what_can_be_made() -> None:
    listed = run("make").stdout
    for target in make_targets() - {"help"}:
        assert f"make {target}" in listed


def test_no_file_knows_a_machine_or_leaves_a_task_undone() -> None:
    found = []
    for path in tracked():
        if path.suffix in BINARY or path.name == "uv.lock":
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for what, pattern in FORBIDDEN.items():
            found += [f"{path.relative_to(REPOSITORY)}: {what}: {match.group()}" for match in pattern.finditer(text)]
    assert found == []


def test_no_room_has_grown_too_large() -> None:
    too_long = {}
    for path in tracked("*.py"):
        lines = len(path.read_text().splitlines())
        if lines > (LONGEST_PROOF if "tests" in path.parts else LONGEST_ROOM):
            too_long[str(path.relative_to(REPOSITORY))] = lines
    assert too_long == {}


def test_who_may_import_whom_is_kept() -> None:
    checked = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "0 broken" in checked.stdout


def test_these_tests_reach_into_no_service() -> None:
    packages = {service.replace("-", "_") for service in SERVICES} | {"rewards_shop"}
    for path in tracked("tests/*.py"):
        assert not set(imported(path)) & packages, path.name


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_every_dependency_is_pinned_in_the_lock_file() -> None:
    uv = shutil.which("uv") or str(REPOSITORY / ".tools" / "uv" / "bin" / "uv")  # where set-up puts one
    checked = run(uv, "lock", "--check", "--offline")
    assert checked.returncode == 0, checked.stderr
