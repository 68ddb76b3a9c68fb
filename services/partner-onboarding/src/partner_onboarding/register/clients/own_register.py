"""The register for this service's own callers: it checks their Basic secrets without HTTP."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from shared.callers import Caller
from shared.errors import Unauthenticated

from partner_onboarding.register.clients.domain import ClientNotFound, InvalidClient
from partner_onboarding.register.clients.service import Clients
from shared import register


class OwnRegister:
    """`shared.register.Register` over this service's own tables."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def check(self, client_id: str, client_secret: str) -> register.Client | None:
        try:
            client = await self._clients.check(client_id, client_secret)
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
            Unauthenticated: the client is disabled, or the tenant's consent was withdrawn.
        """
        inactive = Unauthenticated("This access token is not active any more.", code="inactive_token")
        try:
            client = await self._clients.enabled(caller.client_id)
        except ClientNotFound:
            raise inactive from None
        if client.tenant != caller.tenant:
            raise inactive
        scopes = caller.scopes & frozenset(client.registration.scopes) - {"clients:admin"}
        if client.registration.kind == "third_party":
            consented = await self._consented(client.tenant, client.client_id)
            if consented is None:
                raise inactive
            scopes &= consented
        return replace(caller, scopes=scopes, kind=client.registration.kind, vendor_id=client.registration.vendor_id)
