"""The use cases of mails. A mail is written in the transaction of its cause and sent later, so that people can register
while the mail server or token-service is down."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any, Final

import structlog
from shared.db import Database
from shared.errors import Gone, Unavailable
from shared.times import iso
from shared.web.languages import load_texts

from partner_onboarding.clock import database_clock
from partner_onboarding.handshake.mail import store
from partner_onboarding.handshake.mail.delivery import Delivery
from partner_onboarding.handshake.mail.domain import GIVEN_UP_AFTER, LINK_LIFETIME, Mail, pause_after
from partner_onboarding.handshake.mail.letters import letter, subject
from partner_onboarding.handshake.mail.token_client import TokenClient, TokenRefused
from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, Change
from partner_onboarding.register.notices import store as notices_store
from partner_onboarding.register.notices.domain import Kind
from partner_onboarding.register.notices.links import new_token
from partner_onboarding.register.notices.service import Notices
from partner_onboarding.register.own_account.domain import EMAIL_PATH
from partner_onboarding.register.password_resets.domain import PATH as RESET_PATH
from partner_onboarding.register.tenants import store as tenants_store
from partner_onboarding.register.tenants.domain import TENANT
from partner_onboarding.register.users import store as users_store
from partner_onboarding.register.users.domain import Profile
from partner_onboarding.register.users.profiles import Profiles

CONFIRM_PATH: Final = "/register/confirm"
RESEND_PATH: Final = "/account/confirmation"
RESEND_PAUSE: Final = timedelta(minutes=1)
RESENT_PER_DAY: Final = 10
_DAY: Final = timedelta(days=1)
#: Where links lead that are made when the mail is written.
_LINKS_TO: Final[Mapping[Kind, str]] = {"password_forgotten": RESET_PATH, "confirm_new_address": EMAIL_PATH}
MAILS_AT_ONCE: Final = 20
_log = structlog.get_logger("partner_onboarding")


class UnknownLink(Gone):
    """The link was never mailed, or it is used up or too old."""

    code = "unknown_link"


class Mails:
    """The mails of all tenants.

    Args:
        delivery: with None, mails wait until one is configured.
    """

    def __init__(
        self,
        database: Database,
        profiles: Profiles,
        notices: Notices,
        tokens: TokenClient,
        delivery: Delivery | None,
        *,
        sender: str,
        public_url: str,
        product_name: str,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._notices = notices
        self._tokens = tokens
        self._delivery = delivery
        self._sender = sender
        self._public_url = public_url
        self._product_name = product_name
        self._texts = load_texts("partner_onboarding")

    async def send_due(self) -> int:
        """Sends waiting mails; returns their number. Two replicas do not send the same mail."""
        if self._delivery is None:
            return 0
        async with self._database.transaction() as connection:
            due = await store.due_mails(connection, await database_clock(connection), MAILS_AT_ONCE)
        return sum([await self._send(mail, self._delivery) for mail in due])

    async def confirm(self, tenant: str, token: str) -> None:
        """Confirms the address that the link was mailed to. A repeat is fine.

        Raises:
            UnknownLink
            EmailTaken: another user of the tenant has confirmed the address meanwhile.
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
            # The token is used up, but the address is not confirmed: the first attempt could not be written.
            if refused.code != "token_used_up":
                raise UnknownLink("This link was used or has expired.", log=refused.code) from None
            whose = user.user_id
        if whose != user.user_id:
            raise UnknownLink("This link was mailed to somebody else.")
        async with self._database.transaction() as connection:
            await users_store.verify_email(connection, tenant, user.user_id)
            actor, change = Actor("user", user.user_id), Change({"owns_email": False}, {"owns_email": True})
            await audit_store.add(connection, tenant, actor, "email_confirmed", user.user_id, change=change)

    async def send_again(self, tenant: str, user_id: str, language: str) -> bool:
        """Mails the link to a person whose address is not confirmed; False if it is confirmed.

        A repeat within a minute, or too often a day, mails nothing more: the mail before is under way.
        """
        async with self._database.transaction() as connection:
            user = await users_store.find_user(connection, tenant, user_id, lock=True)
            if user is None or user.owns_email:
                return False
            now = await database_clock(connection)
            lately, today = await store.count_links(connection, tenant, user_id, now - RESEND_PAUSE, now - _DAY)
            if lately == 0 and today < RESENT_PER_DAY:
                others = await users_store.users_with_email(connection, user.email_hash)
                is_known = any(other.tenant == tenant and other.owns_email for other in others)
                kind: Kind = "address_known" if is_known else "confirm_address"
                await notices_store.add(connection, tenant, user_id, kind, language)
        return True

    async def about(self, tenant: str, user_id: str) -> list[dict[str, Any]]:
        """The mails to a person that are kept, oldest first: their subjects, and when each was sent.

        What a mail said is not kept: links are made when it is sent.
        """
        async with self._database.transaction() as connection:
            kept = await store.mails_to(connection, tenant, user_id)
            found = await tenants_store.find_tenant(connection, tenant)
        site = tenant if found is None else found.name
        return [
            {
                "kind": mail.kind,
                "subject": subject(mail, self._texts[mail.language], site, self._facts(mail)),
                "language": mail.language,
                "to": None if mail.recipient is None else self._profiles.open_address(tenant, user_id, mail.recipient),
                "requested_at": iso(mail.created_at),
                "sent_at": None if sent_at is None else iso(sent_at),
            }
            for mail, sent_at in kept
        ]

    async def _send(self, mail: Mail, delivery: Delivery) -> bool:
        async with self._database.transaction() as connection:
            now = await database_clock(connection)
            if not await store.take(connection, mail, now):
                return False
        try:
            message = await self._compose(mail)
            if message is None:
                return await self._leave(mail)
            await delivery.deliver(message)
        except (Unavailable, OSError) as trouble:
            _log.warning("a mail was not sent", kind=mail.kind, attempts=mail.attempts + 1, error=repr(trouble))
            return await self._put_off(mail, now)
        # A mail that cannot be written must neither hold up the others nor be tried for ever.
        except Exception:
            _log.exception("a mail could not be written", kind=mail.kind, attempts=mail.attempts + 1)
            return await self._put_off(mail, now)
        async with self._database.transaction() as connection:
            await store.set_sent(connection, mail, await database_clock(connection))
        return True

    async def _put_off(self, mail: Mail, now: datetime) -> bool:
        """Schedules the next attempt after a pause, or gives the mail up if it waited too long."""
        again_at = None if now - mail.created_at > GIVEN_UP_AFTER else now + pause_after(mail.attempts + 1)
        async with self._database.transaction() as connection:
            await store.set_next_attempt(connection, mail, again_at)
        return False

    async def _leave(self, mail: Mail) -> bool:
        """Ends a mail that nobody needs any more: it was never sent, and is not tried again."""
        async with self._database.transaction() as connection:
            await store.set_next_attempt(connection, mail, None)
        return False

    async def _compose(self, mail: Mail) -> EmailMessage | None:
        """The mail to send, or None if its recipient no longer exists."""
        if mail.user_id is None:
            return self._to_stranger(mail)
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
                user_id=sealed.user_id,
                seconds=int(LINK_LIFETIME.total_seconds()),
            )
            async with self._database.transaction() as connection:
                await store.set_token(connection, mail, _hash(mailed.token))
            link = mailed.url
        if mail.kind in _LINKS_TO:
            if sealed.disabled_at is not None:
                return None
            # Made now, so that it is kept nowhere but in the mail.
            token, digest = new_token(mail.tenant)
            async with self._database.transaction() as connection:
                await store.set_token(connection, mail, digest)
            link = f"{self._public_url}{_LINKS_TO[mail.kind]}?token={token}"
        profile = self._profiles.open(sealed).profile
        if mail.recipient is not None:
            profile = replace(profile, email=self._profiles.open_address(mail.tenant, sealed.user_id, mail.recipient))
        return letter(
            mail,
            profile,
            self._texts[mail.language],
            sender=self._sender,
            public_url=self._public_url,
            site=tenant.name,
            link=link,
            facts=self._facts(mail),
        )

    def _to_stranger(self, mail: Mail) -> EmailMessage:
        """A mail to somebody without an account, in the name of the platform and of no tenant."""
        texts = self._texts[mail.language]
        if mail.recipient is None:
            raise LookupError("a mail to nobody")
        email = self._notices.open_stranger(mail.tenant, mail.mail_id, mail.recipient)
        return letter(
            mail,
            Profile(email, "", ""),
            texts,
            sender=self._sender,
            public_url=self._public_url,
            site=self._product_name or texts.say("mail.platform"),
            facts=self._facts(mail),
        )

    def _facts(self, mail: Mail) -> dict[str, str]:
        """What the text names beside the person, with the one who did it in words."""
        facts = self._notices.open_facts(mail.tenant, mail.mail_id, mail.facts)
        if "actor_kind" in facts:
            facts["by"] = self._texts[mail.language].say(f"actor.{facts['actor_kind']}", name=facts["actor"])
        return facts


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
