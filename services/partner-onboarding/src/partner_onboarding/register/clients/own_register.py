"""The register for this service's own callers: it checks their Basic secrets without HTTP."""

from partner_onboarding.register.clients.domain import InvalidClient
from partner_onboarding.register.clients.service import Clients
from shared import callers


class OwnRegister:
    """`shared.callers.Register` over this service's own tables."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def check(self, client_id: str, client_secret: str) -> callers.Client | None:
        try:
            client = await self._clients.check(client_id, client_secret)
        except InvalidClient:
            return None
        registration = client.registration
        return callers.Client(
            client_id=client.client_id,
            tenant=client.tenant,
            scopes=frozenset(registration.scopes),
            kind=registration.kind,
            vendor_id=registration.vendor_id,
            ip_allow_list=registration.ip_allow_list,
        )
