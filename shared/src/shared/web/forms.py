"""Forms as browsers send them, and the token that shows that we gave the form out ourselves."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from shared.errors import Forbidden, Malformed, PayloadTooLarge, UnsupportedMediaType
from shared.web.cookies import SESSION, Cookies
from shared.web.cross_site import CrossSiteRequest, foreign_origin_of

#: The cookie that a form is bound to, and the field of its token.
FORM_COOKIE: Final = "form_key"
PROOF_FIELD: Final = "csrf_token"
#: A random number in a form of another service, which needs no token: two posts with the same one are a double press.
PRESS_FIELD: Final = "press"
MAX_BYTES: Final = 16_384
MAX_FIELD_CHARACTERS: Final = 4_096
_MAX_FIELDS: Final = 100
_TYPE: Final = "A form is sent as application/x-www-form-urlencoded."
#: A cookie that is longer than any that we make is none of ours.
_MAX_COOKIE_CHARACTERS: Final = 512


class FormExpired(Forbidden):
    """The form was not given out to this browser in this session."""

    code = "form_expired"


class CookiesNeeded(FormExpired):
    """The form came without any cookie: the browser keeps none, or has forgotten them."""

    code = "cookies_needed"


async def read_form(request: Request, *, max_bytes: int = MAX_BYTES) -> dict[str, str]:
    """The fields of a posted form; of a name that comes twice, the first.

    Raises:
        Refusal: see `read_fields`.
    """
    return dict(reversed(await read_fields(request, max_bytes=max_bytes)))


async def read_fields(request: Request, *, max_bytes: int = MAX_BYTES) -> list[tuple[str, str]]:
    """Name and value of every field of a form that one of our own pages posted.

    A value is cut one character behind `MAX_FIELD_CHARACTERS`: the rule of its field refuses it in its own words.

    Raises:
        CrossSiteRequest: the page of another site posted it.
        UnsupportedMediaType: not `application/x-www-form-urlencoded`.
        PayloadTooLarge: longer than `max_bytes`.
        Malformed: not UTF-8, or too many fields.
    """
    if foreign_origin_of(request) is not None:
        raise CrossSiteRequest
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # A form without fields may come without a type.
    if media_type not in {"application/x-www-form-urlencoded", ""}:
        raise UnsupportedMediaType(_TYPE)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise PayloadTooLarge(f"A form has at most {max_bytes} bytes.")
    if body and not media_type:
        raise UnsupportedMediaType(_TYPE)
    try:
        found = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise Malformed("The form cannot be read.", code="malformed_form") from None
    return [(name, value[: MAX_FIELD_CHARACTERS + 1]) for name, value in found]


class FormTokens:
    """Tokens against forged posts, bound to a random cookie of the browser and to its session.

    The token in the form is a random number, different in every form, with an HMAC of it, the cookie and the session:
    neither a cookie that another site plants nor a token from before the sign-in is of any use.
    """

    def __init__(self, key: bytes, cookies: Cookies) -> None:
        self._key = key
        self._cookies = cookies

    def known_cookie(self, request: Request) -> str | None:
        """The cookie that this browser's forms are bound to."""
        cookie = self._cookies.read(request, FORM_COOKIE)
        return cookie if cookie and len(cookie) <= _MAX_COOKIE_CHARACTERS else None

    def new_cookie(self) -> str:
        return secrets.token_urlsafe(32)

    def token(self, cookie: str, session: str | None) -> str:
        """A token for one form."""
        number = secrets.token_urlsafe(12)
        return f"{number}.{self._proof(number, cookie, session)}"

    def _proof(self, number: str, cookie: str, session: str | None) -> str:
        digest = hmac.digest(self._key, f"{number}\0{cookie}\0{session or ''}".encode(), hashlib.sha256)
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def check(self, request: Request, form: Mapping[str, str], *, from_before_sign_in: bool = False) -> None:
        """Refuses a form that we did not give out to this browser.

        Args:
            from_before_sign_in: the form may have been given out before its browser signed in, as another tab's
                sign-in page was.

        Raises:
            CookiesNeeded: the browser sent no cookie along.
            FormExpired: the form was given out to another browser or in another session.
        """
        cookie = self.known_cookie(request)
        if cookie is None:
            raise CookiesNeeded("The browser sent no cookie along with the form.", log="no cookie")
        session = self._cookies.read(request, SESSION)
        sessions = [session, None] if from_before_sign_in else [session]
        number, _, proof = form.get(PROOF_FIELD, "").partition(".")
        expected = [self._proof(number, cookie, one).encode() for one in sessions]
        if not any(hmac.compare_digest(one, proof.encode()) for one in expected):
            raise FormExpired("This form was not given out to this browser.", log="another token")
