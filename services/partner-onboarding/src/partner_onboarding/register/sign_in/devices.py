"""Known devices: browsers that have signed in to an account before.

Somebody who guesses at an account from elsewhere must not keep its owner out: a known device is counted by itself. The
cookie is no session and opens nothing; another password makes all devices unknown.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from typing import Final

from partner_onboarding.register.users.domain import SealedUser

DEVICE_COOKIE: Final = "device"
DEVICE_SECONDS: Final = 365 * 86_400
_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{43}", re.ASCII)


class Devices:
    """Makes and checks the cookies of known devices."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def cookie_for(self, user: SealedUser, present: str | None) -> str:
        """The cookie of a browser that has signed in; its present one, if it is good for this account."""
        if present is not None and self.known(user, present) is not None:
            return present
        device = secrets.token_urlsafe(16)
        return f"{device}.{self._proof(user, device)}"

    def known(self, user: SealedUser, cookie: str | None) -> str | None:
        """The name of the device, if it has signed in to this account before."""
        parts = _COOKIE.fullmatch(cookie or "")
        if parts is None or cookie is None:
            return None
        expected = f"{parts[1]}.{self._proof(user, parts[1])}"
        return parts[1] if hmac.compare_digest(expected.encode(), cookie.encode()) else None

    def _proof(self, user: SealedUser, device: str) -> str:
        told = "\0".join((device, user.tenant, user.user_id, user.password_hash or ""))
        return urlsafe_b64encode(hmac.digest(self._key, told.encode(), hashlib.sha256)).rstrip(b"=").decode()
