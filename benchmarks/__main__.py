"""`make bench`: every table, or the one named. Figures are medians of several rounds, taken by turns."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import costs, credit_imports, expiring, issuer, large_ledger, ledger, onboarding, steady, token_service
from benchmarks.interpreter import interpreter
from benchmarks.report import Table, show

#: Wide enough for every table where nobody looks at a terminal.
console = Console(width=None if sys.stdout.isatty() else 180)
NAMES = (
    *("ledger", "steady", "expiring", "large-ledger", "credits"),
    *("issuer", "onboarding", "tokens", "signing", "imports", "sizes", "costs"),
)


def main(
    table: Annotated[str, typer.Argument(help=f"one of {', '.join(NAMES)}; all if left out")] = "",
    seconds: Annotated[float, typer.Option(help="how long each measurement takes")] = 4,
    rounds: Annotated[int, typer.Option(help="measurements of each; medians count")] = 7,
    rows: Annotated[int, typer.Option(help="rows of the list that imports measures")] = 200_000,
    large: Annotated[int, typer.Option(help="tokens in the larger table of sizes; minutes to fill")] = 10_000_000,
    accounts: Annotated[int, typer.Option(help="accounts in the large ledger; minutes to fill")] = 1_000_000,
) -> None:
    """Measures, draws the tables, and ends with status 1 when an aim was missed."""
    if table not in {"", *NAMES}:
        raise typer.BadParameter(f"there is no table {table!r}, only {', '.join(NAMES)}")
    with console.status("measuring") as status:
        say = status.update
        tables: dict[str, Callable[[], Table]] = {
            "ledger": lambda: ledger.run(seconds=seconds, rounds=rounds, say=say),
            "steady": lambda: steady.run(seconds=seconds, rounds=rounds, say=say),
            "expiring": lambda: expiring.run(say=say),
            "large-ledger": lambda: large_ledger.run(seconds=seconds, rounds=rounds, accounts=accounts, say=say),
            "credits": lambda: credit_imports.run(rounds=rounds, rows=rows, lines=5 * rows, say=say),
            "issuer": lambda: issuer.run(seconds=seconds, rounds=rounds, say=say),
            "onboarding": lambda: onboarding.run(seconds=seconds, rounds=rounds, say=say),
            "tokens": lambda: token_service.run(seconds=seconds, rounds=rounds, say=say),
            "signing": lambda: token_service.run_signing(say=say),
            "imports": lambda: token_service.run_imports(rounds=rounds, rows=rows, say=say),
            "sizes": lambda: token_service.run_sizes(seconds=seconds, rounds=rounds, large=large, say=say),
            "costs": lambda: costs.run(seconds=seconds, rounds=rounds, say=say),
        }
        results = [measure() for name, measure in tables.items() if table in {"", name}]
    console.print(f"Measured on {interpreter()}, of the benchmark and of all services.")
    for result in results:
        show(result, console)
    if not all(aim.is_met for result in results for aim in result.aims):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
