"""Ids in paths: any character may be in one, a slash as well."""

import re
from typing import Final

from starlette.convertors import Convertor, register_url_convertor


class _Identifier(Convertor[str]):
    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


# Routes name it: `/vendors/{vendor_id:identifier}`.
IDENTIFIER: Final = "identifier"
register_url_convertor(IDENTIFIER, _Identifier())


def identifier_above(name: str, *ends: str) -> str:
    """How a path ends in an id that has further paths below it, for its routes: `/accounts/{user_id:account}`.

    An id that ends like one of these paths is left to them: `PUT /v1/accounts/ann/debits` opens no account.

    Args:
        name: of the new kind of id.
        ends: the paths below, such as `/debits`.
    """

    class Above(_Identifier):
        regex = _Identifier.regex + "".join(f"(?<!{re.escape(end)})" for end in ends)

    register_url_convertor(name, Above())
    return name
