"""Addresses on the web that others give us, and where a browser may be sent within this site."""

import re
from urllib.parse import urlsplit

MAX_URL_CHARACTERS = 2048
#: Hosts of one's own machine, the only ones that plain http may name in development.
_OWN_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
#: What browsers drop or turn into a slash before they read an address, and what no address holds unescaped.
_NOT_IN_AN_ADDRESS = re.compile(r"[\x00-\x20\x7f-\x9f\\\ud800-\udfff]")


def is_web_address(url: str, *, plain_http: bool) -> bool:
    """Whether `url` may be kept as a place to send browsers to: https, a host, no user name, no fragment.

    Args:
        plain_http: whether http is allowed too, as in development for servers on one's own machine.
    """
    if len(url) > MAX_URL_CHARACTERS or _NOT_IN_AN_ADDRESS.search(url):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.password is not None or "#" in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and plain_http and host in _OWN_MACHINE)


def origin_of(url: str) -> str | None:
    """The origin as browsers write it in `Origin` (`https://shop.example`), or None for anything else.

    A default port is left out and the host is lower case, so that equal origins are equal strings.
    """
    if len(url) > MAX_URL_CHARACTERS or _NOT_IN_AN_ADDRESS.search(url):
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    bare = not parts.path.strip("/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if parts.scheme not in {"http", "https"} or not host or not bare:
        return None
    written = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{written}" + ("" if port in {None, default} else f":{port}")


def local_path(path: str | None, default: str) -> str:
    """`path` if it leads to a place within this site, else `default`.

    Anything that a browser could read as another site is out: `//host`, `/\\host`, a scheme, and characters
    that browsers silently drop (`/<tab>/host`).
    """
    if (
        path is None
        or not path.startswith("/")
        or path.startswith("//")
        or len(path) > MAX_URL_CHARACTERS
        or _NOT_IN_AN_ADDRESS.search(path)
    ):
        return default
    return path
