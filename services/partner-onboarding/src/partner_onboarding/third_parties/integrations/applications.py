"""Use cases of those who ask for an integration."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from shared.db import Database
from shared.idempotency import Answer, Answers, RequestKey
from shared.identifiers import is_identifier
from shared.rate_limits import RateLimit
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import APPLICANT, Actor, Change
from partner_onboarding.register.tenants import store as tenants_store
from partner_onboarding.register.tenants.domain import TENANT
from partner_onboarding.third_parties.integrations import store
from partner_onboarding.third_parties.integrations.domain import Wish, checked
from partner_onboarding.third_parties.integrations.seals import RequestSeals

#: Not a client's id, so that no client shares keys with those who have no credentials.
_NOBODY = "(anyone)"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the applicant is told, whether or not there is such a tenant."""

    request_id: str
    submitted_at: datetime


class Applications:
    """Takes requests for integrations.

    Args:
        limit: how many one network may submit without credentials.
        plain_http: whether addresses on one's own machine may be plain http (development).
    """

    def __init__(
        self, database: Database, answers: Answers, seals: RequestSeals, limit: RateLimit, *, plain_http: bool
    ) -> None:
        self._database = database
        self._answers = answers
        self._seals = seals
        self._limit = limit
        self._plain_http = plain_http

    async def submit_by_form(self, tenant_named: str, wish: Wish, *, network: str | None) -> Receipt:
        """Takes a request from the public page, where people name the tenant by its id or by what it is called.

        Raises:
            MalformedRequest: naming what is wrong.
            TooManyRequests: from this network.
        """
        await self._limit.count(network or "unknown")
        async with self._database.transaction() as connection:
            tenant = await _tenant_named(connection, tenant_named)
            return await self.submit(connection, tenant, wish, by=APPLICANT)

    async def submit_once(
        self,
        tenant: str,
        wish: Wish,
        *,
        by: Actor,
        network: str | None,
        key: RequestKey | None,
        shape: Callable[[Receipt], Answer],
    ) -> Answer:
        """Takes a request from a program, with credentials (`by` is a client) or without.

        Raises:
            MalformedRequest: naming what is wrong.
            TooManyRequests: without credentials, from this network.
        """
        if by == APPLICANT:
            await self._limit.count(network or "unknown")

        async def act(connection: AsyncConnection) -> Answer:
            return shape(await self.submit(connection, tenant, wish, by=by))

        return await self._answers.once(tenant, by.name or _NOBODY, key, act)

    async def submit(self, connection: AsyncConnection, tenant: str, wish: Wish, *, by: Actor) -> Receipt:
        """Takes a request for `tenant`. Where there is no such tenant, the same answer after the same work, and
        nothing is kept: nobody finds out by this who the platform's customers are.

        Raises:
            MalformedRequest: naming what is wrong.
        """
        request_id = secrets.token_hex(8)
        asked = checked(wish, plain_http=self._plain_http)
        sealed = self._seals.seal(tenant, request_id, asked.particulars)
        if not TENANT.fullmatch(tenant) or await tenants_store.find_tenant(connection, tenant) is None:
            return Receipt(request_id, await store.now(connection))
        submitted_at = await store.add(connection, tenant, request_id, sealed, asked.scopes, asked.redirect_uris)
        change = Change(None, {"state": "submitted", "scopes": list(asked.scopes)})
        await audit_store.add(connection, tenant, by, "request_submitted", request_id, change=change)
        return Receipt(request_id, submitted_at)


async def _tenant_named(connection: AsyncConnection, name: str) -> str:
    """The tenant that people mean by `name`; where there is none, `name` itself."""
    wanted = name.strip()
    if not is_identifier(wanted):
        return ""
    return await tenants_store.find_named(connection, wanted) or wanted
