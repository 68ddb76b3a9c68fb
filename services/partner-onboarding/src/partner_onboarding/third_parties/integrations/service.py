"""Use cases of operators, who decide on requests for integrations."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from shared.db import Database
from shared.idempotency import Answer, Answers, RequestKey
from shared.identifiers import Identifier
from shared.paging import Listing
from shared.times import Instant
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, Change
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.notices.domain import Kind
from partner_onboarding.register.notices.service import Notices
from partner_onboarding.third_parties.integrations import store
from partner_onboarding.third_parties.integrations.domain import (
    IntegrationRequest,
    RequestNotFound,
    State,
    checked_reason,
    need_company,
    need_undecided,
)
from partner_onboarding.third_parties.integrations.seals import RequestSeals


class RequestPlace(NamedTuple):
    """Requests are listed by when they were submitted, newest first."""

    submitted_at: Instant
    request_id: Identifier

    @classmethod
    def of(cls, request: IntegrationRequest) -> "RequestPlace":
        return cls(request.submitted_at, request.request_id)


REQUESTS = Listing("integration-requests", RequestPlace)


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
    """

    def __init__(
        self,
        database: Database,
        answers: Answers,
        clients: Clients,
        seals: RequestSeals,
        notices: Notices,
        *,
        public_url: str,
    ) -> None:
        self._database = database
        self._answers = answers
        self._clients = clients
        self._seals = seals
        self._notices = notices
        self._public_url = public_url

    async def get(self, tenant: str, request_id: str) -> IntegrationRequest:
        """Raises RequestNotFound, also for a request to another tenant."""
        async with self._database.transaction() as connection:
            return await self._get(connection, tenant, request_id)

    async def newest(
        self, tenant: str, *, state: State | None = None, after: RequestPlace | None = None, limit: int = 100
    ) -> list[IntegrationRequest]:
        """Newest first; those that follow the place `after`, of one state or of all."""
        async with self._database.transaction() as connection:
            place: tuple[datetime, str] | None = None if after is None else (after.submitted_at, after.request_id)
            return [self._seals.open(one) for one in await store.newest(connection, tenant, state, place, limit)]

    async def count_by_state(self, tenant: str) -> dict[str, int]:
        async with self._database.transaction() as connection:
            return await store.count_by_state(connection, tenant)

    async def approve(self, tenant: str, request_id: str, *, by: Actor) -> Approved:
        """Registers the client of the request.

        Raises:
            RequestNotFound, AlreadyDecided: if two approve at once, the second is refused.
            CompanyUnknown: the request is for a company that is nobody's.
        """
        async with self._database.transaction() as connection:
            return await self._approve(connection, tenant, request_id, by)

    async def approve_once(
        self,
        tenant: str,
        request_id: str,
        *,
        by: Actor,
        key: RequestKey | None,
        shape: Callable[[Approved], Answer],
    ) -> Answer:
        """The same; a repeat with the same key gets the first answer."""

        async def act(connection: AsyncConnection) -> Answer:
            return shape(await self._approve(connection, tenant, request_id, by))

        return await self._answers.once(tenant, by.name, key, act)

    async def decline(self, tenant: str, request_id: str, reason: str, *, by: Actor) -> IntegrationRequest:
        """Says no, with a reason.

        Raises:
            RequestNotFound, AlreadyDecided
            MalformedRequest: there is no reason, or it is too long.
        """
        async with self._database.transaction() as connection:
            return await self._decline(connection, tenant, request_id, reason, by)

    async def decline_once(
        self,
        tenant: str,
        request_id: str,
        reason: str,
        *,
        by: Actor,
        key: RequestKey | None,
        shape: Callable[[IntegrationRequest], Answer],
    ) -> Answer:
        """The same; a repeat with the same key gets the first answer."""

        async def act(connection: AsyncConnection) -> Answer:
            return shape(await self._decline(connection, tenant, request_id, reason, by))

        return await self._answers.once(tenant, by.name, key, act)

    async def _approve(self, connection: AsyncConnection, tenant: str, request_id: str, by: Actor) -> Approved:
        need_undecided(request := await self._get(connection, tenant, request_id, lock=True))
        need_company(request)
        new = await self._clients.register(connection, tenant, request.wish.registration(), by=by)
        client_id = new.client.client_id
        decided = await store.decide(connection, tenant, request_id, state="approved", by=str(by), client_id=client_id)
        change, details = Change({"state": request.state}, {"state": decided.state}), {"client_id": client_id}
        await audit_store.add(connection, tenant, by, "request_approved", request_id, details, change=change)
        await self._tell(connection, request, "request_approved")
        return Approved(
            request=self._seals.open(decided),
            client_id=client_id,
            client_secret=new.client_secret,
            tenant_authority_url=f"{self._public_url}/tenants/{tenant}",
            cloud_api_url=self._public_url,
        )

    async def _decline(
        self, connection: AsyncConnection, tenant: str, request_id: str, reason: str, by: Actor
    ) -> IntegrationRequest:
        sealed = self._seals.seal_reason(tenant, request_id, checked_reason(reason))
        need_undecided(request := await self._get(connection, tenant, request_id, lock=True))
        decided = await store.decide(connection, tenant, request_id, state="declined", by=str(by), reason=sealed)
        change = Change({"state": request.state}, {"state": decided.state})
        await audit_store.add(connection, tenant, by, "request_declined", request_id, change=change)
        await self._tell(connection, request, "request_declined", reason=checked_reason(reason))
        return self._seals.open(decided)

    async def _tell(self, connection: AsyncConnection, request: IntegrationRequest, kind: Kind, **facts: str) -> None:
        """Writes to the contact. The mail names nothing that somebody typed into the form: the address may be
        anybody's."""
        particulars = request.wish.particulars
        await self._notices.tell_stranger(
            connection,
            request.tenant,
            kind,
            particulars.contact_email,
            {"reference": request.request_id} | facts,
            language=particulars.language,
        )

    async def _get(
        self, connection: AsyncConnection, tenant: str, request_id: str, *, lock: bool = False
    ) -> IntegrationRequest:
        found = await store.find(connection, tenant, request_id, lock=lock)
        if found is None:
            raise RequestNotFound("There is no such integration request.")
        return self._seals.open(found)
