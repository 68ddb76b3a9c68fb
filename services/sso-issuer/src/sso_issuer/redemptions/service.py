"""The use case of redeeming: verify, ask the ledger, then use the token up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

from shared.callers import Caller
from shared.db import Database
from shared.errors import Refusal, TooManyRequests, Unavailable
from shared.events.domain import NewEvent
from shared.events.outbox import record
from shared.group_commit import GroupCommit
from shared.idempotency import Answer, Answers, RequestKey
from shared.identifiers import is_identifier
from shared.jwt import KeySet, Rejected, VerificationKey
from shared.sandboxes.service import Sandboxes
from shared.times import iso
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import jwt
from sso_issuer.events import redirect_redeemed, redirect_replayed
from sso_issuer.keys.domain import issuer_of
from sso_issuer.ledger_client import LedgerClient
from sso_issuer.redemptions import store
from sso_issuer.redemptions.domain import Redemption, TokenAlreadyRedeemed, TokenNotIssued, TokenRefused, is_issued
from sso_issuer.redemptions.tokens import Known, TokensReader, shown
from sso_issuer.redirects.domain import ListedIssuance
from sso_issuer.redirects.store import find
from sso_issuer.tables import events
from sso_issuer.vendors.domain import VendorAlgorithm, is_live
from sso_issuer.vendors.service import Vendors


@dataclass(frozen=True, kw_only=True)
class Redeemed:
    """The answer to the first redemption of a token."""

    claims: Mapping[str, Any]
    points_now: int


@dataclass(frozen=True, slots=True)
class _Brought:
    """A good token that waits for its redemption, and the issuance that it ends."""

    redemption: Redemption
    issuance: ListedIssuance

    @property
    def place(self) -> tuple[str, str]:
        return self.redemption.tenant, self.redemption.jti

    def event(self) -> NewEvent:
        return redirect_redeemed(self.issuance, self.redemption.points_now)


class Redemptions:
    """Takes tokens back from vendors."""

    def __init__(
        self,
        database: Database,
        answers: Answers,
        tokens: TokensReader,
        vendors: Vendors,
        ledger: LedgerClient,
        sandboxes: Sandboxes,
        *,
        public_url: str,
    ) -> None:
        self._database = database
        self._answers = answers
        self._tokens = tokens
        self._vendors = vendors
        self._ledger = ledger
        self._sandboxes = sandboxes
        self._public_url = public_url
        self._line = GroupCommit[_Brought, None](self._write_all, name="redemptions")

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
        if key is None:
            brought, redeemed = await self._prepare(caller, token, request_id)
            await self._line.submit(brought)
            return shape(redeemed)
        first = await self._answers.recall(caller.tenant, caller.client_id, key)
        if first is not None:
            return first
        try:
            found: tuple[_Brought, Redeemed] | Refusal = await self._prepare(caller, token, request_id)
        except (Unavailable, TooManyRequests):
            raise
        except Refusal as refusal:
            found = refusal

        async def act(connection: AsyncConnection) -> Answer:
            if isinstance(found, Refusal):
                raise found
            brought, redeemed = found
            redemption = brought.redemption
            if not await store.append(connection, redemption):
                issuance = await find(connection, redemption.tenant, redemption.jti)
                raise _already_redeemed(None if issuance is None else issuance.redeemed_at)
            await record(connection, events, caller.tenant, [brought.event()])
            return shape(redeemed)

        return await self._answers.once(caller.tenant, caller.client_id, key, act)

    async def close(self) -> None:
        """Reads and writes what waits in line, and takes no more."""
        await self._tokens.close()
        await self._line.close()

    async def _prepare(self, caller: Caller, token: str, request_id: str) -> tuple[_Brought, Redeemed]:
        claims, issuance = await self._verify(caller, token)
        points_now = await self._ledger.available_points(caller.tenant, issuance.user_id)
        redemption = Redemption(
            tenant=caller.tenant,
            jti=claims["jti"],
            client_id=caller.client_id,
            request_id=request_id,
            points_now=points_now,
        )
        return _Brought(redemption, issuance), Redeemed(claims=claims, points_now=points_now)

    async def _write_all(self, brought: Sequence[_Brought]) -> Sequence[Exception | None]:
        """Writes the first redemption of each token, and refuses all others."""
        firsts: dict[tuple[str, str], _Brought] = {}
        for one in brought:
            firsts.setdefault(one.place, one)
        async with self._database.raw_transaction() as connection:
            written = await store.append_all(connection, [one.redemption for one in firsts.values()])
            used = [one.place in written and firsts[one.place] is one for one in brought]
            told = [one for one, is_first in zip(brought, used, strict=True) if is_first]
            if told:
                await store.record_all(connection, ((one.redemption.tenant, one.event()) for one in told))
            late = {one.place for one, is_first in zip(brought, used, strict=True) if not is_first}
            redeemed_at = await store.read_redeemed_at(connection, sorted(late)) if late else {}
        return [
            None if is_first else _already_redeemed(redeemed_at.get(one.place))
            for one, is_first in zip(brought, used, strict=True)
        ]

    async def _verify(self, caller: Caller, token: str) -> tuple[Mapping[str, Any], ListedIssuance]:
        """The claims of a token that is valid for this caller now, and its issuance."""
        known = await self._tokens.read(shown(caller.tenant, caller.vendor, token))
        issuance, now = known.issuance, known.read_at
        if issuance is not None and caller.tenant in self._sandboxes:
            # The token cannot change, so its end is judged by the clock of the sandbox.
            async with self._database.transaction() as connection:
                now += await self._sandboxes.ahead_since(connection, caller.tenant, issuance.issued_at)
        try:
            claims = jwt.verify(
                token,
                self._keys_of(known, token),
                typ="JWT",
                issuer=issuer_of(self._public_url, caller.tenant),
                audience=known.audience,
                # The database's clock stamped it and judges it: there is nothing to be lenient about.
                now=now.timestamp(),
                leeway_seconds=0,
            )
        except Rejected as rejected:
            # A token under an unknown key counts as badly signed, so that nobody learns which keys exist.
            code = "invalid_signature" if rejected.reason == "unknown_key" else rejected.reason
            raise TokenRefused(rejected.message, code=code, log=rejected.reason) from None
        if not _is_jti(claims.get("jti")):
            raise TokenRefused("The token does not say its jti.", code="malformed_token")
        if issuance is None or not is_issued(issuance, token, claims):
            raise TokenNotIssued
        if issuance.redeemed_at is not None:
            async with self._database.transaction() as connection:
                await record(connection, events, caller.tenant, [redirect_replayed(issuance)])
            raise _already_redeemed(issuance.redeemed_at)
        return claims, issuance

    def _keys_of(self, known: Known, token: str) -> KeySet:
        """The key that `token` names, if it fits this vendor and the agreed algorithm; else no key."""
        if known.algorithm is not VendorAlgorithm.HS256:
            fits = known.key is not None and known.key.algorithm == known.algorithm.value
            return KeySet([known.key] if known.key is not None and fits else [])
        kid = jwt.unverified_header(token).get("kid")
        return KeySet(
            VerificationKey.from_secret(secret.kid, self._vendors.unseal(known.vendor, secret))
            for secret in known.secrets
            if secret.kid == kid and is_live(secret, known.read_at)
        )


def _already_redeemed(at: datetime | None) -> TokenAlreadyRedeemed:
    return TokenAlreadyRedeemed(None if at is None else iso(at))


def _is_jti(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and is_identifier(value)
