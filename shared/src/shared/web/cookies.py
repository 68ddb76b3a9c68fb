"""Cookies of this site alone: out of reach for scripts and for other hosts of the same domain.

Over https a cookie is `Secure` and its name begins with `__Host-`, so that no other host of the domain can plant it
(RFC 6265bis, 4.1.3.2). Over plain http, which is for development, browsers refuse both.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from shared.proxies import ProxyTrust

#: The session, made by partner-onboarding and read by every service with pages.
SESSION: Final = "session"
_PREFIX: Final = "__Host-"


class Cookies:
    """Sets and reads cookies.

    Args:
        always_secure: every cookie is for https, however this request came (production).
    """

    def __init__(self, proxies: ProxyTrust, *, always_secure: bool) -> None:
        self._proxies = proxies
        self._always_secure = always_secure

    def is_secure(self, request: Request) -> bool:
        """Whether the browser came by https."""
        return self._always_secure or self._proxies.scheme(request.scope) == "https"

    def name(self, request: Request, name: str) -> str:
        """What a cookie is called over the wire."""
        return f"{_PREFIX}{name}" if self.is_secure(request) else name

    def read(self, request: Request, name: str) -> str | None:
        return request.cookies.get(self.name(request, name))

    def set(self, request: Request, response: Response, name: str, value: str, *, max_age: int | None = None) -> None:
        """Without `max_age` (seconds), the cookie ends with the browser's session."""
        response.set_cookie(
            self.name(request, name),
            value,
            max_age=max_age,
            path="/",
            secure=self.is_secure(request),
            httponly=True,
            samesite="lax",
        )

    def delete(self, request: Request, response: Response, name: str) -> None:
        self.set(request, response, name, "", max_age=0)
