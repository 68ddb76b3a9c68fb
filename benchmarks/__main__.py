"""`make bench`: every table, or the one named. Figures are medians of several rounds, taken by turns."""

from typing import Annotated

import typer
from rich.console import Console

from benchmarks import ledger, onboarding
from benchmarks.report import Table, show

console = Console()
TABLES = {"ledger": ledger.run, "onboarding": onboarding.run}


def main(
    table: Annotated[str, typer.Argument(help=f"one of {', '.join(TABLES)}; all if left out")] = "",
    seconds: Annotated[float, typer.Option(help="how long each measurement takes")] = 8,
    rounds: Annotated[int, typer.Option(help="measurements of each, of which the median counts")] = 3,
) -> None:
    """Measures, draws the tables, and ends with status 1 when an aim was missed."""
    results: list[Table] = []
    with console.status("measuring") as status:
        for name in [table] if table else TABLES:
            results.append(TABLES[name](seconds=seconds, rounds=rounds, say=status.update))
    for result in results:
        show(result, console)
    if not all(aim.is_met for result in results for aim in result.aims):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
