"""Use cases of those who ask for an integration."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from shared.db import Database
from shared.errors import TooManyRequests
from shared.idempotency import Answer, Answers, RequestKey
from shared.identifiers import is_identifier
from shared.rate_limits import RateLimit
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import APPLICANT, Actor, Change
from partner_onboarding.register.notices.service import Notices
from partner_onboarding.register.tenants import store as tenants_store
from partner_onboarding.register.tenants.domain import TENANT
from partner_onboarding.register.users.domain import MalformedUser, normalised_email
from partner_onboarding.third_parties.integrations import store
from partner_onboarding.third_parties.integrations.domain import MAX_NAME_CHARACTERS, Wish, checked
from partner_onboarding.third_parties.integrations.seals import RequestSeals

#: Not a client's id, so that no client shares keys with those who have no credentials.
_NOBODY = "(anyone)"
#: The least pause between two mails that call the operators.
_CALLS_PAUSE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the applicant is told, whether or not there is such a tenant."""

    request_id: str
    submitted_at: datetime


class Applications:
    """Takes requests for integrations.

    Args:
        limit: how many one network may submit without credentials.
        mails: how many mails one address gets about what came in.
        platform_tenant: the tenant whose operators get requests for companies that are nobody's.
        plain_http: whether addresses on one's own machine may be plain http (development).
    """

    def __init__(
        self,
        database: Database,
        answers: Answers,
        seals: RequestSeals,
        notices: Notices,
        limit: RateLimit,
        mails: RateLimit,
        *,
        platform_tenant: str | None,
        plain_http: bool,
    ) -> None:
        self._database = database
        self._answers = answers
        self._seals = seals
        self._notices = notices
        self._limit = limit
        self._mails = mails
        self._platform_tenant = platform_tenant
        self._plain_http = plain_http

    async def submit_by_form(self, tenant_named: str, wish: Wish, *, network: str | None) -> Receipt:
        """Takes a request from the public page, where people name the tenant by its id or by what it is called.

        Raises:
            MalformedRequest: naming what is wrong.
            TooManyRequests: from this network.
        """
        await self._limit.count(network or "unknown")
        mails_contact = await self._may_mail(wish)
        async with self._database.transaction() as connection:
            tenant = await _tenant_named(connection, tenant_named)
            return await self.submit(connection, tenant, wish, by=APPLICANT, mails_contact=mails_contact)

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

        mails_contact = await self._may_mail(wish)

        async def act(connection: AsyncConnection) -> Answer:
            return shape(await self.submit(connection, tenant, wish, by=by, mails_contact=mails_contact))

        return await self._answers.once(tenant, by.name or _NOBODY, key, act)

    async def submit(
        self, connection: AsyncConnection, tenant: str, wish: Wish, *, by: Actor, mails_contact: bool = True
    ) -> Receipt:
        """Takes a request for `tenant`. Where there is no such tenant, the platform's own operators get it.

        The answer and the mail are the same either way: nobody finds out by this who the platform's customers are.

        Args:
            mails_contact: whether the contact gets a mail now.

        Raises:
            MalformedRequest: naming what is wrong.
        """
        request_id = secrets.token_hex(8)
        asked = checked(wish, plain_http=self._plain_http)
        particulars = asked.particulars
        if mails_contact:
            facts = {"reference": request_id}
            # Under no tenant: it must not tell whether there is one.
            await self._notices.tell_stranger(
                connection, "", "request_received", particulars.contact_email, facts, language=particulars.language
            )
        if not await _is_tenant(connection, tenant):
            particulars = replace(particulars, company_named=tenant)
            tenant = self._platform_tenant or ""
        sealed = self._seals.seal(tenant, request_id, particulars)
        if particulars.company_named is not None and not await _is_tenant(connection, tenant):
            return Receipt(request_id, await store.now(connection))
        submitted_at = await store.add(connection, tenant, request_id, sealed, asked.scopes, asked.redirect_uris)
        await self._notices.call_operators(connection, tenant, "requests_wait", pause_seconds=_CALLS_PAUSE_SECONDS)
        change = Change(None, {"state": "submitted", "scopes": list(asked.scopes)})
        await audit_store.add(connection, tenant, by, "request_submitted", request_id, change=change)
        return Receipt(request_id, submitted_at)

    async def _may_mail(self, wish: Wish) -> bool:
        """Whether this address gets another mail today; anybody may have named it."""
        try:
            await self._mails.count(normalised_email(wish.particulars.contact_email))
        except (MalformedUser, TooManyRequests):
            return False
        return True


async def _is_tenant(connection: AsyncConnection, tenant: str) -> bool:
    return bool(TENANT.fullmatch(tenant)) and await tenants_store.find_tenant(connection, tenant) is not None


async def _tenant_named(connection: AsyncConnection, name: str) -> str:
    """The tenant that people mean by `name`; where there is none, `name` itself."""
    wanted = name.strip()
    if not is_identifier(wanted):
        return wanted[:MAX_NAME_CHARACTERS]
    return await tenants_store.find_named(connection, wanted) or wanted
