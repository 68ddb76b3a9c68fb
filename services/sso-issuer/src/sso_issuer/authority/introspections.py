"""What is known of an access token at this moment. What waits together is read, asked and audited together."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from shared.db import read_again
from shared.errors import Refusal, Unavailable
from shared.group_commit import GroupCommit
from shared.jwt import GoodSignatures, KeySet, Rejected
from shared.register import Client
from shared.request_frame import RequestContext, current_request

from shared import jwt
from sso_issuer.authority import domain
from sso_issuer.authority.audit import Audit, Entry, event_of
from sso_issuer.authority.client_authentication import ClientAuthentication, Proof
from sso_issuer.authority.domain import ACCESS_TOKEN_TYP, AuthorityClient, EventKind, IssuedToken
from sso_issuer.authority.tokens import AccessTokensReader, Known
from sso_issuer.keys.domain import issuer_of
from sso_issuer.questions import both
from sso_issuer.register_client import RegisterClient

T = TypeVar("T")

#: Nobody waits in line for longer than this, and then for the register as well.
_PATIENCE_SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class _Question:
    """An introspection that waits in line."""

    proof: Proof
    token: str
    request_id: str
    asked_for: RequestContext | None = field(default_factory=current_request.get)


@dataclass(slots=True)
class Judged:
    """A token with its claims and what the audit knows of it, or why it is inactive.

    Attributes:
        client_id: who asked about it.
    """

    client_id: str
    tenant: str
    claims: Mapping[str, Any]
    issued: IssuedToken | None
    reason: str | None

    @property
    def issued_for(self) -> str:
        return "" if self.issued is None else self.issued.client_id

    @property
    def consent_version(self) -> int | None:
        return None if self.issued is None else self.issued.consent_version

    @property
    def place(self) -> tuple[str, str]:
        return self.tenant, self.issued_for


class Introspections:
    """Says of tokens whether they are active."""

    def __init__(
        self,
        authentication: ClientAuthentication,
        tokens: AccessTokensReader,
        register: RegisterClient,
        audit: Audit,
        signatures: GoodSignatures,
        *,
        public_url: str,
    ) -> None:
        self._authentication = authentication
        self._tokens = tokens
        self._register = register
        self._audit = audit
        self._public_url = public_url
        self._signatures = signatures
        self._line = GroupCommit[_Question, dict[str, Any] | None](
            self._introspect_all,
            name="introspections",
            patience_seconds=_PATIENCE_SECONDS,
            tenant_of=lambda question: question.proof.tenant,
            is_of_one_tenant=tokens.is_of_one_tenant,
        )

    async def introspect(self, proof: Proof, token: str, request_id: str) -> dict[str, Any] | None:
        """The content of a token that is active now, else None. A third party learns about its own tokens only.

        Raises:
            InvalidClient: who asks has not proven to be a client here.
            Unavailable: the register or the database cannot be asked.
        """
        await self._authentication.prove_for_line(proof)
        return await self._line.submit(_Question(proof, token, request_id))

    async def verified(self, client: AuthorityClient, token: str) -> Judged:
        """An unexpired token of this authority with its claims, or why it is refused; the register is not asked.

        Raises:
            Unavailable: the database cannot be asked.
        """
        (known,) = await read_again(lambda: self._tokens.read_all([(client.tenant, token)]))
        return self._verified(client, known)

    async def close(self) -> None:
        """Carries out what waits in line, and takes no more."""
        await self._line.close()

    async def _introspect_all(self, asked: Sequence[_Question]) -> Sequence[dict[str, Any] | Exception | None]:
        """One read beside one call to the register, and one statement for the audit.

        The register is asked again about consents, and about clients that did not ask here themselves.
        """
        # The calls go by the id of the first request that waits for them.
        current_request.set(asked[0].asked_for)
        clients, known = await both(
            self._authentication.prove_all([one.proof for one in asked]),
            self._tokens.read_all([(one.proof.tenant, one.token) for one in asked]),
        )
        judged = [
            one if isinstance(one, Refusal) else self._judge(one, about)
            for one, about in zip(clients, known, strict=True)
        ]
        standing = await self._standing_of(
            [one for one in judged if isinstance(one, Judged) and one.reason is None],
            {one.client_id: one for one in clients if isinstance(one, AuthorityClient)},
        )
        reasons = [one if isinstance(one, Refusal) else one.reason or standing(one) for one in judged]
        entries = [
            Entry(
                event=event_of(
                    EventKind.INTROSPECTED,
                    one.tenant,
                    question.request_id,
                    reason=reason,
                    client_id=one.client_id,
                    **named(one.issued),
                )
            )
            for question, one, reason in zip(asked, judged, reasons, strict=True)
            if isinstance(one, Judged) and not isinstance(reason, Refusal)
        ]
        if entries:
            await self._audit.write(entries)
        return [_answer(one, reason) for one, reason in zip(judged, reasons, strict=True)]

    def _judge(self, client: AuthorityClient, known: Known | Rejected) -> Judged:
        """What this service's own records say of a token that a client asks about."""
        judged = self._verified(client, known)
        if judged.reason is None:
            judged.reason = domain.why_inactive(judged.issued, judged.claims)
        if judged.reason is None and client.kind == "third_party" and judged.issued_for != client.client_id:
            judged.reason = "token_of_another_client"
        return judged

    async def _standing_of(
        self, judged: Sequence[Judged], asking: Mapping[str, AuthorityClient]
    ) -> Callable[[Judged], str | Unavailable | None]:
        """Asks the register about the clients and consents of tokens; says of each why it no longer covers it.

        Args:
            asking: the clients whose rights the register has just told.
        """
        consented = {one.place for one in judged if one.consent_version is not None}
        own = {one.issued_for for one in judged if one.consent_version is None} - asking.keys()
        consents, others = await both(
            _or_silence(self._register.consents(consented)), _or_silence(self._register.standings(own))
        )

        def standing(one: Judged) -> str | Unavailable | None:
            assert one.issued is not None  # noqa: S101 — a token that nobody issued is inactive
            if one.consent_version is not None:
                if isinstance(consents, Unavailable):
                    return Unavailable(log=consents.log)
                return domain.why_not_consented(one.issued, consents.get(one.place))
            client: AuthorityClient | Client | None = asking.get(one.issued_for)
            if client is None:
                if isinstance(others, Unavailable):
                    return Unavailable(log=others.log)
                client = others.get(one.issued_for)
            if client is None or client.tenant != one.tenant:
                return "client_disabled"
            return None if one.issued.scopes <= client.scopes else "scope_withdrawn"

        return standing

    def _verified(self, client: AuthorityClient, known: Known | Rejected) -> Judged:
        """An unexpired token of this authority with its claims, or why it is refused."""
        who = client.client_id, client.tenant
        if isinstance(known, Rejected):
            return Judged(*who, {}, None, known.reason)
        try:
            claims = jwt.verify(
                known.parts,
                KeySet([] if known.key is None else [known.key]),
                typ=ACCESS_TOKEN_TYP,
                issuer=issuer_of(self._public_url, client.tenant),
                audience=self._public_url,
                # The database's clock stamped the token and judges it, so no leeway is needed.
                now=known.read_at.timestamp(),
                leeway_seconds=0,
                signatures=self._signatures,
            )
        except Rejected as rejected:
            return Judged(*who, {}, None, rejected.reason)
        return Judged(*who, claims, known.issued, None)


def _answer(judged: Judged | Refusal, reason: str | Refusal | None) -> dict[str, Any] | Refusal | None:
    if isinstance(judged, Refusal):
        return judged
    if isinstance(reason, Refusal):
        return reason
    return None if reason is not None else {"active": True, "token_type": "Bearer", **judged.claims}


async def _or_silence(asking: Awaitable[T]) -> T | Unavailable:
    try:
        return await asking
    except Unavailable as refusal:
        return refusal


def named(issued: IssuedToken | None) -> dict[str, Any]:
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
