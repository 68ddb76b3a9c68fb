"""The ports of the platform, and the processes that hold them."""

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from local_platform.services import SERVICES, SHOP, SHOP_OFFSET, Service


@dataclass(frozen=True)
class Ports:
    """All addresses of one platform; they follow from `base` alone (PORT_BASE).

    `https_only`: plain http does nothing but lead to https, as it is in containers.
    """

    base: int = 8000
    https_only: bool = False

    def __post_init__(self) -> None:
        if not 1024 <= self.base <= 65535 - 443:
            raise ValueError(f"PORT_BASE must lie between 1024 and 65092, not {self.base}")

    @property
    def gateway(self) -> int:
        return self.base

    @property
    def gateway_tls(self) -> int:
        return self.base + 443

    def of(self, service: Service) -> int:
        return self.base + service.offset

    @property
    def rewards_shop(self) -> int:
        return self.base + SHOP_OFFSET

    @property
    def stand_in(self) -> int:
        """Pages in the place of a partner's and a third party's own."""
        return self.base + 11

    @property
    def grafana(self) -> int:
        """Of the platform in containers only."""
        return self.base + 91

    @property
    def postgres(self) -> int:
        return self.base + 32

    @property
    def public_url(self) -> str:
        return self.public_tls_url if self.https_only else f"http://localhost:{self.gateway}"

    @property
    def public_tls_url(self) -> str:
        return f"https://localhost:{self.gateway_tls}"

    def of_services(self) -> dict[str, int]:
        """By the name of the process, in the order of their numbers."""
        return {service.name: self.of(service) for service in SERVICES} | {SHOP: self.rewards_shop}

    def inner(self) -> tuple[int, ...]:
        """Of the parts that nobody outside calls: all but the gateway, the shop and the stand-in for strangers."""
        return (*map(self.of, SERVICES), self.postgres)

    def all(self) -> tuple[int, ...]:
        return (self.gateway, *self.of_services().values(), self.stand_in, self.postgres, self.gateway_tls)


@dataclass(frozen=True)
class BusyPort:
    """A port that another process listens on, with its holder as far as this user may know."""

    port: int
    holder: str

    def __str__(self) -> str:
        return f"port {self.port} is already in use by {self.holder}"


def busy_ports(ports: Iterable[int]) -> list[BusyPort]:
    """The ports among these that are taken at 127.0.0.1."""
    taken = [port for port in ports if _is_taken(port)]
    holders = _listeners() if taken else {}
    return [BusyPort(port, holders.get(port, "another process")) for port in taken]


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections that linger do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def _listeners() -> dict[int, str]:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return {}
    return {
        connection.laddr.port: f"{_name(connection.pid)} (process {connection.pid})"
        for connection in connections
        if connection.status == psutil.CONN_LISTEN and connection.pid is not None
    }


def _name(pid: int) -> str:
    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return "a program"
