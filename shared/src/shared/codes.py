"""The catalogue of stable codes: what each means and what to do about it.

The classes of refusals carry the codes; `codes.toml` says in one place what a caller reads of them.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

#: Where the catalogue is shown, on the gateway.
PATH: Final = "/developers/codes"


@dataclass(frozen=True, slots=True)
class Code:
    """A stable code.

    Args:
        status: the HTTP status that it comes with most often.
        meaning: one sentence.
        action: what the caller does now.
    """

    code: str
    status: str
    meaning: str
    action: str


@cache
def catalogue() -> Mapping[str, Code]:
    """All codes, in the order of the alphabet."""
    text = (resources.files("shared") / "codes.toml").read_text(encoding="utf-8")
    return {code: Code(code, **entry) for code, entry in sorted(tomllib.loads(text).items())}


def type_of(code: str) -> str:
    """The `type` of a problem body (RFC 9457): an address, relative to the API's own, that leads to the code."""
    return f"{PATH}#{code}"
