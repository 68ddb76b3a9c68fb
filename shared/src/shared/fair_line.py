"""Who comes next of those that wait: tenants take turns, and each tenant's own keep their order."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairLine(Generic[T]):
    """A queue in which a tenant with thousands of commands keeps no other tenant waiting for all of them."""

    def __init__(self) -> None:
        #: In the order of their turns; each has something that waits.
        self._tenants: OrderedDict[str, deque[T]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, tenant: str, one: T) -> None:
        """At the end of the tenant's own."""
        waiting = self._tenants.get(tenant)
        if waiting is None:
            self._tenants[tenant] = deque([one])
        else:
            waiting.append(one)
        self._length += 1

    def tenants(self) -> Iterator[str]:
        """The tenants that wait, in the order of their turns. Nothing may be added or taken meanwhile."""
        return iter(self._tenants)

    def take(self, at_most: int) -> list[T]:
        """One of each tenant in turn, until there are `at_most`."""
        if len(self._tenants) == 1:
            return self.take_of(next(iter(self._tenants)), at_most)
        taken: list[T] = []
        while self._tenants and len(taken) < at_most:
            tenant, waiting = self._tenants.popitem(last=False)
            taken.append(waiting.popleft())
            if waiting:
                self._tenants[tenant] = waiting
        self._length -= len(taken)
        return taken

    def take_of(self, tenant: str, at_most: int) -> list[T]:
        """Up to `at_most` of one tenant, whose next turn comes after those of all others."""
        waiting = self._tenants[tenant]
        taken = [waiting.popleft() for _ in range(min(len(waiting), at_most))]
        if waiting:
            self._tenants.move_to_end(tenant)
        else:
            del self._tenants[tenant]
        self._length -= len(taken)
        return taken
