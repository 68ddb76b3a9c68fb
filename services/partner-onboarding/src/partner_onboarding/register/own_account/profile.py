"""A person changes the own name and address."""

from datetime import datetime
from typing import Final

from shared.db import Database
from shared.errors import TooManyRequests
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, Change
from partner_onboarding.register.notices import links
from partner_onboarding.register.notices import store as notices_store
from partner_onboarding.register.notices.domain import Kind
from partner_onboarding.register.notices.links import LinkToken, UnknownMailedLink, read_token
from partner_onboarding.register.own_account.domain import EMAIL_LIFETIME
from partner_onboarding.register.own_account.service import OwnAccount
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.users import store
from partner_onboarding.register.users.domain import Profile, SealedUser, User, UserNotFound, checked_profile
from partner_onboarding.register.users.profiles import Profiles

_LINK: Final[Kind] = "confirm_new_address"
_FORGOTTEN: Final[Kind] = "password_forgotten"


class TooManyLinks(TooManyRequests):
    """A link is under way, or there were too many today."""

    code = "too_many_requests"


class OwnProfile:
    """Changes of one's own name and address."""

    def __init__(self, database: Database, profiles: Profiles, own_account: OwnAccount) -> None:
        self._database = database
        self._profiles = profiles
        self._own_account = own_account

    async def get(self, who: SignedIn) -> User:
        """Raises UserNotFound."""
        async with self._database.transaction() as connection:
            return self._profiles.open(await _found(connection, who.tenant, who.user_id))

    async def change(
        self,
        who: SignedIn,
        present_password: str,
        *,
        email: str,
        firstname: str,
        lastname: str,
        language: str,
        network: str | None,
    ) -> bool:
        """Changes the name now. Another address counts once the link that is mailed to it was opened; a mail says
        so to the present one. Returns whether a link is under way.

        Raises:
            MalformedUser: `malformed_email` or `malformed_name`.
            WrongPassword, TooManyAttempts: this is not the password.
            TooManyLinks: of links to other addresses.
        """
        wanted = checked_profile(email, firstname, lastname)
        email_hash = self._profiles.email_hash(email)
        await self._own_account.prove(who, present_password, network)
        async with self._database.transaction() as connection:
            former = await _found(connection, who.tenant, who.user_id, lock=True)
            before = self._profiles.open(former).profile
            is_other_address = email_hash != former.email_hash
            now_wanted = Profile(before.email if is_other_address else wanted.email, wanted.firstname, wanted.lastname)
            await self._write(connection, former, before, now_wanted, language)
            if is_other_address:
                await self._mail_link(connection, former, wanted.email, language)
        return is_other_address

    async def check_link(self, token: str) -> None:
        """Raises UnknownMailedLink if the link leads nowhere. Nothing is used up."""
        async with self._database.transaction() as connection:
            await self._linked(connection, read_token(token))

    async def confirm(self, token: str, *, language: str) -> None:
        """Makes the address that the link was mailed to the person's own, once.

        The former address hears of it, and links to another password that went there end.

        Raises:
            UnknownMailedLink
            EmailTaken: another user of the tenant owns the address.
        """
        link = read_token(token)
        async with self._database.transaction() as connection:
            user_id, _ = await self._linked(connection, link)
            former = await store.find_user(connection, link.tenant, user_id, lock=True)
            # Again under the lock: of two at once, the later finds the link ended.
            _, email = await self._linked(connection, link)
            if former is None:
                raise UnknownMailedLink("The account was deleted.")
            before = self._profiles.open(former).profile
            await store.change_profile(
                connection,
                link.tenant,
                user_id,
                email_hash=self._profiles.email_hash(email),
                profile=self._profiles.seal(link.tenant, user_id, Profile(email, before.firstname, before.lastname)),
                owns_email=True,
            )
            await links.end(connection, link.tenant, user_id, _LINK)
            await links.end(connection, link.tenant, user_id, _FORGOTTEN)
            recipient = self._profiles.seal_address(link.tenant, user_id, before.email)
            await notices_store.add(connection, link.tenant, user_id, "email_changed", language, recipient=recipient)
            await notices_store.add(connection, link.tenant, user_id, "email_changed", language)
            actor = Actor("user", user_id)
            change = Change({"owns_email": former.owns_email}, {"owns_email": True}, unsaid=("email",))
            await audit_store.add(connection, link.tenant, actor, "user_changed", user_id, change=change)

    async def _write(
        self, connection: AsyncConnection, former: SealedUser, before: Profile, wanted: Profile, language: str
    ) -> None:
        changed = tuple(
            name for name in ("email", "firstname", "lastname") if getattr(wanted, name) != getattr(before, name)
        )
        if not changed:
            return
        tenant, user_id = former.tenant, former.user_id
        await store.change_profile(
            connection,
            tenant,
            user_id,
            email_hash=former.email_hash,
            profile=self._profiles.seal(tenant, user_id, wanted),
            owns_email=former.owns_email,
        )
        if changed != ("email",):
            await notices_store.add(connection, tenant, user_id, "name_changed", language)
        change = Change({}, {}, unsaid=changed)
        await audit_store.add(connection, tenant, Actor("user", user_id), "user_changed", user_id, change=change)

    async def _mail_link(self, connection: AsyncConnection, user: SealedUser, email: str, language: str) -> None:
        tenant, user_id = user.tenant, user.user_id
        if not await links.may_mail(connection, tenant, user_id, _LINK, await _now(connection)):
            raise TooManyLinks("A link is under way.", retry_after_seconds=int(links.PAUSE.total_seconds()))
        # Only the latest one is good.
        await links.end(connection, tenant, user_id, _LINK)
        recipient = self._profiles.seal_address(tenant, user_id, email)
        await notices_store.add(connection, tenant, user_id, _LINK, language, recipient=recipient)
        await notices_store.add(connection, tenant, user_id, "new_address_asked", language)

    async def _linked(self, connection: AsyncConnection, link: LinkToken) -> tuple[str, str]:
        """Whom the link was mailed to, and at which address."""
        mailed = await links.find(connection, link, _LINK, EMAIL_LIFETIME)
        user = None if mailed is None else await store.find_user(connection, link.tenant, mailed.user_id)
        if mailed is None or mailed.recipient is None or user is None or user.disabled_at is not None:
            raise UnknownMailedLink("This link was never mailed to anybody, was used, or is too old.")
        return mailed.user_id, self._profiles.open_address(link.tenant, mailed.user_id, mailed.recipient)


async def _found(connection: AsyncConnection, tenant: str, user_id: str, *, lock: bool = False) -> SealedUser:
    found = await store.find_user(connection, tenant, user_id, lock=lock)
    if found is None:
        raise UserNotFound("There is no such user.")
    return found


async def _now(connection: AsyncConnection) -> datetime:
    now: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return now
