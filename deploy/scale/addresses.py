"""Where everything listens, all at 127.0.0.1."""

import random
from dataclasses import dataclass

from local_platform.ports import Ports, busy_ports
from local_platform.services import SERVICES, Service

NODES = ("node-1", "node-2", "node-3")
#: Processes of each service.
PROCESSES = (1, 2)
_STEP = 100


@dataclass(frozen=True)
class Addresses:
    """All ports of one cluster and of the platform on it; they follow from `base` alone."""

    base: int

    @property
    def platform(self) -> Ports:
        return Ports(self.base)

    @property
    def primary(self) -> int:
        """HAProxy's, which leads to the node that takes writes."""
        return self.platform.postgres

    def process(self, service: Service, number: int) -> int:
        return self.platform.of(service) + 20 * (number - 1)

    def either(self, service: Service) -> int:
        """HAProxy's, which leads to a process of the service that is ready."""
        return self.platform.of(service) + 40

    @property
    def status(self) -> int:
        """HAProxy's own page, which says where it leads."""
        return self.base + 51

    def postgres(self, node: str) -> int:
        return self.base + 61 + NODES.index(node)

    def patroni(self, node: str) -> int:
        return self.base + 71 + NODES.index(node)

    @property
    def etcd(self) -> int:
        return self.base + 81

    @property
    def etcd_peers(self) -> int:
        return self.base + 82

    def all(self) -> tuple[int, ...]:
        return (
            *self.platform.all(),
            *(self.process(service, number) for service in SERVICES for number in PROCESSES),
            *(self.either(service) for service in SERVICES),
            *(port for node in NODES for port in (self.postgres(node), self.patroni(node))),
            *(self.status, self.etcd, self.etcd_peers),
        )


def free_addresses() -> Addresses:
    """Of which none is taken at this moment.

    They lie below the ports that connections are given: a node that is down for a while finds its own free again.

    Raises:
        OSError: there are none.
    """
    bases = list(range(20_000, 31_000, _STEP))
    random.shuffle(bases)
    for base in bases:
        addresses = Addresses(base)
        if not busy_ports(addresses.all()):
            return addresses
    raise OSError("there are no free ports on this machine")
