"""`python -m history run | check | mutants`."""

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from history.checking import check
from history.mutants import MUTANTS, Mutant, apply, copy_sources
from history.records import History
from history.running import run as play

KEPT = Path("test-artefacts")
SHOWN = 5

cli = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True, highlight=False)


@cli.command()
def run(
    seconds: Annotated[float, typer.Option(min=1, help="How long clients and faults go on.")] = 60,
    seed: Annotated[int, typer.Option(help="Makes runs different.")] = 1,
    calls: Annotated[int, typer.Option(help="The run goes on until there are so many.")] = 0,
    indeterminate: Annotated[int, typer.Option(help="The same for calls without an answer.")] = 0,
    source: Annotated[Path | None, typer.Option(help="Packages that the ledgers import before all others.")] = None,
    standby: Annotated[bool, typer.Option("--standby", help="A synchronous standby takes over in the run.")] = False,
    keep: Annotated[Path, typer.Option(help="Where the history of a failing run is kept.")] = KEPT,
) -> None:
    """Attack two ledgers, and hold what they answered against the contract; status 1 names what is broken."""
    with console.status("starting PostgreSQL and two ledgers") as status:
        history = uvloop.run(
            play(
                seed,
                seconds=seconds,
                calls=calls,
                indeterminate=indeterminate,
                source=source,
                with_standby=standby,
                progress=lambda gone, made, unknown, last: status.update(
                    f"{gone:.0f} s: {made:,} calls, {unknown:,} without an answer; {last}"
                ),
            )
        )
        status.update(f"checking {len(history.calls):,} calls")
        began = time.monotonic()
        judge(history, keep / f"history-{seed}.ndjson", began)


@cli.command("check")
def check_file(path: Path) -> None:
    """Check a history that was kept."""
    judge(History.load(path), None, time.monotonic())


@cli.command()
def mutants(
    names: Annotated[list[str] | None, typer.Argument(help="Only these.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long a run is.")] = 20,
    calls: Annotated[int, typer.Option(help="A run goes on until there are so many.")] = 4000,
    runs: Annotated[int, typer.Option(min=1, help="So often a mutant is tried before it has escaped.")] = 3,
) -> None:
    """Put one bug after the other into a copy of the ledger; status 1 if the checker does not find each."""
    unknown = set(names or ()) - {mutant.name for mutant in MUTANTS}
    if unknown:
        raise typer.BadParameter(f"no such mutant: {', '.join(sorted(unknown))}")
    table = Table("mutant", "bug", "what the checker says", "run", "seconds")
    escaped = False
    # First the ledger as it is: it must pass, or what the checker says of the others means nothing.
    for mutant in (None, *(mutant for mutant in MUTANTS if not names or mutant.name in names)):
        name = "(none)" if mutant is None else mutant.name
        began = time.monotonic()
        for number in range(1, 2 if mutant is None else runs + 1):
            console.print(f"{name}: run {number}")
            found = _first_violation(mutant, number, seconds, calls)
            if found is not None:
                break
        is_right = (found is None) is (mutant is None)
        escaped |= not is_right
        said = found or ("valid" if mutant is None else "ESCAPED: valid")
        console.print(f"{name}: {said}")
        table.add_row(
            name, mutant.bug if mutant else "the ledger as it is", said, str(number), f"{time.monotonic() - began:.0f}"
        )
    Console().print(table)
    sys.exit(escaped)


def _first_violation(mutant: Mutant | None, seed: int, seconds: float, calls: int) -> str | None:
    """What a run with this bug breaks first; None where nothing."""
    with tempfile.TemporaryDirectory(prefix="points-mutant-") as directory:
        source = Path(directory)
        with_standby = mutant is not None and mutant.needs_standby
        copy_sources(source)
        if mutant is not None:
            apply(mutant, source)
        history = uvloop.run(play(seed, seconds=seconds, calls=calls, source=source, with_standby=with_standby))
    violations = check(history)
    return violations[0].what if violations else None


def judge(history: History, kept: Path | None, began: float) -> None:
    """Says what the history breaks, and keeps it then."""
    violations = check(history)
    took = time.monotonic() - began
    typer.echo(
        f"seed {history.seed}: {len(history.calls):,} calls, {history.indeterminate:,} indeterminate,"
        f" {len(history.by_transaction()):,} transactions, {len(history.faults)} faults, checked in {took:.1f} s"
    )
    if not violations:
        typer.echo("valid")
        return
    for violation in violations[:SHOWN]:
        typer.echo(f"\n{violation}")
    if len(violations) > SHOWN:
        typer.echo(f"\nand {len(violations) - SHOWN} more")
    if kept is not None:
        history.save(kept)
        typer.echo(f"\nthe history is kept in {kept}")
    sys.exit(1)


if __name__ == "__main__":
    cli()
