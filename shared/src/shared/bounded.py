"""Memories that forget: what strangers can fill must not grow."""

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def keep(remembered: OrderedDict[K, V], key: K, value: V, *, at_most: int) -> None:
    """Remembers `value`, and forgets what has not been kept anew for the longest time."""
    remembered[key] = value
    remembered.move_to_end(key)
    while len(remembered) > at_most:
        remembered.popitem(last=False)
