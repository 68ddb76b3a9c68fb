"""The use case of redeeming: verify, ask the ledger, then use the token up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from shared.callers import Caller
from shared.db import Database
from shared.errors import Refusal, TooManyRequests, Unavailable
from shared.events.outbox import record
from shared.idempotency import Answer, Answers, RequestKey
from shared.identifiers import is_identifier
from shared.jwt import KeySet, Rejected, VerificationKey
from shared.sandboxes.service import Sandboxes
from shared.times import iso
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import jwt
from sso_issuer.events import redirect_redeemed, redirect_replayed
from sso_issuer.keys.domain import issuer_of
from sso_issuer.keys.store import read_clock, read_public
from sso_issuer.ledger_client import LedgerClient
from sso_issuer.redemptions import store
from sso_issuer.redemptions.domain import Redemption, TokenAlreadyRedeemed, TokenNotIssued, TokenRefused, is_issued
from sso_issuer.redirects.domain import ListedIssuance
from sso_issuer.redirects.store import find
from sso_issuer.tables import events
from sso_issuer.vendors.domain import Vendor, VendorAlgorithm, VendorNotFound, is_live
from sso_issuer.vendors.service import Vendors
from sso_issuer.vendors.store import read_secrets, read_vendor


@dataclass(frozen=True, kw_only=True)
class Redeemed:
    """The answer to the first redemption of a token."""

    claims: Mapping[str, Any]
    points_now: int


#: What a redemption writes and answers, and the issuance that it ends.
_Prepared = tuple[Redemption, Redeemed, ListedIssuance]


class Redemptions:
    """Takes tokens back from vendors."""

    def __init__(
        self,
        database: Database,
        answers: Answers,
        vendors: Vendors,
        ledger: LedgerClient,
        sandboxes: Sandboxes,
        *,
        public_url: str,
    ) -> None:
        self._database = database
        self._answers = answers
        self._vendors = vendors
        self._ledger = ledger
        self._sandboxes = sandboxes
        self._public_url = public_url

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
        first = await self._answers.recall(caller.tenant, caller.client_id, key)
        if first is not None:
            return first
        try:
            found: tuple[Redemption, Redeemed, ListedIssuance] | Refusal = await self._prepare(
                caller, token, request_id
            )
        except (Unavailable, TooManyRequests):
            raise
        except Refusal as refusal:
            found = refusal

        async def act(connection: AsyncConnection) -> Answer:
            if isinstance(found, Refusal):
                raise found
            redemption, redeemed, issuance = found
            if not await store.append(connection, redemption):
                raise _already_redeemed(await find(connection, redemption.tenant, redemption.jti))
            told = redirect_redeemed(issuance, redemption.points_now)
            await record(connection, events, caller.tenant, [told])
            return shape(redeemed)

        return await self._answers.once(caller.tenant, caller.client_id, key, act)

    async def _prepare(self, caller: Caller, token: str, request_id: str) -> _Prepared:
        claims, issuance = await self._verify(caller, token)
        points_now = await self._ledger.available_points(caller.tenant, issuance.user_id)
        redemption = Redemption(
            tenant=caller.tenant,
            jti=claims["jti"],
            client_id=caller.client_id,
            request_id=request_id,
            points_now=points_now,
        )
        return redemption, Redeemed(claims=claims, points_now=points_now), issuance

    async def _verify(self, caller: Caller, token: str) -> tuple[Mapping[str, Any], ListedIssuance]:
        """The claims of a token that is valid for this caller now, and its issuance."""
        async with self._database.transaction() as connection:
            vendor = await read_vendor(connection, caller.tenant, caller.vendor)
            if vendor is None:
                raise VendorNotFound
            issuance = await _find_issuance(connection, vendor, token)
            algorithm, audience = _terms_of(vendor, issuance)
            now = await read_clock(connection)
            if issuance is not None:
                # The token cannot change, so its end is judged by the clock of the sandbox.
                now += await self._sandboxes.ahead_since(connection, caller.tenant, issuance.issued_at)
            try:
                claims = jwt.verify(
                    token,
                    await self._keys_of(connection, vendor, algorithm, token),
                    typ="JWT",
                    issuer=issuer_of(self._public_url, vendor.tenant),
                    audience=audience,
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
            raise _already_redeemed(issuance)
        return claims, issuance

    async def _keys_of(
        self, connection: AsyncConnection, vendor: Vendor, algorithm: VendorAlgorithm, token: str
    ) -> KeySet:
        """The key that `token` names, if it fits this vendor and the agreed algorithm; else no key."""
        kid = jwt.unverified_header(token).get("kid")
        if not isinstance(kid, str) or not is_identifier(kid):
            return KeySet([])
        if algorithm is VendorAlgorithm.HS256:
            now = await read_clock(connection)
            secrets = await read_secrets(connection, vendor.tenant, vendor.vendor_id)
            return KeySet(
                VerificationKey.from_secret(secret.kid, self._vendors.unseal(vendor, secret))
                for secret in secrets
                if secret.kid == kid and is_live(secret, now)
            )
        jwk = await read_public(connection, vendor.tenant, kid)
        if jwk is None or jwk["alg"] != algorithm.value:
            return KeySet([])
        return KeySet([VerificationKey.from_jwk(jwk)])


async def _find_issuance(connection: AsyncConnection, vendor: Vendor, token: str) -> ListedIssuance | None:
    """The issuance for this vendor that a token names, of which nothing is verified yet."""
    try:
        jti = jwt.unverified_claims(token).get("jti")
    except Rejected:
        return None
    if not _is_jti(jti):
        return None
    issuance = await find(connection, vendor.tenant, jti)
    return issuance if issuance is not None and issuance.vendor_id == vendor.vendor_id else None


def _terms_of(vendor: Vendor, issuance: ListedIssuance | None) -> tuple[VendorAlgorithm, str]:
    """The algorithm and the audience that a token must have: as agreed when it was issued, whatever is agreed since."""
    agreement = vendor.agreement
    if issuance is None:
        return agreement.algorithm, agreement.audience
    return VendorAlgorithm(issuance.algorithm), issuance.audience or agreement.audience


def _already_redeemed(issuance: ListedIssuance | None) -> TokenAlreadyRedeemed:
    at = None if issuance is None else issuance.redeemed_at
    return TokenAlreadyRedeemed(None if at is None else iso(at))


def _is_jti(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and is_identifier(value)
