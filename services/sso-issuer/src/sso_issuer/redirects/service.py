"""The use cases of redirects: issue a token, and list issuances."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.db import Database
from shared.errors import Refusal, TooManyRequests, Unavailable
from shared.group_commit import GroupCommit
from shared.idempotency import Answer, Answers, RequestKey
from shared.paging import Page
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.keys.domain import issuer_of
from sso_issuer.redirects import store
from sso_issuer.redirects.domain import (
    BACKDATED_SECONDS,
    ISSUANCES,
    Asker,
    Issuance,
    IssuancePlace,
    ListedIssuance,
    Redirect,
    claims_of,
    destination,
    digest_of,
)
from sso_issuer.redirects.terms import TermsReader
from sso_issuer.redirects.users import UsersReader
from sso_issuer.signer import Signer


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A signed token and its audit row, which is not written yet."""

    redirect: Redirect
    issuance: Issuance


class Redirects:
    """Sends users to vendors."""

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
        self._audit = GroupCommit[Issuance, None](self._append_all, name="issuances")

    async def issue(self, asker: Asker, user_id: str, vendor_id: str) -> Redirect:
        """A token for one user and one vendor; its audit is durable before this returns.

        Raises:
            VendorNotFound, UserNotFound, EmailUnconfirmed, VendorWithoutSecret: as they say.
            Unavailable: ledger, directory or database cannot be asked; no token leaves.
        """
        prepared = await self._prepare(asker, user_id, vendor_id)
        await self._audit.submit(prepared.issuance)
        return prepared.redirect

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
        if key is None:
            return shape(await self.issue(asker, user_id, vendor_id))
        first = await self._answers.recall(asker.tenant, key_owner, key)
        if first is not None:
            return first
        # Neighbours are asked before the transaction; their final refusal is stored like an answer.
        try:
            prepared: _Prepared | Refusal = await self._prepare(asker, user_id, vendor_id)
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
        """Asks what waits to be asked, and writes all waiting rows."""
        await self._users.close()
        await self._audit.close()

    async def _prepare(self, asker: Asker, user_id: str, vendor_id: str) -> _Prepared:
        terms = await self._terms.read(asker.tenant, vendor_id)
        profile, points = await self._users.read(asker.tenant, user_id)
        key = await self._terms.signing_key(terms)
        agreement = terms.vendor.agreement
        now = terms.now()
        issued_at = int(now.timestamp()) - BACKDATED_SECONDS
        expires_at = issued_at + agreement.lifetime_seconds
        jti = secrets.token_urlsafe(16)
        claims = claims_of(
            profile,
            points,
            spelling=agreement.claim_spelling,
            issuer=issuer_of(self._public_url, asker.tenant),
            audience=agreement.audience,
            jti=jti,
            issued_at=issued_at,
            expires_at=expires_at,
        )
        token = await self._signer.sign(key, claims)
        url, fields = destination(agreement.redirect_url, agreement.delivery, token)
        expiry = datetime.fromtimestamp(expires_at, UTC)
        return _Prepared(
            redirect=Redirect(
                vendor_id=vendor_id,
                vendor_name=agreement.name,
                delivery=agreement.delivery,
                url=url,
                fields=fields,
                token=token,
                jti=jti,
                expires_at=expiry,
            ),
            issuance=Issuance(
                tenant=asker.tenant,
                jti=jti,
                user_id=user_id,
                vendor_id=vendor_id,
                delivery=agreement.delivery,
                algorithm=key.algorithm,
                kid=key.kid,
                points=points,
                client_id=asker.client_id,
                request_id=asker.request_id,
                audience=agreement.audience,
                token_digest=digest_of(token),
                issued_at=now,
                expires_at=expiry,
            ),
        )

    async def _append_all(self, rows: Sequence[Issuance]) -> Sequence[None]:
        async with self._database.raw_transaction() as connection:
            await store.append_all(connection, rows)
        return [None] * len(rows)
