"""A mapping of bounded size: strangers can fill it, but cannot make it grow.

self._known: Bounded[str, Vendor] = Bounded(at_most=10_000)               # until it is pushed out
self._refused: Bounded[bytes, bool] = Bounded(at_most=10_000, seconds=1)  # or too old
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """Holds at most so many values; a new one displaces the one that was not used for the longest time.

    Args:
        at_most: values.
        seconds: how long a value is good after it was kept; for ever by default.
        clock: seconds, monotonic; handed in by tests.
    """

    __slots__ = ("_at_most", "_clock", "_held", "_seconds")

    def __init__(
        self, at_most: int, *, seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._at_most = at_most
        self._seconds = seconds
        self._clock = clock
        self._held: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value of `key`, unless it was displaced or is too old."""
        held = self._held.get(key)
        if held is None:
            return None
        if self._seconds is not None and self._clock() >= held[1]:
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return held[0]

    def keep(self, key: K, value: V) -> None:
        """Stores `value` under `key`."""
        until = 0.0 if self._seconds is None else self._clock() + self._seconds
        self._held[key] = (value, until)
        self._held.move_to_end(key)
        if len(self._held) > self._at_most:
            self._held.popitem(last=False)

    def pop(self, key: K) -> V | None:
        """Removes `key` and returns its value."""
        held = self.get(key)
        self._held.pop(key, None)
        return held

    def clear(self) -> None:
        """Removes all values."""
        self._held.clear()

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[K]:
        """The keys, next to be displaced first, with those that are too old."""
        return iter(list(self._held))

    def __len__(self) -> int:
        return len(self._held)
