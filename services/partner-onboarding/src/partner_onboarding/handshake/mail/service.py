"""Use cases about mails. A mail is written down in the transaction of what it is about, and sent later: neither a mail
server nor token-service that is down keeps anybody from registering."""

import hashlib
from datetime import datetime
from email.message import EmailMessage
from typing import Final

import structlog
from shared.db import Database
from shared.errors import Gone, Unavailable

from partner_onboarding.clock import database_clock
from partner_onboarding.handshake.mail import store
from partner_onboarding.handshake.mail.delivery import Delivery
from partner_onboarding.handshake.mail.domain import GIVEN_UP_AFTER, LINK_LIFETIME, Mail, pause_after
from partner_onboarding.handshake.mail.letters import letter
from partner_onboarding.handshake.mail.token_client import TokenClient, TokenRefused
from partner_onboarding.languages import load_texts
from partner_onboarding.register.tenants import store as tenants_store
from partner_onboarding.register.tenants.domain import TENANT
from partner_onboarding.register.users import store as users_store
from partner_onboarding.register.users.profiles import Profiles

CONFIRM_PATH: Final = "/register/confirm"
_AT_ONCE: Final = 20
_log = structlog.get_logger("partner_onboarding")


class UnknownLink(Gone):
    """Never mailed to anybody, used up, or too old."""

    code = "unknown_link"


class Mails:
    """The mails of all tenants.

    Args:
        delivery: None leaves mails where they are, until one is configured.
    """

    def __init__(
        self,
        database: Database,
        profiles: Profiles,
        tokens: TokenClient,
        delivery: Delivery | None,
        *,
        sender: str,
        public_url: str,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._tokens = tokens
        self._delivery = delivery
        self._sender = sender
        self._public_url = public_url
        self._texts = load_texts()

    async def send_due(self) -> int:
        """Sends what waits; returns how many went out. Two replicas do not send the same mail."""
        if self._delivery is None:
            return 0
        async with self._database.transaction() as connection:
            due = await store.due_mails(connection, await database_clock(connection), _AT_ONCE)
        return sum([await self._send(mail, self._delivery) for mail in due])

    async def confirm(self, tenant: str, token: str) -> None:
        """The link that was mailed to an address was opened: the address is the person's. Again is fine.

        Raises:
            UnknownLink
            EmailTaken: another user of the tenant has shown to own the address meanwhile.
            Unavailable: token-service cannot be asked.
        """
        if not TENANT.fullmatch(tenant):
            raise UnknownLink("There is no such tenant, and so it mailed nothing.")
        async with self._database.transaction() as connection:
            user_id = await store.user_of_token(connection, tenant, _hash(token))
            user = await users_store.find_user(connection, tenant, user_id) if user_id is not None else None
        if user is None:
            raise UnknownLink("This link was never mailed to anybody, or its account was deleted.")
        if user.email_verified_at is not None:
            return
        try:
            whose = await self._tokens.use(tenant, token)
        except TokenRefused as refused:
            # Used up, and the address is not confirmed: what came of it then could not be written.
            if refused.code != "token_used_up":
                raise UnknownLink("This link was used or has expired.", log=refused.code) from None
            whose = user.user_id
        if whose != user.user_id:
            raise UnknownLink("This link was mailed to somebody else.")
        async with self._database.transaction() as connection:
            await users_store.verify_email(connection, tenant, user.user_id)

    async def _send(self, mail: Mail, delivery: Delivery) -> bool:
        async with self._database.transaction() as connection:
            now = await database_clock(connection)
            if not await store.take(connection, mail, now):
                return False
        try:
            message = await self._compose(mail)
            if message is not None:
                await delivery.deliver(message)
        except (Unavailable, OSError) as trouble:
            _log.warning("a mail was not sent", kind=mail.kind, attempts=mail.attempts + 1, error=repr(trouble))
            return await self._put_off(mail, now)
        # Whatever is wrong with this one, those behind it are to go out, and it is not to be tried for ever.
        except Exception:
            _log.exception("a mail could not be written", kind=mail.kind, attempts=mail.attempts + 1)
            return await self._put_off(mail, now)
        async with self._database.transaction() as connection:
            await store.set_sent(connection, mail, await database_clock(connection))
        return True

    async def _put_off(self, mail: Mail, now: datetime) -> bool:
        """Tries again after a pause, or never when it has waited for too long."""
        again_at = None if now - mail.created_at > GIVEN_UP_AFTER else now + pause_after(mail.attempts + 1)
        async with self._database.transaction() as connection:
            await store.set_next_attempt(connection, mail, again_at)
        return False

    async def _compose(self, mail: Mail) -> EmailMessage | None:
        """The mail as it is sent, or None when there is nobody to send it to any more."""
        async with self._database.transaction() as connection:
            sealed = await users_store.find_user(connection, mail.tenant, mail.user_id)
            tenant = await tenants_store.find_tenant(connection, mail.tenant)
        if sealed is None or tenant is None:
            return None
        link = None
        if mail.kind == "confirm_address":
            if sealed.email_verified_at is not None:
                return None
            mailed = await self._tokens.issue(
                mail.tenant,
                base_url=f"{self._public_url}{CONFIRM_PATH}/{mail.tenant}",
                user_id=mail.user_id,
                seconds=int(LINK_LIFETIME.total_seconds()),
            )
            async with self._database.transaction() as connection:
                await store.set_token(connection, mail, _hash(mailed.token))
            link = mailed.url
        return letter(
            mail,
            self._profiles.open(sealed).profile,
            self._texts[mail.language],
            sender=self._sender,
            public_url=self._public_url,
            tenant_name=tenant.name,
            link=link,
        )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
