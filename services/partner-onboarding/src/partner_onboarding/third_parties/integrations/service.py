"""The use cases of integration requests.

Those that change something take a transaction, which also stores the answer under an `Idempotency-Key`.
"""

import secrets
from dataclasses import asdict, dataclass
from datetime import datetime

import orjson
from shared.db import Database
from shared.identifiers import is_identifier
from shared.sealing import Sealer
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.tenants import store as tenants_store
from partner_onboarding.register.tenants.domain import TENANT
from partner_onboarding.third_parties.integrations import store
from partner_onboarding.third_parties.integrations.domain import (
    Decision,
    IntegrationRequest,
    Particulars,
    RequestNotFound,
    State,
    Wish,
    checked,
    checked_reason,
    need_undecided,
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a request, whether or not the tenant exists."""

    request_id: str
    submitted_at: datetime


@dataclass(frozen=True, slots=True)
class Approved:
    """The client's secret in clear, this once, with id and URLs."""

    request: IntegrationRequest
    client_id: str
    client_secret: str
    tenant_authority_url: str
    cloud_api_url: str


class Integrations:
    """Integration requests, and operators' decisions.

    Args:
        public_url: the cloud API URL, below which the tenant authorities lie.
        plain_http: whether addresses on one's own machine may be plain http (development).
    """

    def __init__(
        self, database: Database, clients: Clients, sealer: Sealer, *, public_url: str, plain_http: bool
    ) -> None:
        self._database = database
        self._clients = clients
        self._sealer = sealer
        self._public_url = public_url
        self._plain_http = plain_http

    async def tenant_named(self, name: str) -> str:
        """The id of the tenant with this id or name; `name` itself if there is none."""
        wanted = name.strip()
        if not is_identifier(wanted):
            return ""
        async with self._database.transaction() as connection:
            return await tenants_store.find_named(connection, wanted) or wanted

    async def submit(self, connection: AsyncConnection, tenant: str, wish: Wish, *, by: Actor) -> Receipt:
        """Submits a request to `tenant`. For an unknown tenant the answer is the same after the same work, and nothing
        is stored, so that nobody learns who the platform's customers are.

        Raises:
            MalformedRequest: naming what is wrong.
        """
        request_id = secrets.token_hex(8)
        asked = checked(wish, plain_http=self._plain_http)
        sealed = self._sealer.seal(orjson.dumps(asdict(asked.particulars)), _context(tenant, request_id))
        if not TENANT.fullmatch(tenant) or await tenants_store.find_tenant(connection, tenant) is None:
            return Receipt(request_id, await store.now(connection))
        submitted_at = await store.add(connection, tenant, request_id, sealed, asked.scopes, asked.redirect_uris)
        details = {"scopes": list(asked.scopes)}
        await audit_store.add(connection, tenant, by, "request_submitted", request_id, details)
        return Receipt(request_id, submitted_at)

    async def get(self, tenant: str, request_id: str) -> IntegrationRequest:
        """Raises RequestNotFound, also for a request to another tenant."""
        async with self._database.transaction() as connection:
            return await self._get(connection, tenant, request_id)

    async def newest(
        self, tenant: str, *, state: State | None = None, after: str | None = None, limit: int = 100
    ) -> list[IntegrationRequest]:
        """Requests after `after`, newest first, of one state or of all."""
        async with self._database.transaction() as connection:
            last = await store.find(connection, tenant, after) if after is not None else None
            if after is not None and last is None:
                raise RequestNotFound("There is no such integration request to go on from.")
            place = (last.submitted_at, last.request_id) if last is not None else None
            return [self._opened(one) for one in await store.newest(connection, tenant, state, place, limit)]

    async def count_by_state(self, tenant: str) -> dict[str, int]:
        async with self._database.transaction() as connection:
            return await store.count_by_state(connection, tenant)

    async def approve(self, connection: AsyncConnection, tenant: str, request_id: str, *, by: Actor) -> Approved:
        """Approves a request: registers its client.

        Raises:
            RequestNotFound, AlreadyDecided: if two approve at once, the second is refused.
        """
        need_undecided(request := await self._get(connection, tenant, request_id, lock=True))
        new = await self._clients.register(connection, tenant, request.wish.registration(), by=by)
        client_id = new.client.client_id
        decided = await store.decide(connection, tenant, request_id, state="approved", by=str(by), client_id=client_id)
        await audit_store.add(connection, tenant, by, "request_approved", request_id, {"client_id": client_id})
        return Approved(
            request=self._opened(decided),
            client_id=client_id,
            client_secret=new.client_secret,
            tenant_authority_url=f"{self._public_url}/tenants/{tenant}",
            cloud_api_url=self._public_url,
        )

    async def decline(
        self, connection: AsyncConnection, tenant: str, request_id: str, reason: str, *, by: Actor
    ) -> IntegrationRequest:
        """Declines a request with a reason.

        Raises:
            RequestNotFound, AlreadyDecided
            MalformedRequest: there is no reason, or it is too long.
        """
        why = checked_reason(reason).encode()
        need_undecided(await self._get(connection, tenant, request_id, lock=True))
        sealed = self._sealer.seal(why, _context(tenant, request_id) + "/reason")
        decided = await store.decide(connection, tenant, request_id, state="declined", by=str(by), reason=sealed)
        await audit_store.add(connection, tenant, by, "request_declined", request_id)
        return self._opened(decided)

    async def _get(
        self, connection: AsyncConnection, tenant: str, request_id: str, *, lock: bool = False
    ) -> IntegrationRequest:
        found = await store.find(connection, tenant, request_id, lock=lock)
        if found is None:
            raise RequestNotFound("There is no such integration request.")
        return self._opened(found)

    def _opened(self, sealed: store.SealedRequest) -> IntegrationRequest:
        context = _context(sealed.tenant, sealed.request_id)
        particulars = Particulars(**orjson.loads(self._sealer.open(sealed.particulars, context)))
        decision = None
        if sealed.decided_at is not None and sealed.decided_by is not None:
            reason = self._sealer.open(sealed.reason, f"{context}/reason").decode() if sealed.reason else None
            decision = Decision(sealed.decided_at, sealed.decided_by, sealed.client_id, reason)
        return IntegrationRequest(
            tenant=sealed.tenant,
            request_id=sealed.request_id,
            wish=Wish(particulars, sealed.scopes, sealed.redirect_uris),
            state=sealed.state,
            submitted_at=sealed.submitted_at,
            decision=decision,
        )


def _context(tenant: str, request_id: str) -> str:
    return f"partner-onboarding/integration-request/{tenant}/{request_id}"
