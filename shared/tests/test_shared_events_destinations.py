"""Events go to public addresses alone, however an address is written."""

import asyncio
import socket
from typing import Any

import pytest
from shared.events.destinations import Destinations, MalformedUrl, PrivateAddress

PRODUCTION = Destinations(development=False)
DEVELOPMENT = Destinations(development=True, own_ports=[8001])


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/hook",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[fe80::1]/",
        "https://[fc00::1]/",
        "https://[::]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:0a00:0001::]/",
        "https://0x0a000001/",
        "https://167772161/",
        "https://012.0.0.1/",
    ],
)
@pytest.mark.parametrize("destinations", [PRODUCTION, DEVELOPMENT])
async def test_a_private_network_is_refused_in_every_spelling(destinations: Destinations, url: str) -> None:
    with pytest.raises(PrivateAddress):
        await destinations.check(url)
    with pytest.raises(PrivateAddress):
        await destinations.target(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:7000/hook", "http://localhost:7000/", "https://[::1]/"])
async def test_loopback_is_for_development_alone(url: str) -> None:
    assert await DEVELOPMENT.check(url) == url
    with pytest.raises((MalformedUrl, PrivateAddress)):
        await PRODUCTION.check(url)


async def test_a_port_of_the_platform_itself_is_never_sent_to() -> None:
    with pytest.raises(PrivateAddress):
        await DEVELOPMENT.check("http://127.0.0.1:8001/internal")
    with pytest.raises(PrivateAddress):
        await DEVELOPMENT.check("http://[::ffff:127.0.0.1]:8001/internal")
    with pytest.raises(PrivateAddress):
        await DEVELOPMENT.check("http://127.1:8001/internal")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "ftp://shop.example/",
        "http://shop.example/",
        "https://",
        "https://user:secret@8.8.8.8/",
        "https://8.8.8.8/#part",
        "https://8.8.8.8/a b",
        "https://8.8.8.8\\@10.0.0.1/",
        "https://8.8.8.8:99999/",
        "https://8.8.8.8:0/",
        "https://8.8.8.8/\r\nHost: x",
        "https://8.8.8.8/" + "a" * 2000,
    ],
)
async def test_what_is_no_address_for_events_is_refused(url: str) -> None:
    with pytest.raises(MalformedUrl):
        await PRODUCTION.check(url)


async def test_a_name_is_judged_by_all_its_addresses_and_again_at_each_delivery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[str] = ["8.8.8.8"]

    async def resolve(_self: Any, _host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", resolve)
    await PRODUCTION.check("https://shop.example/hook")
    target = await PRODUCTION.target("https://shop.example:8443/hook?shop=1")
    assert (target.url, target.host) == ("https://8.8.8.8:8443/hook?shop=1", "shop.example")
    assert target.authority == "shop.example:8443"
    found[:] = ["8.8.8.8", "10.0.0.1"]
    with pytest.raises(PrivateAddress):
        await PRODUCTION.target("https://shop.example/hook")


async def test_a_name_that_does_not_resolve_yet_may_be_registered() -> None:
    url = "https://no-such-host.invalid/hook"
    assert await PRODUCTION.check(url) == url
    with pytest.raises(socket.gaierror):
        await PRODUCTION.target(url)
