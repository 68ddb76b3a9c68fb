"""How much of the processor's time a request takes, of each process."""

import statistics
from collections.abc import Callable, Mapping

from benchmarks.load import Load


class ProcessorTime:
    """Microseconds a request of each contender, by process and round by round."""

    def __init__(self) -> None:
        self.of: dict[str, list[Mapping[str, float]]] = {}

    def account(
        self, name: str, load: Callable[[float], Load], seconds: float, spent: Callable[[], Mapping[str, float]]
    ) -> Load:
        """Puts the load, and notes what it took.

        Args:
            spent: the processor seconds that each process has used so far.
        """
        before = spent()
        found = load(seconds)
        after = spent()
        requests = max(1.0, found.requests_per_second * seconds)
        used = {process: (after[process] - before[process]) / requests * 1e6 for process in after}
        self.of.setdefault(name, []).append(used)
        return found

    def shown(self, name: str, process: str) -> str:
        """The median, to be read; nothing where the process had no part."""
        used = [one[process] for one in self.of.get(name, ()) if process in one]
        return f"{statistics.median(used):,.0f}" if used else ""
