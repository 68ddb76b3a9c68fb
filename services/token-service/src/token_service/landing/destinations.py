"""Where a hosted landing page leads: an address with placeholders that say who comes. Pure."""

import re
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import orjson
from shared.web.addresses import MAX_CHARACTERS, check_address

from token_service.tokens.terms import Terms

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_CUSTOMER: Final = "customer_id"
_ATTRIBUTE: Final = "attributes."
#: What a link may have behind its token that was not in it: the end of a sentence, a bracket, a slash.
_LINK_TEXT: Final = re.compile(r"([0-9A-Fa-f]{32})[\s.,;:!?)\]}>'\"’”»/]*")
#: Of the page itself, and no business of the destination's.
_OWN_PARAMETERS: Final = frozenset({"lang"})
_MOST_PARAMETERS: Final = 50


def check_destination(url: str, *, plain_http: bool) -> str:
    """`url` as it is, if a landing page may lead there: an address that may have a query, a fragment and placeholders.

    Raises:
        ValueError: what it must be, as the end of a sentence that begins with its name.
    """
    unknown = [name for name in _PLACEHOLDER.findall(url) if not _is_known(name)]
    if unknown:
        raise ValueError(
            f"may have the placeholders {{token}}, {{customer_id}} and {{attributes.<name>}}, and must not have "
            f"{{{unknown[0][:60]}}}"
        )
    check_address(_PLACEHOLDER.sub("x", url), plain_http=plain_http, fragment=True)
    if len(url) > MAX_CHARACTERS:
        raise ValueError(f"must have at most {MAX_CHARACTERS} characters")
    parts = urlsplit(_PLACEHOLDER.sub("{}", url))
    if "{" in parts.scheme + parts.netloc:
        raise ValueError("must have no placeholder in its host")
    return url


def fill_in(url: str, token: str, terms: Terms, query: str) -> str:
    """The address with its placeholders filled in, and with the parameters of the link that it has not itself.

    Args:
        query: of the link, as it was opened.
    """
    attributes = orjson.loads(terms.attributes or "{}")

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name == "token":
            return token
        if name == _CUSTOMER:
            return quote(terms.customer_id, safe="")
        attribute = attributes.get(name.removeprefix(_ATTRIBUTE))
        text = (
            attribute if isinstance(attribute, str) else "" if attribute is None else orjson.dumps(attribute).decode()
        )
        return quote(text, safe="")

    address, hash_sign, fragment = _PLACEHOLDER.sub(value, url).partition("#")
    own = {name for name, _ in parse_qsl(urlsplit(address).query, keep_blank_values=True)}
    more = [(name, text) for name, text in parameters_of(query) if name not in own]
    if more:
        address += ("&" if "?" in address else "?") + urlencode(more)
    return f"{address}{hash_sign}{fragment}"


def parameters_of(query: str) -> list[tuple[str, str]]:
    """The parameters of a link that belong to its destination, such as UTM; none where there are too many."""
    try:
        found = parse_qsl(query[:MAX_CHARACTERS], keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        return []
    return [(name, text) for name, text in found if name not in _OWN_PARAMETERS]


def token_of(text: str) -> str:
    """The token in what somebody opened: a mail program may have taken a full stop or a bracket into the link."""
    found = _LINK_TEXT.fullmatch(text)
    return found[1].lower() if found else text


def _is_known(name: str) -> bool:
    return name in {"token", _CUSTOMER} or (name.startswith(_ATTRIBUTE) and len(name) > len(_ATTRIBUTE))
