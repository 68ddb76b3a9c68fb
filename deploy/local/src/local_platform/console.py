"""The output for the person at the terminal: a line for each event, and the journey step by step."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

LONGEST_VALUE = 60


class Terminal:
    """Plain lines in a pipe or a log; colours on a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._steps = 0

    def say(self, text: str, style: str = "") -> None:
        self._console.print(escape(text), style=style)

    def complain(self, text: str) -> None:
        self.say(text, "bold red")

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Says what begins, then how long it took."""
        begun = time.monotonic()
        self.say(f"[{begun - self._started:5.1f} s] {what} …")
        yield
        self.say(f"          done in {time.monotonic() - begun:.1f} s", "dim")

    def title(self, text: str) -> None:
        self._console.print()
        self.say(text, "bold")

    def step(self, what: str) -> None:
        """The next numbered step of the journey."""
        self._steps += 1
        self.say(f"\n{self._steps:2}. {what}", "cyan")

    def call(self, request: str, body: Any, status: int, answer: Any) -> None:
        """A request (its method and path) and its answer, one line each."""
        self.say(f"    {request}" + (f"  {_compact(body)}" if body is not None else ""))
        self.say(f"    → {status}  {_compact(answer)}", "green" if status < 400 else "yellow")

    def balance(self, name: str, before: Mapping[str, int], after: Mapping[str, int]) -> None:
        shown = [f"{part} {before[part]} → {after[part]}" for part in ("available", "held", "total")]
        self.say(f"    {name}: {', '.join(shown)}", "bold")


def _compact(value: Any) -> str:
    return json.dumps(_shortened(value), ensure_ascii=False)


def _shortened(value: Any) -> Any:
    """Shortens tokens: they are secret and long, and their beginnings are enough to recognise one."""
    if isinstance(value, dict):
        return {name: _shortened(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_shortened(member) for member in value]
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        return f"{value[: LONGEST_VALUE - 20]}…"
    return value
