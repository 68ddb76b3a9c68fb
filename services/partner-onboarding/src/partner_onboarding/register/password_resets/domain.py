"""The link to another password."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.errors import Gone

PATH: Final = "/password/reset"
#: How long a link is good after it was mailed.
LIFETIME: Final = timedelta(minutes=30)
#: A person gets so many links a day at most, and none within a minute of another.
LINKS_A_DAY: Final = 10
PAUSE: Final = timedelta(minutes=1)
# The tenant, and 256 random bits.
_TOKEN: Final = re.compile(r"([a-z0-9][a-z0-9-]{0,39})\.([A-Za-z0-9_-]{43})", re.ASCII)


class UnknownResetLink(Gone):
    """The link was never mailed, was used, or is too old. All look the same."""

    code = "unknown_link"


@dataclass(frozen=True, slots=True)
class ResetToken:
    """What the link carries. Only its digest is kept, and that leads to the mail that it went out with."""

    tenant: str
    digest: bytes


def new_token(tenant: str) -> tuple[str, bytes]:
    """A token for a mail, and its digest."""
    token = f"{tenant}.{secrets.token_urlsafe(32)}"
    return token, _digest(token)


def read_token(token: str) -> ResetToken:
    """Raises UnknownResetLink for what is no token of ours."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise UnknownResetLink("This link was never mailed to anybody.")
    return ResetToken(found[1], _digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
