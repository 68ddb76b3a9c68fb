"""The use cases of an authority: issue, introspect and revoke access tokens."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.db import Database
from shared.errors import Refusal
from shared.group_commit import GroupCommit
from shared.jwt import SigningKey
from shared.paging import Page

from sso_issuer.authority import domain, store
from sso_issuer.authority.audit import Audit, CodeSpent, Entry, event_of
from sso_issuer.authority.domain import (
    ACCESS_TOKEN_TYP,
    EVENTS,
    AuthorityClient,
    Event,
    EventKind,
    EventPlace,
    Grant,
    GrantType,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from sso_issuer.authority.forms import needed
from sso_issuer.authority.introspections import Introspections, named
from sso_issuer.authority.store import Revocation, TakenCode
from sso_issuer.authority.tokens import AccessTokensReader, SigningTerms
from sso_issuer.keys.domain import Algorithm, issuer_of
from sso_issuer.keys.service import Keys
from sso_issuer.register_client import RefusedCode, RegisterClient
from sso_issuer.signer import Signer


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """What the token endpoint answers."""

    token: str
    expires_in: int
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Order:
    """An access token that waits to be signed and written."""

    grant: Grant
    code_digest: bytes | None
    request_id: str


class Authority:
    """The use cases, for every tenant's authority. What waits together is read, asked, signed and audited together.

    Args:
        lifetime_seconds: of an access token, at most 600; so long it may be accepted after a consent was withdrawn.
    """

    def __init__(
        self,
        database: Database,
        audit: Audit,
        tokens: AccessTokensReader,
        keys: Keys,
        signer: Signer,
        register: RegisterClient,
        introspections: Introspections,
        *,
        public_url: str,
        lifetime_seconds: int,
        algorithm: Algorithm,
    ) -> None:
        self._database = database
        self._audit = audit
        self._tokens = tokens
        self._keys = keys
        self._signer = signer
        self._register = register
        self._introspections = introspections
        self._public_url = public_url
        self._lifetime_seconds = lifetime_seconds
        self._algorithm = algorithm
        self._issuing = GroupCommit[_Order, AccessToken](self._issue_all, name="access_tokens")

    async def give_token(self, client: AuthorityClient, form: Mapping[str, str], request_id: str) -> AccessToken:
        """An access token; its audit is durable before this returns.

        Raises:
            InvalidRequest, InvalidGrant, InvalidScope, UnauthorizedClient, UnsupportedGrantType: as in RFC 6749.
            Unavailable: the register or the database cannot be asked; no token leaves.
        """
        grant_type = needed(form, "grant_type")
        if grant_type == GrantType.AUTHORIZATION_CODE:
            return await self._give_for_code(client, form, request_id)
        if grant_type == GrantType.CLIENT_CREDENTIALS:
            requested = domain.parse_scope(form.get("scope"))
            if client.kind == "first_party":
                grant = domain.decide_for_own_client(client, requested)
            else:
                consent = await self._register.find_consent(client.tenant, client.client_id)
                grant = domain.decide_by_consent(client, consent, requested)
            return await self._issue(grant, None, request_id)
        raise UnsupportedGrantType

    async def revoke(self, client: AuthorityClient, token: str, request_id: str) -> None:
        """Revokes a token of this client, or any token of the tenant if the client has `sso:admin`.

        A token that is inactive anyway stays so; the caller gets success (RFC 7009, 2.2).

        Raises:
            UnauthorizedClient: the token is another client's.
            Unavailable: the database cannot be asked; the token is not revoked.
        """
        judged = await self._introspections.verified(client.tenant, token)
        issued, reason, revocation = judged.issued, judged.reason, None
        if issued is not None and domain.why_inactive(issued, judged.claims) != "token_not_issued":
            if issued.client_id != client.client_id and not _may_revoke_all(client):
                raise UnauthorizedClient("This token is another client's.")
            revocation = Revocation(tenant=client.tenant, jti=issued.jti, expires_at=issued.expires_at)
        event = event_of(
            EventKind.REVOKED,
            client.tenant,
            request_id,
            reason=None if revocation is not None else reason or "token_not_issued",
            client_id=client.client_id,
            **named(issued),
        )
        await self._audit.append(Entry(event=event, revocation=revocation))

    async def note_refusal(
        self, tenant: str, refusal: Refusal, *, client_id: str | None, grant_type: str | None, request_id: str
    ) -> None:
        """Writes a refused request to the audit."""
        if isinstance(refusal, CodeSpent):
            return  # written where it was found out
        event = event_of(
            EventKind.REFUSED,
            tenant,
            request_id,
            reason=refusal.stable_code,
            client_id=client_id,
            grant_type=grant_type,
        )
        await self._audit.append(Entry(event=event))

    async def list_newest(
        self,
        tenant: str,
        *,
        client_id: str | None,
        kind: EventKind | None,
        cursor: str | None,
        limit: int,
    ) -> Page[Event]:
        """The audit, newest first.

        Raises:
            InvalidCursor: as it says.
        """
        pages = EVENTS.of(tenant, client_id=client_id, kind=kind)
        before = pages.place(cursor)
        async with self._database.transaction() as connection:
            found = await store.list_newest(
                connection, tenant, client_id=client_id, kind=kind, before=before, limit=limit + 1
            )
        return pages.cut(found, limit, lambda event: EventPlace(event.written_at, event.event_id))

    async def forget_expired(self) -> None:
        """Deletes expired revocations, codes and assertions. The audit stays."""
        async with self._database.transaction() as connection:
            await store.forget_expired(connection)

    async def close(self) -> None:
        """Carries out what waits in line, and takes no more."""
        await self._issuing.close()
        await self._audit.close()

    async def _give_for_code(self, client: AuthorityClient, form: Mapping[str, str], request_id: str) -> AccessToken:
        code, redirect_uri = needed(form, "code"), needed(form, "redirect_uri")
        # The register says whether the code was asked for with a challenge; a verifier is sent then, and only then.
        verifier = form.get("code_verifier")
        if verifier is not None and not domain.is_verifier(verifier):
            raise InvalidGrant(log="the code_verifier is none")
        digest = hashlib.sha256(code.encode()).digest()
        redeemed = await self._register.redeem_code(
            code=code, client_id=client.client_id, redirect_uri=redirect_uri, code_verifier=verifier
        )
        if isinstance(redeemed, RefusedCode):
            if redeemed.replayed:
                await self._spoil(client, digest, request_id)
            raise InvalidGrant(log="replayed" if redeemed.replayed else "refused by the register")
        if (redeemed.tenant, redeemed.client_id) != (client.tenant, client.client_id):
            raise InvalidGrant(log="the register answered for another client")
        grant = Grant(
            client=client,
            grant_type=GrantType.AUTHORIZATION_CODE,
            subject=redeemed.subject,
            scopes=domain.grant_scopes(None, domain.consentable(redeemed.scopes & client.scopes)),
            consent_version=redeemed.consent_version,
        )
        try:
            return await self._issue(grant, digest, request_id)
        except CodeSpent:
            await self._spoil(client, digest, request_id)
            raise

    async def _spoil(self, client: AuthorityClient, code_digest: bytes, request_id: str) -> None:
        await self._audit.spoil_code(client.tenant, code_digest, client_id=client.client_id, request_id=request_id)

    async def _issue(self, grant: Grant, code_digest: bytes | None, request_id: str) -> AccessToken:
        return await self._issuing.submit(_Order(grant, code_digest, request_id))

    async def _issue_all(self, orders: Sequence[_Order]) -> Sequence[AccessToken | Exception]:
        """One read, the signatures, and one transaction for all audit rows."""
        all_terms = await self._tokens.signing_terms([order.grant.client.tenant for order in orders], self._algorithm)
        signing = [
            (await self._signing_key(order.grant.client.tenant, terms), self._claims_of(order.grant, terms.read_at))
            for order, terms in zip(orders, all_terms, strict=True)
        ]
        tokens = await self._signer.sign_all(signing, typ=ACCESS_TOKEN_TYP)
        entries = [
            _entry_of(order, key.kid, claims, terms.read_at)
            for order, (key, claims), terms in zip(orders, signing, all_terms, strict=True)
        ]
        refusals = await self._audit.write(entries)
        return [
            AccessToken(token=token, expires_in=self._lifetime_seconds, scopes=order.grant.scopes)
            if refusal is None
            else refusal
            for order, token, refusal in zip(orders, tokens, refusals, strict=True)
        ]

    async def _signing_key(self, tenant: str, terms: SigningTerms) -> SigningKey:
        if terms.key is None:
            return await self._keys.signing_key(tenant, self._algorithm)
        return await self._keys.unseal(terms.key)

    def _claims_of(self, grant: Grant, now: datetime) -> dict[str, Any]:
        issued_at = int(now.timestamp())
        return domain.access_token_claims(
            grant,
            issuer=issuer_of(self._public_url, grant.client.tenant),
            audience=self._public_url,
            jti=secrets.token_urlsafe(16),
            issued_at=issued_at,
            expires_at=issued_at + self._lifetime_seconds,
        )


def _entry_of(order: _Order, kid: str, claims: Mapping[str, Any], now: datetime) -> Entry:
    grant, expiry = order.grant, datetime.fromtimestamp(claims["exp"], UTC)
    event = event_of(
        EventKind.ISSUED,
        grant.client.tenant,
        order.request_id,
        client_id=grant.client.client_id,
        subject=grant.subject,
        jti=claims["jti"],
        grant_type=grant.grant_type.value,
        scope=claims["scope"],
        consent_version=grant.consent_version,
        kid=kid,
        happened_at=now,
        expires_at=expiry,
    )
    if order.code_digest is None:
        return Entry(event=event)
    code = TakenCode(
        tenant=grant.client.tenant, code_digest=order.code_digest, jti=claims["jti"], token_expires_at=expiry
    )
    return Entry(event=event, code=code)


def _may_revoke_all(client: AuthorityClient) -> bool:
    return client.kind == "first_party" and "sso:admin" in client.scopes
