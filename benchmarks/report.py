"""Tables of figures, each with its ratio to others of the same run: the machines are too noisy for bare numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True, slots=True)
class Aim:
    """A ratio that the project promises."""

    what: str
    ratio: float
    at_least: float

    @property
    def is_met(self) -> bool:
        return self.ratio >= self.at_least


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    aims: Sequence[Aim] = field(default_factory=tuple)


def show(table: Table, console: Console) -> None:
    """The table, and below it each aim with what was reached."""
    drawn = RichTable(title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if number == 0 else "right")
    for row in table.rows:
        drawn.add_row(*row)
    console.print(drawn)
    for aim in table.aims:
        mark = "[green]reached[/green]" if aim.is_met else "[red]missed[/red]"
        console.print(f"  {mark}  {aim.what}: {aim.ratio:.2f} (aim: at least {aim.at_least:g})")
    console.print()
