"""The addresses that events may be sent to.

A client names the address, and this service calls it from inside the network. Without a check, anybody with an endpoint
could reach the database's port. So this module resolves the name, judges every address of it, and connects to the
judged address itself, since a second look-up could give another one.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from shared.errors import Malformed

_MAX_CHARACTERS: Final = 2000
_RESOLVING_SECONDS: Final = 2.0
_PORTS: Final = {"https": 443, "http": 80}

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class MalformedUrl(Malformed):
    """Events cannot be sent to this address."""

    code = "malformed_url"


class PrivateAddress(Malformed):
    """An endpoint's address leads into a private network."""

    code = "private_address"

    def __init__(self) -> None:
        super().__init__("This address lies in a private network. Events are sent to public addresses only.")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect (`url`, by its number), and in whose name (`host` for TLS, `authority` for HTTP)."""

    url: str
    host: str
    authority: str


class Destinations:
    """Judges addresses.

    Args:
        development: plain http and the loopback network are allowed too.
        own_ports: where the platform itself listens on the loopback network; never allowed.
    """

    def __init__(self, *, development: bool, own_ports: Iterable[int] = ()) -> None:
        self._development = development
        self._own_ports = frozenset(own_ports)

    async def check(self, url: str) -> str:
        """The address as it is kept, when an endpoint is registered. A name that does not resolve yet is taken.

        Raises:
            MalformedUrl, PrivateAddress
        """
        parts = self._parts(url)
        try:
            await self._resolve(parts)
        except OSError:
            return url
        return url

    async def target(self, url: str) -> Target:
        """Where to connect for a delivery.

        Raises:
            MalformedUrl, PrivateAddress
            OSError: the name does not resolve.
        """
        parts = self._parts(url)
        address = await self._resolve(parts)
        number = f"[{address}]" if address.version == 6 else str(address)
        host = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        name = f"[{host}]" if ":" in host else host
        authority = name if port == _PORTS[parts.scheme] else f"{name}:{port}"
        query = f"?{parts.query}" if parts.query else ""
        return Target(f"{parts.scheme}://{number}:{port}{parts.path or '/'}{query}", host, authority)

    def _parts(self, url: str) -> SplitResult:
        schemes = ("https", "http") if self._development else ("https",)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise MalformedUrl("This is not a URL.") from None
        if len(url) > _MAX_CHARACTERS or not url.isascii() or any(mark <= " " or mark == "\x7f" for mark in url):
            raise MalformedUrl(f"A URL has at most {_MAX_CHARACTERS} visible ASCII characters.")
        if parts.scheme not in schemes or not parts.hostname:
            raise MalformedUrl(
                f"The URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)} and a host."
            )
        if "@" in parts.netloc or parts.fragment or "\\" in url or port == 0:
            raise MalformedUrl("The URL has neither user name and password nor a fragment.")
        return parts

    async def _resolve(self, parts: SplitResult) -> IpAddress:
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        addresses = _number(host) or await _addresses_of(host, port)
        if not addresses or not all(self._is_allowed(address, port) for address in addresses):
            raise PrivateAddress
        return addresses[0]

    def _is_allowed(self, address: IpAddress, port: int) -> bool:
        inner = _inner(address)
        if inner.is_loopback:
            return self._development and port not in self._own_ports
        return inner.is_global and not inner.is_multicast and not inner.is_reserved


def _number(host: str) -> list[IpAddress]:
    """The address that is written as a number; none for a name, and for a number in an odd spelling."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return []
    return [] if "%" in host else [address]


async def _addresses_of(host: str, port: int) -> list[IpAddress]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_RESOLVING_SECONDS):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A zone (`%eth0`) names an interface of this machine.
    return [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]


def _inner(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address carries (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in ipaddress.ip_network("64:ff9b::/96"):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
