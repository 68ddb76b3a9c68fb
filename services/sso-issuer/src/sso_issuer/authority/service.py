"""The use cases of an authority: issue, introspect and revoke access tokens."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.db import Database
from shared.errors import Refusal
from shared.jwt import KeySet, Rejected
from shared.paging import Page

from shared import jwt
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
    IssuedToken,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from sso_issuer.authority.forms import needed
from sso_issuer.authority.store import Revocation, TakenCode
from sso_issuer.authority.tokens import AccessTokensReader
from sso_issuer.keys.domain import issuer_of
from sso_issuer.keys.service import Keys
from sso_issuer.register_client import RefusedCode, RegisterClient
from sso_issuer.signer import Signer


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """What the token endpoint answers."""

    token: str
    expires_in: int
    scopes: tuple[str, ...]


class Authority:
    """The use cases, for every tenant's authority.

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
        *,
        public_url: str,
        lifetime_seconds: int,
    ) -> None:
        self._database = database
        self._audit = audit
        self._tokens = tokens
        self._keys = keys
        self._signer = signer
        self._register = register
        self._public_url = public_url
        self._lifetime_seconds = lifetime_seconds

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

    async def introspect(self, client: AuthorityClient, token: str, request_id: str) -> dict[str, Any] | None:
        """The content of a token that is active now, else None. A third party learns about its own tokens only.

        Raises:
            Unavailable: the register or the database cannot be asked.
        """
        claims, issued, reason = await self._verify(client.tenant, token)
        if claims is not None:
            reason = domain.why_inactive(issued, claims)
            if issued is not None and reason is None:
                if client.kind == "third_party" and issued.client_id != client.client_id:
                    reason = "token_of_another_client"
                else:
                    reason = await self._why_not_allowed(client.tenant, issued)
        event = event_of(
            EventKind.INTROSPECTED,
            client.tenant,
            request_id,
            reason=reason,
            client_id=client.client_id,
            **_named(issued),
        )
        await self._audit.append(Entry(event=event))
        if reason is not None or claims is None:
            return None
        return {"active": True, "token_type": "Bearer", **claims}

    async def revoke(self, client: AuthorityClient, token: str, request_id: str) -> None:
        """Revokes a token of this client, or any token of the tenant if the client has `sso:admin`.

        A token that is inactive anyway stays so; the caller gets success (RFC 7009, 2.2).

        Raises:
            UnauthorizedClient: the token is another client's.
            Unavailable: the database cannot be asked; the token is not revoked.
        """
        claims, issued, reason = await self._verify(client.tenant, token)
        revocation = None
        if claims is not None and issued is not None and domain.why_inactive(issued, claims) != "token_not_issued":
            if issued.client_id != client.client_id and not _may_revoke_all(client):
                raise UnauthorizedClient("This token is another client's.")
            revocation = Revocation(tenant=client.tenant, jti=issued.jti, expires_at=issued.expires_at)
        event = event_of(
            EventKind.REVOKED,
            client.tenant,
            request_id,
            reason=None if revocation is not None else reason or "token_not_issued",
            client_id=client.client_id,
            **_named(issued),
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
        """Reads and writes what waits in line, and takes no more."""
        await self._tokens.close()
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
        tenant = grant.client.tenant
        terms = await self._tokens.signing_terms(tenant)
        now = terms.read_at
        if terms.key is None:
            key = await self._keys.signing_key(tenant, domain.ACCESS_TOKEN_ALGORITHM)
        else:
            key = await self._keys.unseal(terms.key)
        issued_at = int(now.timestamp())
        expires_at = issued_at + self._lifetime_seconds
        jti = secrets.token_urlsafe(16)
        claims = domain.access_token_claims(
            grant,
            issuer=issuer_of(self._public_url, tenant),
            audience=self._public_url,
            jti=jti,
            issued_at=issued_at,
            expires_at=expires_at,
        )
        token = await self._signer.sign(key, claims, typ=ACCESS_TOKEN_TYP)
        expiry = datetime.fromtimestamp(expires_at, UTC)
        event = event_of(
            EventKind.ISSUED,
            tenant,
            request_id,
            client_id=grant.client.client_id,
            subject=grant.subject,
            jti=jti,
            grant_type=grant.grant_type.value,
            scope=claims["scope"],
            consent_version=grant.consent_version,
            kid=key.kid,
            happened_at=now,
            expires_at=expiry,
        )
        code = None
        if code_digest is not None:
            code = TakenCode(tenant=tenant, code_digest=code_digest, jti=jti, token_expires_at=expiry)
        await self._audit.append(Entry(event=event, code=code))
        return AccessToken(token=token, expires_in=self._lifetime_seconds, scopes=grant.scopes)

    async def _verify(self, tenant: str, token: str) -> tuple[dict[str, Any] | None, IssuedToken | None, str | None]:
        """The claims of an unexpired token of this authority and what the audit knows of it, or why it is refused."""
        try:
            known = await self._tokens.read(tenant, token)
            claims = jwt.verify(
                token,
                KeySet([] if known.key is None else [known.key]),
                typ=ACCESS_TOKEN_TYP,
                issuer=issuer_of(self._public_url, tenant),
                audience=self._public_url,
                # The database's clock stamped the token and judges it, so no leeway is needed.
                now=known.read_at.timestamp(),
                leeway_seconds=0,
            )
        except Rejected as rejected:
            return None, None, rejected.reason
        return claims, known.issued, None

    async def _why_not_allowed(self, tenant: str, issued: IssuedToken) -> str | None:
        """Why the register no longer covers a token; None if it does."""
        if issued.consent_version is not None:
            consent = await self._register.find_consent(tenant, issued.client_id)
            return domain.why_not_consented(issued, consent)
        client = await self._register.standing(issued.client_id)
        if client is None or client.tenant != tenant:
            return "client_disabled"
        return None if issued.scopes <= client.scopes else "scope_withdrawn"


def _may_revoke_all(client: AuthorityClient) -> bool:
    return client.kind == "first_party" and "sso:admin" in client.scopes


def _named(issued: IssuedToken | None) -> dict[str, Any]:
    """The token that an event is about."""
    if issued is None:
        return {}
    return {
        "subject": issued.subject,
        "jti": issued.jti,
        "token_client_id": issued.client_id,
        "scope": " ".join(sorted(issued.scopes)),
        "consent_version": issued.consent_version,
    }
