"""The use case of redeeming: verify, ask the ledger, then use the token up."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeGuard

import structlog
from shared.callers import Caller
from shared.db import Database
from shared.errors import Refusal, TooManyRequests, Unavailable
from shared.events.domain import NewEvent
from shared.events.outbox import record
from shared.group_commit import GroupCommit
from shared.idempotency import Answer, Answers, RequestKey
from shared.identifiers import is_identifier
from shared.jwt import GoodSignatures, KeySet, Rejected, VerificationKey
from shared.request_frame import RequestContext, current_request
from shared.sandboxes.service import Sandboxes
from shared.times import iso
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import jwt
from sso_issuer.events import redirect_redeemed, redirect_replayed
from sso_issuer.keys.domain import issuer_of
from sso_issuer.ledger_client import LedgerClient
from sso_issuer.redemptions import store
from sso_issuer.redemptions.domain import (
    ISSUED,
    Redemption,
    TokenAlreadyRedeemed,
    TokenNotIssued,
    TokenRefused,
    is_issued,
    is_the_very_token,
)
from sso_issuer.redemptions.tokens import Known, TokensReader, shown
from sso_issuer.redirects.domain import ListedIssuance
from sso_issuer.redirects.store import find
from sso_issuer.redirects.users import said_of
from sso_issuer.tables import events
from sso_issuer.vendors.domain import VendorAlgorithm, is_live
from sso_issuer.vendors.service import Vendors

_log = structlog.get_logger("redemptions")

#: Nobody waits in line for longer than this, and then for the ledger as well.
_PATIENCE_SECONDS: Final = 4.0


@dataclass(frozen=True, kw_only=True)
class Redeemed:
    """The answer to the first redemption of a token."""

    claims: Mapping[str, Any]
    points_now: int


@dataclass(frozen=True, slots=True)
class _Brought:
    """A token, and the caller who brings it."""

    caller: Caller
    token: str
    request_id: str


@dataclass(frozen=True, slots=True)
class _Good:
    """A good token, the issuance that it ends, and its redemption."""

    issuance: ListedIssuance
    redemption: Redemption
    redeemed: Redeemed

    @property
    def place(self) -> tuple[str, str]:
        return self.redemption.tenant, self.redemption.jti

    def event(self) -> NewEvent:
        return redirect_redeemed(self.issuance, self.redemption.points_now)


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token that is valid for its caller now."""

    brought: _Brought
    claims: Mapping[str, Any]
    issuance: ListedIssuance


@dataclass(frozen=True, slots=True)
class _Replayed:
    """A token that was redeemed before it was brought."""

    issuance: ListedIssuance


class _ReplaySeen(TokenAlreadyRedeemed):
    """A token that was redeemed before it was brought is refused."""

    def __init__(self, issuance: ListedIssuance) -> None:
        super().__init__(None if issuance.redeemed_at is None else iso(issuance.redeemed_at))
        self.issuance = issuance


@dataclass(frozen=True, slots=True)
class _Wish:
    """A redemption that waits in line.

    Attributes:
        is_written: whether it is written there; else its caller writes it.
        asked_for: the request that waits.
    """

    verified: _Verified
    is_written: bool
    asked_for: RequestContext | None = field(default_factory=current_request.get)


class Redemptions:
    """Takes tokens back from vendors. What waits together is read, asked and written together."""

    def __init__(
        self,
        database: Database,
        answers: Answers,
        tokens: TokensReader,
        vendors: Vendors,
        ledger: LedgerClient,
        sandboxes: Sandboxes,
        signatures: GoodSignatures,
        *,
        public_url: str,
    ) -> None:
        self._database = database
        self._answers = answers
        self._tokens = tokens
        self._vendors = vendors
        self._ledger = ledger
        self._sandboxes = sandboxes
        self._signatures = signatures
        self._public_url = public_url
        self._reading = GroupCommit[_Brought, _Verified | _Replayed](
            self._judge_all,
            name="tokens",
            tenant_of=lambda brought: brought.caller.tenant,
            is_of_one_tenant=database.is_distributed,
        )
        self._line = GroupCommit[_Wish, _Good](
            self._redeem_all,
            name="redemptions",
            patience_seconds=_PATIENCE_SECONDS,
            tenant_of=lambda wish: wish.verified.brought.caller.tenant,
            is_of_one_tenant=database.is_distributed,
        )

    async def redeem_once(
        self,
        caller: Caller,
        token: str,
        *,
        request_id: str,
        key: RequestKey | None,
        shape: Callable[[Redeemed], Answer],
    ) -> Answer:
        """Uses a token up; returns its claims and the user's present points.

        It asks the ledger before it uses the token up, so that the vendor may retry if the ledger does not answer.

        Raises:
            VendorNotFound: the caller is no vendor of its tenant.
            TokenRefused, TokenNotIssued, TokenAlreadyRedeemed: as they say.
            Unavailable: ledger or database cannot be asked; the token is not used up.
        """
        try:
            if key is None:
                return shape((await self._brought(caller, token, request_id, is_written=True)).redeemed)
            return await self._redeem_by_key(caller, token, request_id, key, shape)
        except _ReplaySeen as replayed:
            # Only here is it certain that this is no repetition of the first request, which gets the first answer.
            async with self._database.transaction() as connection:
                await record(connection, events, caller.tenant, [redirect_replayed(replayed.issuance)])
            raise

    async def close(self) -> None:
        """Carries out what waits in line, and takes no more."""
        await self._reading.close()
        await self._line.close()

    async def _redeem_by_key(
        self, caller: Caller, token: str, request_id: str, key: RequestKey, shape: Callable[[Redeemed], Answer]
    ) -> Answer:
        first = await self._answers.recall(caller.tenant, caller.client_id, key)
        if first is not None:
            return first
        try:
            found: _Good | Refusal = await self._brought(caller, token, request_id, is_written=False)
        except (Unavailable, TooManyRequests):
            raise
        except Refusal as refusal:
            found = refusal

        async def act(connection: AsyncConnection) -> Answer:
            if isinstance(found, Refusal):
                raise found
            redemption = found.redemption
            if not await store.append(connection, redemption):
                issuance = await find(connection, redemption.tenant, redemption.jti)
                raise _already_redeemed(None if issuance is None else issuance.redeemed_at)
            await record(connection, events, caller.tenant, [found.event()])
            return shape(found.redeemed)

        return await self._answers.once(caller.tenant, caller.client_id, key, act)

    async def _brought(self, caller: Caller, token: str, request_id: str, *, is_written: bool) -> _Good:
        # In a line of its own: a bad token is refused while the ledger keeps the others waiting.
        judged = await self._reading.submit(_Brought(caller, token, request_id))
        if isinstance(judged, _Replayed):
            raise _ReplaySeen(judged.issuance)
        return await self._line.submit(_Wish(judged, is_written))

    async def _judge_all(self, brought: Sequence[_Brought]) -> Sequence[_Verified | _Replayed | Exception]:
        known = await self._tokens.read_all([shown(one.caller.tenant, one.caller.vendor, one.token) for one in brought])
        return [
            await self._judge(one, about) if isinstance(about, Known) else about
            for one, about in zip(brought, known, strict=True)
        ]

    async def _redeem_all(self, wishes: Sequence[_Wish]) -> Sequence[_Good | Exception]:
        """One call to the ledger for each tenant, one transaction. A refusal is its token's alone."""
        # The calls go by the id of the first request that waits for them.
        current_request.set(wishes[0].asked_for)
        points = await self._points_of([wish.verified for wish in wishes])
        found = [_redemption_of(wish.verified, points) for wish in wishes]
        firsts: dict[tuple[str, str], _Good] = {}
        for wish, good in zip(wishes, found, strict=True):
            if wish.is_written and isinstance(good, _Good):
                firsts.setdefault(good.place, good)
        return await self._write(wishes, found, firsts) if firsts else found

    async def _write(
        self,
        wishes: Sequence[_Wish],
        found: Sequence[_Good | Refusal],
        firsts: Mapping[tuple[str, str], _Good],
    ) -> Sequence[_Good | Exception]:
        """Writes the first redemption of each token, and refuses all others."""
        async with self._database.raw_write() as connection:
            written = await store.append_all(connection, [(one.redemption, one.event()) for one in firsts.values()])
        late = [
            one.place
            if wish.is_written and isinstance(one, _Good) and not (one.place in written and firsts[one.place] is one)
            else None
            for wish, one in zip(wishes, found, strict=True)
        ]
        elsewhere = sorted({place for place in late if place is not None and place not in written})
        redeemed_at = written | (await self._redeemed_at(elsewhere) if elsewhere else {})
        return [
            one if place is None else _already_redeemed(redeemed_at.get(place))
            for one, place in zip(found, late, strict=True)
        ]

    async def _redeemed_at(self, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], datetime]:
        """When tokens were redeemed in another transaction, by tenant and jti; nothing if the database fails.

        It must not fail the batch: the batch would be tried again, and would take its own redemptions for others'.
        """
        try:
            async with self._database.raw_statement() as connection:
                return await store.read_redeemed_at(connection, places)
        # What a driver raises is counted where it is raised.
        except Exception as error:
            _log.warning("unknown when tokens were redeemed", tokens=len(places), error=repr(error))
            return {}

    async def _points_of(self, verified: Sequence[_Verified]) -> dict[tuple[str, str], int | Unavailable]:
        """The points of the tokens' users by tenant and user id, or that the ledger did not say."""
        by_tenant: dict[str, dict[str, None]] = {}
        for one in verified:
            by_tenant.setdefault(one.issuance.tenant, {})[one.issuance.user_id] = None
        answers = await asyncio.gather(
            *(self._ledger.points_of(tenant, list(user_ids)) for tenant, user_ids in by_tenant.items()),
            return_exceptions=True,
        )
        return {
            (tenant, user_id): said_of(user_id, answer)
            for (tenant, user_ids), answer in zip(by_tenant.items(), answers, strict=True)
            for user_id in user_ids
        }

    async def _judge(self, brought: _Brought, known: Known) -> _Verified | _Replayed | Refusal:
        try:
            claims, issuance = await self._verify(brought, known)
        except Refusal as refusal:
            return refusal
        return _Verified(brought, claims, issuance) if issuance.redeemed_at is None else _Replayed(issuance)

    async def _verify(self, brought: _Brought, known: Known) -> tuple[Mapping[str, Any], ListedIssuance]:
        """The claims of a token that is valid for its caller now, and its issuance."""
        caller, token, issuance, now = brought.caller, brought.token, known.issuance, known.read_at
        is_very = issuance is not None and is_the_very_token(issuance, token)
        if issuance is not None and caller.tenant in self._sandboxes:
            # The token cannot change, so its end is judged by the clock of the sandbox.
            async with self._database.transaction() as connection:
                now += await self._sandboxes.ahead_since(connection, caller.tenant, issuance.issued_at)
        try:
            claims = jwt.verify(
                known.parts or token,
                self._keys_of(known),
                typ="JWT",
                issuer=issuer_of(self._public_url, caller.tenant),
                audience=known.audience,
                # The database's clock stamped it and judges it: there is nothing to be lenient about.
                now=now.timestamp(),
                leeway_seconds=0,
                signatures=ISSUED if is_very else self._signatures,
            )
        except Rejected as rejected:
            # A token under an unknown key counts as badly signed, so that nobody learns which keys exist.
            code = "invalid_signature" if rejected.reason == "unknown_key" else rejected.reason
            raise TokenRefused(rejected.message, code=code, log=rejected.reason) from None
        if not _is_jti(claims.get("jti")):
            raise TokenRefused("The token does not say its jti.", code="malformed_token")
        if issuance is None or not (is_very or is_issued(issuance, token, claims)):
            raise TokenNotIssued
        return claims, issuance

    def _keys_of(self, known: Known) -> KeySet:
        """The key that the token names, if it fits this vendor and the agreed algorithm; else no key."""
        if known.algorithm is not VendorAlgorithm.HS256:
            fits = known.key is not None and known.key.algorithm == known.algorithm.value
            return KeySet([known.key] if known.key is not None and fits else [])
        kid = None if known.parts is None else known.parts.header.get("kid")
        return KeySet(
            VerificationKey.from_secret(secret.kid, self._vendors.unseal(known.vendor, secret))
            for secret in known.secrets
            if secret.kid == kid and is_live(secret, known.read_at)
        )


def _redemption_of(verified: _Verified, points: Mapping[tuple[str, str], int | Unavailable]) -> _Good | Refusal:
    brought, issuance = verified.brought, verified.issuance
    points_now = points[issuance.tenant, issuance.user_id]
    if isinstance(points_now, Unavailable):
        return Unavailable(log=points_now.log)
    redemption = Redemption(
        tenant=issuance.tenant,
        jti=verified.claims["jti"],
        client_id=brought.caller.client_id,
        request_id=brought.request_id,
        points_now=points_now,
    )
    return _Good(issuance, redemption, Redeemed(claims=verified.claims, points_now=points_now))


def _already_redeemed(at: datetime | None) -> TokenAlreadyRedeemed:
    return TokenAlreadyRedeemed(None if at is None else iso(at))


def _is_jti(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and is_identifier(value)
