"""Forms as browsers send them, and the token that shows that we gave the form out ourselves."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from typing import Final
from urllib.parse import parse_qsl

from shared.errors import Forbidden, Malformed, UnsupportedMediaType
from starlette.requests import Request

FORM_COOKIE: Final = "form_key"
SESSION_COOKIE: Final = "session"
PROOF_FIELD: Final = "csrf_token"
_MAX_FIELDS: Final = 100


class FormExpired(Forbidden):
    """The form was not given out to this browser in this session."""

    code = "form_expired"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form; of a name that comes twice, the first.

    Raises:
        UnsupportedMediaType, Malformed: see `read_fields`.
    """
    return dict(reversed(await read_fields(request)))


async def read_fields(request: Request) -> list[tuple[str, str]]:
    """Name and value of every field of a posted form.

    Raises:
        UnsupportedMediaType: not `application/x-www-form-urlencoded`.
        Malformed: not UTF-8, or too many fields.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("A form is sent as application/x-www-form-urlencoded.")
    try:
        return parse_qsl(
            (await request.body()).decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise Malformed("The form cannot be read.", code="malformed_form") from None


class FormTokens:
    """Tokens against forged posts, bound to a random cookie of the browser and to its session.

    The token in the form is an HMAC of both, so that neither a cookie planted by another site on the same domain
    nor a token from before the sign-in is of any use.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def new_cookie(self) -> str:
        return secrets.token_urlsafe(32)

    def token(self, cookie: str, session: str | None) -> str:
        digest = hmac.digest(self._key, f"{cookie}\0{session or ''}".encode(), hashlib.sha256)
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def check(self, request: Request, form: dict[str, str]) -> None:
        """Raises FormExpired."""
        cookie = request.cookies.get(FORM_COOKIE)
        if cookie is None:
            raise FormExpired("This form was not given out to this browser.", log="no cookie")
        expected = self.token(cookie, request.cookies.get(SESSION_COOKIE))
        if not hmac.compare_digest(expected.encode(), form.get(PROOF_FIELD, "").encode()):
            raise FormExpired("This form was not given out to this browser.", log="another token")
