"""Where the hosted landing page may lead. Pure."""

import re
from typing import Final
from urllib.parse import urlsplit

MAX_URL_CHARACTERS: Final = 2048
_URL = re.compile(r"[!-~]+")


def check_destination_url(url: str, *, plain_http: bool) -> str:
    """`url`, if browsers may be sent there: https, a host, no user name.

    Args:
        plain_http: whether http is allowed too, as in development.

    Raises:
        ValueError: says what is wrong.
    """
    if len(url) > MAX_URL_CHARACTERS or not _URL.fullmatch(url) or "\\" in url:
        raise ValueError(f"must be a URL of at most {MAX_URL_CHARACTERS} characters without blanks")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL") from None
    if parts.scheme != "https" and not (plain_http and parts.scheme == "http"):
        raise ValueError("must begin with https://")
    if not host or not re.fullmatch(r"[a-z0-9._:-]+", host) or host.startswith("."):
        raise ValueError("must name a host")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user name or password")
    return url
