"""Use cases about handshakes."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.db import Database
from shared.events.outbox import record
from shared.group_commit import GroupCommit
from shared.idempotency import Answer, Answers, RequestKey
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.clock import Clock
from partner_onboarding.handshake.handshakes import store
from partner_onboarding.handshake.handshakes.codes import CodeKeeping
from partner_onboarding.handshake.handshakes.domain import (
    CODE,
    LIFETIME,
    REDEEMABLE_FOR,
    Codes,
    ForeignCode,
    Handshake,
    HandshakeExpired,
    HandshakeNotCompleted,
    HandshakeNotFound,
    HandshakeRedeemed,
    MalformedAuthorizationCode,
    UnknownCode,
    UsedCode,
    check_usable,
    landing,
    masked,
    new_code,
)
from partner_onboarding.handshake.links import store as links_store
from partner_onboarding.handshake.links.events import link_created
from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import ANONYMOUS, Actor, Change
from partner_onboarding.register.tables import events
from partner_onboarding.register.users import store as users_store
from partner_onboarding.register.users.domain import UserNotFound

_KEPT_FOR: Final = timedelta(days=30)
#: Codes that are made up do not make the service read its tenants more often than this.
_TENANTS_READ_EVERY: Final = 1.0


@dataclass(frozen=True, slots=True)
class Order:
    """A partner's request for a pair of codes; `hint` is masked already."""

    tenant: str
    client_id: str
    hint: str | None


class Handshakes:
    """The handshakes of all partners.

    Args:
        monotonic: seconds; handed in by tests.
    """

    def __init__(
        self,
        database: Database,
        answers: Answers,
        keeping: CodeKeeping,
        clock: Clock,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._answers = answers
        self._keeping = keeping
        self._clock = clock
        self._monotonic = monotonic
        #: Mark → tenants, as they were read last.
        self._tenants: Mapping[int, list[str]] = {}
        self._tenants_read_at = float("-inf")
        self._line = GroupCommit[Order, Codes](
            self._write,
            name="handshakes",
            tenant_of=lambda order: order.tenant,
            is_of_one_tenant=database.is_distributed,
        )

    async def begin(self, tenant: str, client_id: str, hint: str | None) -> Codes:
        """A new pair of codes, written together with others that are requested at the same moment.

        Args:
            hint: the person whom the partner asks for; only a masked form is stored.

        Raises:
            MalformedHint
        """
        return await self._line.submit(Order(tenant, client_id, masked(hint) if hint is not None else None))

    async def begin_once(
        self,
        tenant: str,
        client_id: str,
        hint: str | None,
        *,
        key: RequestKey | None,
        shape: Callable[[Codes], Answer],
    ) -> Answer:
        """A new pair of codes; a repeat with the same key gets the same codes."""

        async def act(connection: AsyncConnection) -> Answer:
            order = Order(tenant, client_id, masked(hint) if hint is not None else None)
            register_code, authorization_code, row = self._make(order)
            now = await self._clock(connection)
            await store.add_handshake(connection, row, now, now + LIFETIME)
            return shape(Codes(register_code, authorization_code, now + LIFETIME))

        return await self._answers.once(tenant, client_id, key, act)

    async def find(self, register_code: str, *, tenant: str | None = None, user_id: str | None = None) -> Handshake:
        """The handshake of a public code, for the person who brings it.

        Args:
            tenant, user_id: the signed-in person, if any.

        Raises:
            UnknownCode, ForeignCode, UsedCode, ExpiredCode, PartnerGone
        """
        async with self._database.transaction() as connection:
            return await self._usable(connection, register_code, tenant, user_id)

    async def peek(self, register_code: str) -> Handshake | None:
        """The handshake of a public code in any state."""
        if not CODE.fullmatch(register_code):
            return None
        async with self._database.transaction() as connection:
            return await self._find(connection, register_code)

    async def claim(self, connection: AsyncConnection, register_code: str, tenant: str, user_id: str) -> Handshake:
        """Reserves the code for a newly registered person, in the registration's transaction.

        If two people bring one code, the second waits here for the first and is refused.

        Raises:
            UnknownCode, ForeignCode, UsedCode, ExpiredCode, PartnerGone
        """
        handshake = await self._usable(connection, register_code, tenant, None, lock=True)
        await store.claim(connection, handshake, user_id)
        return handshake

    async def link(self, register_code: str, tenant: str, user_id: str) -> str | None:
        """Links the person with the partner. Returns the landing URL, if the partner has one.

        A person who is linked already stays linked and goes back too; a repeat changes nothing.

        Raises:
            UnknownCode, ForeignCode, UsedCode, ExpiredCode, PartnerGone
            UserNotFound: the account was deleted meanwhile.
        """
        async with self._database.transaction() as connection:
            handshake = await self._usable(connection, register_code, tenant, user_id, lock=True)
            if handshake.outcome is None:
                # Locked, so that an account that is being deleted leaves no link behind.
                if await users_store.find_user(connection, tenant, user_id, lock=True) is None:
                    raise UserNotFound("There is no such user.")
                now = await self._clock(connection)
                is_new = await links_store.add_link(connection, tenant, handshake.client_id, user_id, now)
                if is_new:
                    await record(connection, events, tenant, [link_created(handshake.client_id, user_id, now)])
                await store.end(connection, handshake, "linked", user_id, now)
                actor, details = Actor("user", user_id), {"client_id": handshake.client_id}
                change = Change(None, {"state": "linked"}) if is_new else None
                await audit_store.add(connection, tenant, actor, "link_created", user_id, details, change=change)
        if handshake.landing_url is None:
            return None
        code = self._keeping.open(handshake.tenant, handshake.register_hash, handshake.sealed_code)
        return landing(handshake.landing_url, authorization_code=code, user_id=user_id)

    async def deny(self, register_code: str, tenant: str | None, user_id: str | None) -> str | None:
        """Refuses the link and uses the code up. Returns the landing URL, if the partner has one.

        A second click leads there again. The partner learns only that somebody refused.

        Raises:
            UnknownCode, ForeignCode, UsedCode, ExpiredCode, PartnerGone
        """
        async with self._database.transaction() as connection:
            handshake = await self._locked_to_deny(connection, register_code, tenant, user_id)
            if handshake.outcome is None:
                # Without the person: the partner learns nothing about somebody who refused.
                await store.end(connection, handshake, "denied", None, await self._clock(connection))
                actor = ANONYMOUS if user_id is None else Actor("user", user_id)
                await audit_store.add(connection, handshake.tenant, actor, "link_denied", handshake.client_id)
        return None if handshake.landing_url is None else landing(handshake.landing_url, error="access_denied")

    async def redeem_once(
        self,
        tenant: str,
        client_id: str,
        authorization_code: str,
        *,
        key: RequestKey | None,
        shape: Callable[[str], Answer],
    ) -> Answer:
        """The user of the handshake with this private code, told once, server to server.

        Raises:
            MalformedAuthorizationCode, HandshakeNotFound, HandshakeNotCompleted, HandshakeRedeemed, HandshakeExpired
        """

        async def act(connection: AsyncConnection) -> Answer:
            return shape(await self._redeem(connection, tenant, client_id, authorization_code))

        return await self._answers.once(tenant, client_id, key, act)

    async def tidy_up(self) -> int:
        """Deletes handshakes that expired a month ago; returns how many."""
        async with self._database.transaction() as connection:
            return await store.delete_before(connection, await self._clock(connection) - _KEPT_FOR)

    async def close(self) -> None:
        await self._line.close()

    async def _redeem(self, connection: AsyncConnection, tenant: str, client_id: str, authorization_code: str) -> str:
        if not CODE.fullmatch(authorization_code):
            raise MalformedAuthorizationCode("An authorizationCode has 22 base58 characters.")
        found = await store.lock_by_authorization(
            connection, tenant, client_id, self._keeping.authorization_hash(authorization_code)
        )
        if found is None:
            raise HandshakeNotFound("There is no handshake with this code.")
        now = await self._clock(connection)
        if found.redeemed_at is not None:
            raise HandshakeRedeemed("This handshake was redeemed already.")
        if found.outcome != "linked" or found.user_id is None or found.ended_at is None:
            if found.expires_at <= now:
                raise HandshakeExpired("This handshake has expired.")
            raise HandshakeNotCompleted("Nobody has completed this handshake.")
        if found.ended_at + REDEEMABLE_FOR <= now:
            raise HandshakeExpired("This handshake has expired.")
        await store.set_redeemed(connection, tenant, found.register_hash, now)
        await audit_store.add(connection, tenant, Actor("client", client_id), "handshake_redeemed", found.user_id)
        return found.user_id

    async def _usable(
        self,
        connection: AsyncConnection,
        register_code: str,
        tenant: str | None,
        user_id: str | None,
        *,
        lock: bool = False,
        denied_is_fine: bool = False,
    ) -> Handshake:
        # A code of another form was never given out.
        found = None
        if CODE.fullmatch(register_code):
            found = await self._find(connection, register_code, lock=lock)
        if found is None:
            raise UnknownCode("This registration code was never given out.")
        by = user_id if tenant == found.tenant else None
        check_usable(found, await self._clock(connection), by=by, denied_is_fine=denied_is_fine)
        if tenant not in {None, found.tenant}:
            raise ForeignCode("This registration code belongs to another platform than your account.")
        return found

    async def _find(self, connection: AsyncConnection, register_code: str, *, lock: bool = False) -> Handshake | None:
        register_hash = self._keeping.register_hash(register_code)
        for tenant in await self._marked(connection, self._keeping.mark_in(register_code)):
            found = await store.find_handshake(connection, tenant, register_hash, lock=lock)
            if found is not None:
                return found
        # Made by a version whose codes said no tenant, or made up.
        other = await store.tenant_of(connection, register_hash)
        return None if other is None else await store.find_handshake(connection, other, register_hash, lock=lock)

    async def _marked(self, connection: AsyncConnection, mark: int) -> Sequence[str]:
        """The tenants with this mark: one, as good as always, or none."""
        if mark not in self._tenants and self._monotonic() - self._tenants_read_at >= _TENANTS_READ_EVERY:
            tenants: defaultdict[int, list[str]] = defaultdict(list)
            for tenant in await store.all_tenants(connection):
                tenants[self._keeping.mark_of(tenant)].append(tenant)
            self._tenants, self._tenants_read_at = tenants, self._monotonic()
        return self._tenants.get(mark, ())

    async def _locked_to_deny(
        self, connection: AsyncConnection, register_code: str, tenant: str | None, user_id: str | None
    ) -> Handshake:
        handshake = await self._usable(connection, register_code, tenant, user_id, lock=True, denied_is_fine=True)
        if handshake.outcome == "linked":
            raise UsedCode("This registration code was used already.")
        return handshake

    async def _write(self, orders: Sequence[Order]) -> Sequence[Codes]:
        made = [self._make(order) for order in orders]
        # Codes whose answer was lost belong to nobody; the waiting partners get others.
        async with self._database.raw_statement() as connection:
            rows = [row for _, _, row in made]
            expires_at = await store.add_handshakes(connection, rows, LIFETIME)
        return [Codes(register_code, authorization_code, expires_at) for register_code, authorization_code, _ in made]

    def _make(self, order: Order) -> tuple[str, str, store.NewHandshake]:
        """Two codes and their row."""
        register_code, authorization_code = self._keeping.new_register_code(order.tenant), new_code()
        register_hash = self._keeping.register_hash(register_code)
        row = store.NewHandshake(
            tenant=order.tenant,
            client_id=order.client_id,
            register_hash=register_hash,
            authorization_hash=self._keeping.authorization_hash(authorization_code),
            sealed_code=self._keeping.seal(order.tenant, register_hash, authorization_code),
            hint=order.hint,
        )
        return register_code, authorization_code, row
