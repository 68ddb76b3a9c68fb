"""Every mutant still fits the source: one that changed nothing would prove nothing."""

import ast
from pathlib import Path

import pytest

from history.mutants import MUTANTS, Change, Moved, Mutant, apply, copy_sources


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    copy_sources(tmp_path)
    return tmp_path


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_present_source(mutant: Mutant, sources: Path) -> None:
    apply(mutant, sources)
    for change in mutant.changes:
        ast.parse((sources / change.file).read_text())


@pytest.mark.parametrize(("text", "times"), [("", 0), ("lock\nlock\n", 2)])
def test_a_piece_that_has_moved_is_noticed(text: str, times: int, tmp_path: Path) -> None:
    (tmp_path / "ledger.py").write_text(text)
    mutant = Mutant("no-lock", "without a lock", (Change("ledger.py", "lock\n", ""),))
    with pytest.raises(Moved, match=f"ledger.py has {times} times"):
        apply(mutant, tmp_path)


def test_names_are_told_apart() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 10
