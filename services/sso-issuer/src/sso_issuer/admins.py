"""The administrators of a tenant's single sign-on: clients with `sso:admin`.

An access token says what a client might do when the token was given. That is enough for calls that read or redeem; it
is not enough to change keys and vendors. So the register is asked about the client of a token each time.
"""

from typing import Annotated, Final

from fastapi import Depends
from shared.callers import Caller, InsufficientScope, InvalidToken, require
from shared.dependencies import needs
from shared.problems import document_refusals

from sso_issuer.register_client import RegisterClient

SCOPE: Final = "sso:admin"


class ClientDisabled(InvalidToken):
    code = "client_disabled"
    further_codes = ()

    def __init__(self) -> None:
        super().__init__("The client of this token is disabled.", code=self.code)


async def check_admin(caller: Caller, register: RegisterClient) -> None:
    """Passes a client with the scope whose token the register stands by.

    Raises:
        ClientDisabled
        InsufficientScope: it no longer has the scope.
        Unavailable: the register cannot be asked.
    """
    if caller.subject is None:
        return
    client = await register.find_client(caller.client_id)
    if client is None or client.tenant != caller.tenant:
        raise ClientDisabled
    if client.kind != "first_party" or SCOPE not in client.scopes:
        raise InsufficientScope(f"This needs the scope {SCOPE}, which the client no longer has.", SCOPE)


async def _admin(
    caller: Annotated[Caller, require(SCOPE)], register: Annotated[RegisterClient, needs(RegisterClient)]
) -> Caller:
    await check_admin(caller, register)
    return caller


#: For the `responses` of a route that takes such a caller.
REFUSALS: Final = document_refusals([ClientDisabled])
#: For a route's parameter: `caller: Admin`.
Admin = Annotated[Caller, Depends(_admin)]
