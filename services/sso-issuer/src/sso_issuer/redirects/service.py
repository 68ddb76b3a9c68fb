"""The use cases of redirects: issue a token, and list issuances."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from shared.bounded import Bounded
from shared.db import Database
from shared.errors import Refusal, TooManyRequests, Unavailable
from shared.group_commit import GroupCommit
from shared.idempotency import Answer, Answers, RequestKey
from shared.jwt import SigningKey
from shared.paging import Page
from shared.request_frame import RequestContext, current_request
from shared.sandboxes.domain import is_test_client
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.keys.domain import issuer_of
from sso_issuer.questions import both
from sso_issuer.redirects import store
from sso_issuer.redirects.domain import (
    BACKDATED_SECONDS,
    ISSUANCES,
    Asker,
    Issuance,
    IssuancePlace,
    ListedIssuance,
    Profile,
    Redirect,
    check_test_client,
    claims_of,
    destination,
    digest_of,
)
from sso_issuer.redirects.terms import Terms, TermsReader
from sso_issuer.redirects.users import Said, UsersReader
from sso_issuer.signer import Signer
from sso_issuer.vendors.domain import VendorAlgorithm

#: Nobody waits in line for longer than this, and then for the neighbours as well.
_PATIENCE_SECONDS: Final = 4.0
_MET: Final = 10_000
_MET_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Wish:
    """A redirect that waits in line.

    Attributes:
        is_audited: whether its audit row is written with it; else its caller writes the row.
        asked_for: the request that waits.
    """

    asker: Asker
    user_id: str
    vendor_id: str
    is_audited: bool
    asked_for: RequestContext | None = field(default_factory=current_request.get)

    @property
    def vendor(self) -> tuple[str, str]:
        return self.asker.tenant, self.vendor_id

    @property
    def user(self) -> tuple[str, str]:
        return self.asker.tenant, self.user_id


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A signed token and its audit row, which is not written yet."""

    redirect: Redirect
    issuance: Issuance


@dataclass(frozen=True, slots=True)
class _Unsigned:
    """What is to be signed, for whom, and when it was decided."""

    terms: Terms
    profile: Profile
    points: int
    key: SigningKey
    jti: str
    now: datetime
    expires_at: int
    claims: Mapping[str, Any]


class Redirects:
    """Sends users to vendors. What waits together is read, asked, signed and audited together."""

    def __init__(
        self,
        database: Database,
        answers: Answers,
        terms: TermsReader,
        signer: Signer,
        users: UsersReader,
        *,
        public_url: str,
    ) -> None:
        self._database = database
        self._answers = answers
        self._terms = terms
        self._signer = signer
        self._users = users
        self._public_url = public_url
        #: The vendors that were there lately, and what signed for them. Their terms are read anew each time.
        self._met: Bounded[tuple[str, str], VendorAlgorithm] = Bounded(_MET, seconds=_MET_SECONDS)

        def line(name: str, lanes: int) -> GroupCommit[_Wish, _Prepared]:
            return GroupCommit(
                self._issue_all,
                name=name,
                lanes=lanes,
                patience_seconds=_PATIENCE_SECONDS,
                tenant_of=lambda wish: wish.asker.tenant,
                is_of_one_tenant=database.is_distributed,
            )

        # A batch of RS256 spends a third of its time with its signatures. A third batch uses that time; with the other
        # algorithms it would only make all batches smaller (decision 0089).
        self._line, self._line_of_rs256 = line("redirects", 2), line("redirects_rs256", 3)

    async def issue(self, asker: Asker, user_id: str, vendor_id: str) -> Redirect:
        """A token for one user and one vendor; its audit is durable before this returns.

        Raises:
            VendorNotFound, UserNotFound, EmailUnconfirmed, VendorWithoutSecret: as they say.
            Unavailable: ledger, directory or database cannot be asked; no token leaves.
        """
        return (await self._prepare(_Wish(asker, user_id, vendor_id, is_audited=True))).redirect

    async def issue_once(
        self,
        asker: Asker,
        user_id: str,
        vendor_id: str,
        *,
        key: RequestKey | None,
        key_owner: str,
        shape: Callable[[Redirect], Answer],
    ) -> Answer:
        """The same with an idempotency key: one key, one token.

        Args:
            key_owner: the owner of `key`.
            shape: makes the answer that is stored, sealed.
        """
        if asker.client_id is not None and is_test_client(asker.client_id):
            check_test_client(asker, user_id, vendor_id)
        if key is None:
            return shape(await self.issue(asker, user_id, vendor_id))
        first = await self._answers.recall(asker.tenant, key_owner, key)
        if first is not None:
            return first
        # Neighbours are asked before the transaction; their final refusal is stored like an answer.
        try:
            prepared: _Prepared | Refusal = await self._prepare(_Wish(asker, user_id, vendor_id, is_audited=False))
        except (Unavailable, TooManyRequests):
            raise
        except Refusal as refusal:
            prepared = refusal

        async def act(connection: AsyncConnection) -> Answer:
            if isinstance(prepared, Refusal):
                raise prepared
            await store.append(connection, prepared.issuance)
            return shape(prepared.redirect)

        return await self._answers.once(asker.tenant, key_owner, key, act)

    async def list_newest(
        self,
        tenant: str,
        *,
        user_id: str | None,
        vendor_id: str | None,
        cursor: str | None,
        limit: int,
    ) -> Page[ListedIssuance]:
        """The audit, newest first.

        Raises:
            InvalidCursor: as it says.
        """
        pages = ISSUANCES.of(tenant, user_id=user_id, vendor_id=vendor_id)
        before = pages.place(cursor)
        async with self._database.transaction() as connection:
            found = await store.list_newest(
                connection, tenant, user_id=user_id, vendor_id=vendor_id, before=before, limit=limit + 1
            )
        return pages.cut(found, limit, lambda issuance: IssuancePlace(issuance.issued_at, issuance.jti))

    async def close(self) -> None:
        """Carries out what waits in line, and takes no more."""
        await self._terms.close()
        await self._line.close()
        await self._line_of_rs256.close()

    async def _prepare(self, wish: _Wish) -> _Prepared:
        algorithm = self._met.get(wish.vendor)
        if algorithm is None:
            # A vendor that does not exist is refused at once, also while a neighbour keeps the others waiting.
            algorithm = (await self._terms.read(*wish.vendor)).vendor.agreement.algorithm
            self._met.keep(wish.vendor, algorithm)
        # Where the algorithm has changed since, the other line carries it out as well.
        line = self._line_of_rs256 if algorithm is VendorAlgorithm.RS256 else self._line
        return await line.submit(wish)

    async def _issue_all(self, wishes: Sequence[_Wish]) -> Sequence[_Prepared | Exception]:
        """One read beside one call to each neighbour and tenant, and one statement that writes.

        A refusal is its wish's alone.
        """
        # The calls go by the id of the first request that waits for them.
        current_request.set(wishes[0].asked_for)
        # At once, since each wish names a vendor that was there lately.
        terms, said = await both(
            self._terms.read_all([wish.vendor for wish in wishes]), self._users.read({wish.user for wish in wishes})
        )
        keys: dict[tuple[str, str], SigningKey] = {}
        unsigned = [
            await self._decide(wish, one, said[wish.user], keys) if isinstance(one, Terms) else one
            for wish, one in zip(wishes, terms, strict=True)
        ]
        orders = [(one.key, one.claims) for one in unsigned if isinstance(one, _Unsigned)]
        tokens = iter(await self._signer.sign_all(orders))
        prepared = [
            _signed(wish, one, next(tokens)) if isinstance(one, _Unsigned) else one
            for wish, one in zip(wishes, unsigned, strict=True)
        ]
        rows = [
            one.issuance
            for wish, one in zip(wishes, prepared, strict=True)
            if wish.is_audited and isinstance(one, _Prepared)
        ]
        if rows:
            async with self._database.raw_write() as connection:
                await store.append_all(connection, rows)
        return prepared

    async def _decide(
        self, wish: _Wish, terms: Terms, said: Said, keys: dict[tuple[str, str], SigningKey]
    ) -> _Unsigned | Refusal:
        tenant, agreement = wish.asker.tenant, terms.vendor.agreement
        try:
            profile, points = said.judge()
            key = keys.get(wish.vendor)
            if key is None:
                key = keys[wish.vendor] = await self._terms.signing_key(terms)
        except Refusal as refusal:
            return refusal
        now = terms.now()
        issued_at = int(now.timestamp()) - BACKDATED_SECONDS
        expires_at = issued_at + agreement.lifetime_seconds
        jti = secrets.token_urlsafe(16)
        claims = claims_of(
            profile,
            points,
            spelling=agreement.claim_spelling,
            issuer=issuer_of(self._public_url, tenant),
            audience=agreement.audience,
            jti=jti,
            issued_at=issued_at,
            expires_at=expires_at,
        )
        return _Unsigned(terms, profile, points, key, jti, now, expires_at, claims)


def _signed(wish: _Wish, unsigned: _Unsigned, token: str) -> _Prepared:
    agreement, key = unsigned.terms.vendor.agreement, unsigned.key
    url, fields = destination(agreement.redirect_url, agreement.delivery, token)
    expiry = datetime.fromtimestamp(unsigned.expires_at, UTC)
    return _Prepared(
        redirect=Redirect(
            vendor_id=wish.vendor_id,
            vendor_name=agreement.name,
            delivery=agreement.delivery,
            url=url,
            fields=fields,
            token=token,
            jti=unsigned.jti,
            expires_at=expiry,
        ),
        issuance=Issuance(
            tenant=wish.asker.tenant,
            jti=unsigned.jti,
            user_id=wish.user_id,
            vendor_id=wish.vendor_id,
            delivery=agreement.delivery,
            algorithm=key.algorithm,
            kid=key.kid,
            points=unsigned.points,
            client_id=wish.asker.client_id,
            request_id=wish.asker.request_id,
            audience=agreement.audience,
            token_digest=digest_of(token),
            issued_at=unsigned.now,
            expires_at=expiry,
        ),
    )
