"""Addresses on the web that others give us, and where a browser may be sent within this site. Pure.

One rule holds for all of them: absolute, https, a host, no user name or password, and only characters that a browser
and we read alike. Flags name where an address differs. In development plain http is allowed too.
"""

import re
import string
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

MAX_CHARACTERS: Final = 2048
#: What a URL is made of (RFC 3986, 2). Everything else is percent-encoded: nothing else could stand in `Location`.
_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "-._~:/?#[]@!$&'()*+,;=%")
#: A path of our own may carry a third party's state of 4,096 characters, each as twelve.
_MAX_LOCAL_CHARACTERS: Final = 65_536
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)
_BRACKETED: Final = re.compile(r"(?:[^@\[\]]*@)?\[[^\[\]]*\](?::[0-9]*)?", re.ASCII)
_LOCAL: Final = re.compile(r"/(?![/\\])[^\x00-\x20\x7f-\x9f\\\ud800-\udfff]*")


def check_address(
    url: str,
    *,
    plain_http: bool,
    query: bool = True,
    fragment: bool = False,
    max_characters: int = MAX_CHARACTERS,
) -> str:
    """`url` as it is, if it may be kept.

    Args:
        plain_http: whether http is allowed beside https, as in development.
        query: whether it may have a query.
        fragment: whether it may have a fragment.

    Raises:
        ValueError: what it must be, as the end of a sentence that begins with its name.
    """
    if len(url) > max_characters:
        raise ValueError(f"must have at most {max_characters} characters")
    if not _CHARACTERS.issuperset(url):
        raise ValueError("must be a URL in which blanks and all but the usual ASCII characters are percent-encoded")
    parts = _split(url, max_characters)
    if parts is None:
        raise ValueError("must be a URL")
    if parts.scheme != "https" and not (plain_http and parts.scheme == "http"):
        raise ValueError("must begin with https://")
    if not _is_host(parts.hostname) or parts.port == 0 or parts.netloc.endswith(":"):
        raise ValueError("must name a host")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user name or password")
    if "?" in url and not query:
        raise ValueError("must not have a query")
    if "#" in url and not fragment:
        raise ValueError("must not have a fragment")
    return url


def origin_of(url: str) -> str | None:
    """`https://host[:port]` of a URL or an `Origin`, in one spelling; None if it has none.

    The default port is left out and the host is lower case, as browsers write it: equal origins are equal strings.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    suffix = "" if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host}{suffix}"


def bare_origin(url: str) -> str | None:
    """`url` as an origin, if it is nothing but one: no path, query, fragment or user name; else None."""
    parts = _split(url)
    if parts is None or not _CHARACTERS.issuperset(url) or not _is_host(parts.hostname):
        return None
    if parts.path.strip("/") or "?" in url or "#" in url or "@" in parts.netloc:
        return None
    return origin_of(url)


def is_loopback(host: str | None) -> bool:
    """Whether a host's name or address is this very machine's."""
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_registered(url: str, registered: str) -> bool:
    """Whether `url` is a registered address: the very same, or on a loopback address with any port (RFC 8252, 7.3)."""
    if url == registered:
        return True
    given, known = _split(url), _split(registered)
    if given is None or known is None or not _CHARACTERS.issuperset(url) or "@" in given.netloc:
        return False
    return is_loopback(known.hostname) and _without_port(given) == _without_port(known)


def local_path(path: str | None, default: str) -> str:
    """`path` if it leads to a place within this site, else `default`.

    Anything that a browser could read as another site is out: `//host`, `/\\host`, a scheme, and characters
    that browsers silently drop (`/<tab>/host`).
    """
    if path is None or len(path) > _MAX_LOCAL_CHARACTERS or not _LOCAL.fullmatch(path):
        return default
    return path


def _split(url: str, max_characters: int = MAX_CHARACTERS) -> SplitResult | None:
    if len(url) > max_characters:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is not a port
    except ValueError:
        return None
    # urlsplit reads `[::1].evil.example` as the host `::1`.
    return None if "[" in parts.netloc and not _BRACKETED.fullmatch(parts.netloc) else parts


def _without_port(parts: SplitResult) -> tuple[str, str | None, str, str, str]:
    return parts.scheme, parts.hostname, parts.path, parts.query, parts.fragment


def _is_host(host: str | None) -> bool:
    if not host or len(host) > 253:
        return False
    if ":" not in host:
        return _NAME.fullmatch(host) is not None
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False
