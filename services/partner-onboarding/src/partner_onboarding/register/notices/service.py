"""Notices that name something, or go to people without an account. What they say lies sealed until it is sent."""

import secrets
from collections.abc import Mapping
from typing import Final

import orjson
from shared.sealing import Sealer
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding import contexts
from partner_onboarding.register.notices import store
from partner_onboarding.register.notices.domain import Kind

#: A tenant has a handful of operators. More than these are not told.
_OPERATORS_AT_MOST: Final = 100


class Notices:
    """Writes notices in the transaction of their cause."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def tell_operators(
        self, connection: AsyncConnection, tenant: str, kind: Kind, facts: Mapping[str, str], *, but: str | None
    ) -> None:
        """Tells the tenant's operators who can sign in.

        Args:
            facts: what the text names; never a secret.
            but: the id of the operator who did it, and knows.
        """
        for user_id in await store.operators(connection, tenant, _OPERATORS_AT_MOST):
            if user_id != but:
                mail_id = secrets.token_hex(8)
                sealed = self._sealer.seal(orjson.dumps(dict(facts)), contexts.mail(tenant, mail_id, "facts"))
                await store.add(connection, tenant, user_id, kind, mail_id=mail_id, facts=sealed)

    async def call_operators(self, connection: AsyncConnection, tenant: str, kind: Kind, *, pause_seconds: int) -> None:
        """Tells the tenant's operators that something waits for them: once, however much it is, until that is sent,
        and then again only after the pause."""
        for user_id in await store.operators(connection, tenant, _OPERATORS_AT_MOST):
            await store.add_unless_waiting(connection, tenant, user_id, kind, pause_seconds)

    async def tell_stranger(
        self,
        connection: AsyncConnection,
        tenant: str,
        kind: Kind,
        email: str,
        facts: Mapping[str, str],
        *,
        language: str | None = None,
    ) -> None:
        """Writes to somebody who has no account.

        Args:
            facts: what the text names; nothing that a stranger has typed, since the address may be anybody's.
        """
        mail_id = secrets.token_hex(8)
        await store.add(
            connection,
            tenant,
            None,
            kind,
            language or store.UNKNOWN_LANGUAGE,
            mail_id=mail_id,
            recipient=self._sealer.seal(email.encode(), contexts.mail(tenant, mail_id, "recipient")),
            facts=self._sealer.seal(orjson.dumps(dict(facts)), contexts.mail(tenant, mail_id, "facts")),
        )

    def open_stranger(self, tenant: str, mail_id: str, sealed: bytes) -> str:
        """The address of somebody without an account."""
        return self._sealer.open(sealed, contexts.mail(tenant, mail_id, "recipient")).decode()

    def open_facts(self, tenant: str, mail_id: str, sealed: bytes | None) -> dict[str, str]:
        """What the text names."""
        if sealed is None:
            return {}
        facts: dict[str, str] = orjson.loads(self._sealer.open(sealed, contexts.mail(tenant, mail_id, "facts")))
        return facts
