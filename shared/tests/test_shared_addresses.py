"""Where a request comes from: nobody but our own proxies is believed about that."""

from ipaddress import ip_network

import pytest
from platform_testing.callers import FakeRegister
from platform_testing.serving import PUBLIC_URL
from shared.callers import Caller, Callers, IpNotAllowed
from shared.problems import status_of
from shared.proxies import ProxyTrust, is_within, parse_networks

from .scopes import scope_of

GATEWAY, OTHER_GATEWAY, CALLER = "10.0.0.1", "10.0.0.2", "203.0.113.9"
TRUST = ProxyTrust([ip_network("10.0.0.0/24"), ip_network("fd00::/8")])


def address(peer: str | None, *forwarded: str, trust: ProxyTrust = TRUST) -> str | None:
    return trust.client_address(scope_of([(b"x-forwarded-for", text.encode()) for text in forwarded], peer=peer))


def test_a_caller_without_proxy_is_its_own_peer() -> None:
    assert address(CALLER) == CALLER
    assert address(None) is None


def test_what_a_stranger_says_of_itself_is_not_believed() -> None:
    assert address(CALLER, "127.0.0.1") == CALLER
    assert address(CALLER, "10.0.0.1") == CALLER
    assert address(CALLER, "198.51.100.7", trust=ProxyTrust([])) == CALLER
    assert address(GATEWAY, "198.51.100.7", trust=ProxyTrust([])) == GATEWAY


@pytest.mark.parametrize(
    "forwarded",
    [
        [f"{CALLER}"],
        [f"198.51.100.7, {CALLER}"],
        [f"127.0.0.1,10.0.0.1,{CALLER}"],
        [f"garbage, {CALLER}"],
        [f"{CALLER}, {OTHER_GATEWAY}"],
        [f"198.51.100.7, {CALLER}, {OTHER_GATEWAY}, {GATEWAY}"],
        # Several fields of one name are one list; the caller sent the first.
        ["198.51.100.7", CALLER],
        ["127.0.0.1", f"{CALLER}, {OTHER_GATEWAY}"],
        [f"{CALLER}", OTHER_GATEWAY],
        [f" {CALLER} ", ""],
        [f"{CALLER},,"],
        [f"{CALLER}, fd00::1"],
    ],
)
def test_the_list_is_read_from_the_right_past_our_own_proxies(forwarded: list[str]) -> None:
    assert address(GATEWAY, *forwarded) == CALLER


@pytest.mark.parametrize(
    "last", ["garbage", "203.0.113.9:443", "[2001:db8::1]:443", "unknown", "_hidden", "203.0.113.256", "1" * 5000, "é"]
)
def test_garbage_where_our_proxy_wrote_is_no_address(last: str) -> None:
    """Better none than the one to the left of it, which the caller wrote."""
    assert address(GATEWAY, f"127.0.0.1, {last}") is None


def test_a_request_from_within_is_of_the_proxy_farthest_from_us() -> None:
    assert address(GATEWAY) == GATEWAY
    assert address(GATEWAY, "") == GATEWAY
    assert address(GATEWAY, "10.0.0.3, 10.0.0.2") == "10.0.0.3"


def test_ipv6_and_mapped_addresses_are_the_same_caller() -> None:
    assert address("fd00::1", "2001:db8::7") == "2001:db8::7"
    # A dual-stack socket shows an IPv4 proxy so.
    assert address("::ffff:10.0.0.1", CALLER) == CALLER
    assert address("::ffff:203.0.113.9", "127.0.0.1") == "::ffff:203.0.113.9"
    assert is_within("::ffff:203.0.113.9", [ip_network("203.0.113.0/24")])
    assert is_within("2001:DB8::7", [ip_network("2001:db8::/32")])
    assert not is_within("203.0.113.9", [ip_network("::/0")])
    assert not is_within("2001:db8::7", [ip_network("0.0.0.0/0")])
    assert not is_within("garbage", [ip_network("0.0.0.0/0")])


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "::ffff:203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (None, None),
    ],
)
def test_addresses_that_one_caller_has_to_itself_are_counted_together(peer: str | None, network: str | None) -> None:
    scope = {"type": "http", "client": None if peer is None else (peer, 1), "headers": []}
    assert TRUST.client_network(scope) == network


def test_a_network_of_an_allow_list_is_an_address_or_a_range() -> None:
    assert parse_networks(("203.0.113.9", "2001:db8::/32")) == (
        ip_network("203.0.113.9/32"),
        ip_network("2001:db8::/32"),
    )
    with pytest.raises(ValueError, match="everywhere"):
        parse_networks(("everywhere",))


@pytest.mark.parametrize(
    ("peer", "said", "scheme"),
    [
        (GATEWAY, "https", "https"),
        (GATEWAY, "http", "http"),
        (GATEWAY, "javascript", "http"),
        (GATEWAY, "https,http", "http"),
        (CALLER, "https", "http"),
        (None, "https", "http"),
    ],
)
def test_the_scheme_is_believed_from_our_proxies_only(peer: str | None, said: str, scheme: str) -> None:
    assert TRUST.scheme(scope_of({"X-Forwarded-Proto": said}, peer=peer)) == scheme


# ——— allow-lists ———


async def call(peer: str | None, *forwarded: str, allowed: tuple[str, ...] = ("203.0.113.0/24",)) -> Caller:
    register = FakeRegister()
    headers = register.add("demo", "points:read", ip_allow_list=allowed)
    callers = Callers(register, keys=None, public_url=PUBLIC_URL, proxies=TRUST)
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    fields += [(b"x-forwarded-for", text.encode()) for text in forwarded]
    return await callers.authenticate(scope_of(fields, peer=peer))


@pytest.mark.parametrize(
    ("peer", "forwarded"),
    [
        (CALLER, []),
        (GATEWAY, [CALLER]),
        (GATEWAY, ["198.51.100.7", CALLER]),
        ("::ffff:203.0.113.9", []),
    ],
)
async def test_a_client_may_call_from_its_list(peer: str, forwarded: list[str]) -> None:
    assert await call(peer, *forwarded)


@pytest.mark.parametrize(
    ("peer", "forwarded"),
    [
        ("198.51.100.7", []),
        (None, []),
        ("198.51.100.7", [CALLER]),
        (GATEWAY, []),
        (GATEWAY, [f"{CALLER}, 198.51.100.7"]),
        (GATEWAY, [CALLER, "198.51.100.7"]),
        (GATEWAY, [f"{CALLER}, garbage"]),
        ("2001:db8::7", []),
    ],
)
async def test_a_client_may_call_from_nowhere_else(peer: str | None, forwarded: list[str]) -> None:
    with pytest.raises(IpNotAllowed) as refused:
        await call(peer, *forwarded)
    assert status_of(refused.value) == 403
    assert refused.value.stable_code == "ip_not_allowed"
    # From where it may, is not told.
    assert "203.0.113" not in refused.value.message


async def test_an_allow_list_takes_ipv6_and_single_addresses() -> None:
    lists = ("203.0.113.9", "2001:db8::/48")
    for peer in ("2001:db8::7", "203.0.113.9"):
        assert await call(peer, allowed=lists)
    for peer in ("2001:db9::7", "203.0.113.10"):
        with pytest.raises(IpNotAllowed):
            await call(peer, allowed=lists)


async def test_a_client_without_a_list_may_call_from_anywhere() -> None:
    assert await call("198.51.100.7", allowed=())
    assert await call(None, allowed=())


async def test_the_list_counts_for_each_request_though_the_secret_is_remembered() -> None:
    register = FakeRegister()
    headers = register.add("demo", ip_allow_list=("203.0.113.9",))
    callers = Callers(register, keys=None, public_url=PUBLIC_URL, proxies=TRUST)
    for _ in range(3):
        assert await callers.authenticate(scope_of(headers, peer="203.0.113.9"))
        with pytest.raises(IpNotAllowed):
            await callers.authenticate(scope_of(headers, peer="203.0.113.10"))
    assert register.asked == 1
