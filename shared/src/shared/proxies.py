"""The caller's address behind a gateway.

Anyone can write `X-Forwarded-For`. The service trusts it only from configured networks and reads it from the right: the
last address that is not one of its own proxies is the caller's. (uvicorn's `forwarded_allow_ips="*"` returns the
spoofed, leftmost one.)
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import Scope

from shared.settings import IpNetwork


class ProxyTrust:
    """Reads the caller's address and scheme from a request's scope."""

    def __init__(self, trusted: Sequence[IpNetwork]) -> None:
        self._trusted = tuple(trusted)

    def client_address(self, scope: Scope) -> str | None:
        """The caller's address, or None when the server does not know (a unix socket, a test)."""
        peer = scope["client"][0] if scope.get("client") else None
        if peer is None or not self._is_trusted(peer):
            return peer
        hops = [part.strip() for part in _header(scope, b"x-forwarded-for").split(",") if part.strip()]
        for hop in reversed(hops):
            if not self._is_trusted(hop):
                # A proxy of ours wrote this. If it is no address, the caller's is unknown.
                return hop if _parse(hop) is not None else None
        return hops[0] if hops else peer

    def client_network(self, scope: Scope) -> str | None:
        """The network that limits count: the caller's IPv4 address, or the first 64 bits of an IPv6 one, which one
        caller has to itself."""
        address = self.client_address(scope)
        parsed = None if address is None else _parse(address)
        return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address

    def scheme(self, scope: Scope) -> str:
        """`https` or `http`, as the caller's browser sees it."""
        peer = scope["client"][0] if scope.get("client") else None
        forwarded = _header(scope, b"x-forwarded-proto")
        if peer is not None and forwarded in {"http", "https"} and self._is_trusted(peer):
            return forwarded
        return str(scope.get("scheme", "http"))

    def _is_trusted(self, address: str) -> bool:
        return is_within(address, self._trusted)


def is_within(address: str, networks: Sequence[IpNetwork]) -> bool:
    """Whether `address` lies in one of `networks`; an unreadable address lies in none."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


@lru_cache(maxsize=4096)
def parse_networks(networks: tuple[str, ...]) -> tuple[IpNetwork, ...]:
    """The networks of an allow-list. Raises ValueError for a text that is none."""
    return tuple(ip_network(network) for network in networks)


@lru_cache(maxsize=4096)
def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    # An IPv4 caller on a dual-stack socket is the same caller.
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _header(scope: Scope, name: bytes) -> str:
    # Several fields of one name are one list (RFC 9110, 5.3): taking the first alone could be spoofed.
    return ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)
