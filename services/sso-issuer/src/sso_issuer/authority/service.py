"""The use cases of an authority: issue, introspect and revoke access tokens."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from shared.db import Database
from shared.errors import Refusal, Unavailable
from shared.group_commit import GroupCommit
from shared.jwt import SigningKey
from shared.paging import Page
from shared.request_frame import RequestContext, current_request

from sso_issuer.authority import domain, store
from sso_issuer.authority.audit import Audit, CodeSpent, Entry, event_of
from sso_issuer.authority.client_authentication import ClientAuthentication, Proof
from sso_issuer.authority.domain import (
    ACCESS_TOKEN_TYP,
    EVENTS,
    AuthorityClient,
    Consent,
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
from sso_issuer.questions import both
from sso_issuer.register_client import RefusedCode, RegisterClient
from sso_issuer.signer import Signer

#: Nobody waits in line for longer than this, and then for the register as well.
_PATIENCE_SECONDS: Final = 4.0


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """What the token endpoint answers."""

    token: str
    expires_in: int
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Order:
    """An access token that waits to be decided about, signed and written.

    Attributes:
        scope: what a client without a code asks for.
        grant: decided before, for a code.
        asked_for: the request that waits.
    """

    proof: Proof
    request_id: str
    scope: str | None = None
    grant: Grant | None = None
    code_digest: bytes | None = None
    asked_for: RequestContext | None = field(default_factory=current_request.get)


@dataclass(frozen=True, slots=True)
class _Unsigned:
    """What is to be signed, and when it was decided."""

    grant: Grant
    key: SigningKey
    claims: Mapping[str, Any]
    now: datetime


class Authority:
    """The use cases, for every tenant's authority. What waits together is read, asked, signed and audited together.

    Args:
        lifetime_seconds: of an access token, at most 600; so long it may be accepted after a consent was withdrawn.
    """

    def __init__(
        self,
        database: Database,
        authentication: ClientAuthentication,
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
        self._authentication = authentication
        self._audit = audit
        self._tokens = tokens
        self._keys = keys
        self._signer = signer
        self._register = register
        self._introspections = introspections
        self._public_url = public_url
        self._lifetime_seconds = lifetime_seconds
        self._algorithm = algorithm
        self._issuing = GroupCommit[_Order, AccessToken](
            self._issue_all,
            name="access_tokens",
            patience_seconds=_PATIENCE_SECONDS,
            tenant_of=lambda order: order.proof.tenant,
            is_of_one_tenant=database.is_distributed,
        )

    async def give_token(self, proof: Proof, form: Mapping[str, str], request_id: str) -> AccessToken:
        """An access token; its audit is durable before this returns.

        Raises:
            InvalidClient: who asks has not proven to be a client here.
            InvalidRequest, InvalidGrant, InvalidScope, UnauthorizedClient, UnsupportedGrantType: as in RFC 6749.
            Unavailable: the register or the database cannot be asked; no token leaves.
        """
        if form.get("grant_type") == GrantType.CLIENT_CREDENTIALS:
            await self._authentication.prove_for_line(proof)
            return await self._issuing.submit(_Order(proof, request_id, scope=form.get("scope")))
        client = await self._authentication.prove(proof)
        if needed(form, "grant_type") == GrantType.AUTHORIZATION_CODE:
            return await self._give_for_code(proof, client, form, request_id)
        raise UnsupportedGrantType

    async def revoke(self, proof: Proof, token: str, request_id: str) -> None:
        """Revokes a token of this client, or any token of the tenant if the client has `sso:admin`.

        A token that is inactive anyway stays so; the caller gets success (RFC 7009, 2.2).

        Raises:
            InvalidClient: who asks has not proven to be a client here.
            UnauthorizedClient: the token is another client's.
            Unavailable: the database cannot be asked; the token is not revoked.
        """
        client = await self._authentication.prove(proof)
        judged = await self._introspections.verified(client, token)
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
        await self._authentication.close()
        await self._issuing.close()
        await self._audit.close()

    async def _give_for_code(
        self, proof: Proof, client: AuthorityClient, form: Mapping[str, str], request_id: str
    ) -> AccessToken:
        code, redirect_uri = needed(form, "code"), needed(form, "redirect_uri")
        # The register says whether the code was asked for with a challenge; a verifier is sent then, and only then.
        verifier = form.get("code_verifier")
        if verifier is not None and not domain.is_verifier(verifier):
            raise InvalidGrant(log="the code_verifier is none")
        domain.check_unlisted(client)
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
            return await self._issuing.submit(_Order(proof, request_id, grant=grant, code_digest=digest))
        except CodeSpent:
            await self._spoil(client, digest, request_id)
            raise

    async def _spoil(self, client: AuthorityClient, code_digest: bytes, request_id: str) -> None:
        await self._audit.spoil_code(client.tenant, code_digest, client_id=client.client_id, request_id=request_id)

    async def _issue_all(self, orders: Sequence[_Order]) -> Sequence[AccessToken | Exception]:
        """One read beside one call to the register, the signatures, and one transaction for all audit rows.

        The register is asked again about the consents to third parties.
        """
        # The calls go by the id of the first request that waits for them.
        current_request.set(orders[0].asked_for)
        clients, all_terms = await both(
            self._authentication.prove_all([order.proof for order in orders]),
            self._tokens.signing_terms([order.proof.tenant for order in orders], self._algorithm),
        )
        consents = await self._consents_of(
            one
            for order, one in zip(orders, clients, strict=True)
            if order.grant is None and isinstance(one, AuthorityClient) and one.kind == "third_party"
        )
        unsigned = [
            client if isinstance(client, Refusal) else await self._decide(order, client, terms, consents)
            for order, client, terms in zip(orders, clients, all_terms, strict=True)
        ]
        good = [one for one in unsigned if isinstance(one, _Unsigned)]
        if not good:
            return [one for one in unsigned if isinstance(one, Refusal)]
        # At once: a token that a failed write leaves unsaid is worth nothing, since nobody has it.
        refusals, tokens = await both(
            self._audit.write(
                [
                    _entry_of(order, one)
                    for order, one in zip(orders, unsigned, strict=True)
                    if isinstance(one, _Unsigned)
                ]
            ),
            self._signer.sign_all([(one.key, one.claims) for one in good], typ=ACCESS_TOKEN_TYP, is_remembered=True),
        )
        answers = map(self._answer, good, tokens, refusals)
        return [next(answers) if isinstance(one, _Unsigned) else one for one in unsigned]

    async def _consents_of(
        self, third_parties: Iterable[AuthorityClient]
    ) -> Mapping[tuple[str, str], Consent | None] | Unavailable:
        try:
            return await self._register.consents((client.tenant, client.client_id) for client in third_parties)
        except Unavailable as refusal:
            return refusal

    async def _decide(
        self,
        order: _Order,
        client: AuthorityClient,
        terms: SigningTerms,
        consents: Mapping[tuple[str, str], Consent | None] | Unavailable,
    ) -> _Unsigned | Refusal:
        try:
            grant = order.grant or _grant_of(client, order.scope, consents)
            key = await self._signing_key(client.tenant, terms)
        except Refusal as refusal:
            return refusal
        return _Unsigned(grant, key, self._claims_of(grant, terms.read_at), terms.read_at)

    def _answer(self, unsigned: _Unsigned, token: str, refusal: CodeSpent | None) -> AccessToken | CodeSpent:
        if refusal is not None:
            return refusal
        return AccessToken(token=token, expires_in=self._lifetime_seconds, scopes=unsigned.grant.scopes)

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


def _grant_of(
    client: AuthorityClient, scope: str | None, consents: Mapping[tuple[str, str], Consent | None] | Unavailable
) -> Grant:
    """What a client without a code gets.

    Raises:
        InvalidScope, UnauthorizedClient: as they say.
        Unavailable: the register was silent about the consent.
    """
    requested = domain.parse_scope(scope)
    if client.kind == "first_party":
        return domain.decide_for_own_client(client, requested)
    if isinstance(consents, Unavailable):
        raise Unavailable(log=consents.log)
    return domain.decide_by_consent(client, consents.get((client.tenant, client.client_id)), requested)


def _entry_of(order: _Order, unsigned: _Unsigned) -> Entry:
    grant, claims = unsigned.grant, unsigned.claims
    expiry = datetime.fromtimestamp(claims["exp"], UTC)
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
        kid=unsigned.key.kid,
        happened_at=unsigned.now,
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
