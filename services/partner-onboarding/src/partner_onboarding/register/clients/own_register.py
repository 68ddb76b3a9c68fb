"""The register for this service's own callers: it checks their Basic secrets without HTTP."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from shared.callers import Caller
from shared.common_refusals import add_codes
from shared.errors import Unauthenticated
from shared.problems import status_of_class

from partner_onboarding.register.clients.credentials import Credentials
from partner_onboarding.register.clients.domain import ClientNotFound, InvalidClient
from partner_onboarding.register.clients.service import Clients
from shared import register


class OwnRegister:
    """`shared.register.Register` over this service's own tables."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def check(self, client_id: str, client_secret: str) -> register.Client | None:
        try:
            client = await self._credentials.check(client_id, client_secret)
        except InvalidClient:
            return None
        registration = client.registration
        return register.Client(
            client_id=client.client_id,
            tenant=client.tenant,
            scopes=frozenset(registration.scopes),
            kind=registration.kind,
            vendor_id=registration.vendor_id,
            ip_allow_list=registration.ip_allow_list,
        )


#: What a tenant's consent gives a third party at this moment; None: there is no consent.
Consented = Callable[[str, str], Awaitable[frozenset[str] | None]]


class InactiveToken(Unauthenticated):
    """The client was disabled, or the tenant's consent withdrawn, since the access token was made."""

    code = "inactive_token"

    def __init__(self) -> None:
        super().__init__("This access token is not active any more.")


def document_inactive_tokens(document: dict[str, Any]) -> None:
    """Adds to an OpenAPI document that every operation with credentials may refuse them."""
    for item in document["paths"].values():
        for operation in item.values():
            if any(operation.get("security", ())):
                add_codes(operation["responses"], [(status_of_class(InactiveToken), InactiveToken.code)])


class LiveTokens:
    """Asks the register about every access token on the register's own routes: a token is good for minutes, and
    its client may be disabled, or the consent withdrawn, since it was made.

    Args:
        consented: see `Consented`.
    """

    def __init__(self, clients: Clients, consented: Consented) -> None:
        self._clients = clients
        self._consented = consented

    async def confirm(self, caller: Caller) -> Caller:
        """The caller of a token as the register knows it now. `clients:admin` is never among its scopes: operators
        show their secret.

        Raises:
            InactiveToken
        """
        try:
            client = await self._clients.enabled(caller.client_id)
        except ClientNotFound:
            raise InactiveToken from None
        if client.tenant != caller.tenant:
            raise InactiveToken
        scopes = caller.scopes & frozenset(client.registration.scopes) - {"clients:admin"}
        if client.registration.kind == "third_party":
            consented = await self._consented(client.tenant, client.client_id)
            if consented is None:
                raise InactiveToken
            scopes &= consented
        return replace(caller, scopes=scopes, kind=client.registration.kind, vendor_id=client.registration.vendor_id)
