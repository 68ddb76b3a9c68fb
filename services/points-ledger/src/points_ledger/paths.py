"""Ids in paths: any character may be in one, a slash as well."""

from typing import Final

from starlette.convertors import Convertor, register_url_convertor


class _Identifier(Convertor[str]):
    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Account(_Identifier):
    """Not one that ends like the paths below an account: `PUT /v1/accounts/ann/debits` opens no account."""

    regex = "(?s:.+)(?<!/entries)(?<!/credits)(?<!/debits)"


# Routes name them: `/accounts/{user_id:account}`, `/vendors/{vendor_id:identifier}`.
IDENTIFIER: Final = "identifier"
ACCOUNT: Final = "account"
register_url_convertor(IDENTIFIER, _Identifier())
register_url_convertor(ACCOUNT, _Account())
