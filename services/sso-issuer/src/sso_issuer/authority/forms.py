"""Form-encoded requests by RFC 6749: each parameter at most once, an empty one counts as missing."""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from shared.errors import UnsupportedMediaType

from sso_issuer.authority.domain import InvalidRequest

_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
_MOST_PARAMETERS: Final = 50
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class NotAForm(UnsupportedMediaType):
    code = "invalid_request"

    def __init__(self) -> None:
        super().__init__(f"The body must be {_MEDIA_TYPE}.")


def check_media_type(content_type: str | None) -> None:
    """Raises NotAForm for every other kind of body."""
    media_type, _, parameters = (content_type or "").partition(";")
    name, _, charset = parameters.strip().partition("=")
    is_utf8 = name.strip().lower() != "charset" or charset.strip(' "').lower() == "utf-8"
    if media_type.strip().lower() != _MEDIA_TYPE or not is_utf8:
        raise NotAForm


def parse_form(text: str | bytes) -> dict[str, str]:
    """The parameters of a form or a query.

    Raises:
        InvalidRequest: a parameter comes twice, has a control character or is not UTF-8, or there are too many.
    """
    try:
        raw = text.decode("ascii") if isinstance(text, bytes) else text
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise InvalidRequest("The parameters cannot be read.") from None
    _check(pairs)
    return {name: value for name, value in pairs if value}


def needed(form: Mapping[str, str], name: str) -> str:
    """The value of a required parameter.

    Raises:
        InvalidRequest: it is missing or empty.
    """
    value = form.get(name)
    if value is None:
        raise InvalidRequest(f"The parameter {name} is missing.")
    return value


def _check(pairs: Sequence[tuple[str, str]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise InvalidRequest("A parameter comes more than once.")
    if any(_CONTROL.search(text) for pair in pairs for text in pair):
        raise InvalidRequest("A parameter has a control character.")
