"""Verifying and looking: first by the token itself, then by its row.

    verify → decipher → line → read all → lock those with a quota → decide one by one → write → COMMIT → count, answer

A use of a limited token is written before the answer. Uses of other tokens are counted in batches.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NoReturn

import asyncpg
import structlog
from prometheus_client import Counter as Metric
from shared.db import Database
from shared.errors import Refusal
from shared.group_commit import GroupCommit

from token_service.clock import DatabaseClock
from token_service.counting.store import CampaignCount, hour_of
from token_service.counting.tally import Tally
from token_service.guesses import Guesses
from token_service.keys.ring import KeyRing
from token_service.tokens import store
from token_service.tokens.content import is_authentic, mac_text, versioned
from token_service.tokens.domain import (
    CallerKind,
    InvalidSignature,
    MalformedToken,
    Token,
    TokenExpired,
    TokenId,
    TokenNotFound,
    one_use,
    refusal_of,
)
from token_service.tokens.format import has_expired, is_token
from token_service.tokens.store import Found

_log = structlog.get_logger("tokens")
_tampered = Metric("tokens_tampered_rows", "Rows whose MAC does not fit: somebody edited them. Alarm on any.")
_verified = Metric("tokens_verified", "Tokens verified.", ["kind"])
_refused = Metric("tokens_refused", "Verifications refused.", ["reason"])


@dataclass(frozen=True, slots=True)
class Visit:
    """The visitor of a link, and the caller that reports it.

    Attributes:
        visitor: the visitor's network address, if it is known.
        caller: the caller's network address.
        client_id: the caller's client, if there is one.
    """

    kind: CallerKind = CallerKind.PERSON
    visitor: str | None = None
    caller: str | None = None
    client_id: str | None = None
    spare: frozenset[CallerKind] = frozenset()


@dataclass(frozen=True, slots=True)
class Question:
    """A deciphered token to decide on.

    Attributes:
        kind: the kind of caller that uses it; None for a look without use.
        is_counted: whether a refusal counts.
    """

    id: TokenId
    expiry_minute: int
    kind: CallerKind | None
    is_counted: bool
    is_spared: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a question. `token` is None if there is no row, or none that can be trusted."""

    question: Question
    token: Token | None
    refusal: Refusal | None
    at: datetime


class Verifying:
    """One a process."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        tally: Tally,
        guesses: Guesses,
        clock: DatabaseClock,
        *,
        lanes: int = 2,
        batch_size: int = 256,
    ) -> None:
        self._database = database
        self._ring = ring
        self._tally = tally
        self._guesses = guesses
        self._clock = clock
        self._line = GroupCommit[Question, Token](
            self._answer_line,
            name="tokens_verify",
            lanes=lanes,
            batch_size=batch_size,
            tenant_of=lambda question: question.id.tenant,
            is_of_one_tenant=database.is_distributed,
        )

    async def verify(self, tenant: str, text: str, visit: Visit) -> Token:
        """The token as it is after this use.

        Raises:
            Refusal: one of those in `domain`, each with its code.
            TooManyBadSignatures: instead of InvalidSignature, after too many of them.
            Unavailable: the use was not counted.
        """
        return await self._line.submit(self.check_minute(await self.locate(tenant, text, visit)))

    async def look(self, tenant: str, text: str, visit: Visit, *, count_refusal: bool = False) -> Token:
        """The same without counting or using up."""
        located = await self.locate(tenant, text, visit, only_look=True, count_refusal=count_refusal)
        return await self._line.submit(self.check_minute(located))

    async def locate(
        self, tenant: str, text: str, visit: Visit, *, only_look: bool = False, count_refusal: bool = True
    ) -> Question:
        """The key of a token's row, without the database; also for an expired token.

        Raises:
            MalformedToken, InvalidSignature, TooManyBadSignatures: as they say.
        """
        if not is_token(text):
            self._refuse(tenant, MalformedToken(), is_counted=count_refusal)
        read = await self._ring.read_token(tenant, bytes.fromhex(text))
        if read is None:
            await self.charge(visit, tenant)
            self._refuse(tenant, InvalidSignature(), is_counted=count_refusal)
        number, plain = read
        kind = None if only_look else visit.kind
        token_id = TokenId(tenant, number, plain.sequence)
        return Question(token_id, plain.expiry_minute, kind, count_refusal, visit.kind in visit.spare)

    async def identify(self, tenants: Iterable[str], text: str, visit: Visit) -> str:
        """The tenant, among these, that the token belongs to, if no credential names it.

        Raises:
            MalformedToken, InvalidSignature, TooManyBadSignatures: as they say.
        """
        if not is_token(text):
            raise MalformedToken
        found = await self._ring.identify(tenants, bytes.fromhex(text))
        if found is None:
            await self.charge(visit)
            raise InvalidSignature
        return found[0]

    async def find(self, question: Question) -> Token:
        """The token's row in any state, with all known uses.

        Raises:
            TokenNotFound, InvalidSignature: there is no row, or somebody edited it.
        """
        async with self._database.driver_transaction() as connection:
            now, found = await store.read_tokens(connection, [question.id])
        self._clock.hear(now)
        token = self.trusted(question, found.get(question.id))
        return token if token.is_limited else replace(token, uses=self._tally.with_unseen(token))

    def check_minute(self, question: Question) -> Question:
        """Raises TokenExpired where the token itself says so, by the time that the database told last."""
        now = self._clock.now()
        if now is not None and has_expired(question.expiry_minute, now):
            self._refuse(question.id.tenant, TokenExpired(), question.id, is_counted=question.is_counted)
        return question

    async def charge(self, visit: Visit, tenant: str | None = None) -> None:
        """Call after a bad signature. Raises TooManyBadSignatures if the budget is spent."""
        credential = None if visit.client_id is None else f"{tenant}/{visit.client_id}"
        await self._guesses.charge(credential=credential, visitor=visit.visitor, caller=visit.caller)

    async def close(self) -> None:
        """Accepts no more questions and finishes those that wait."""
        await self._line.close()

    async def answer_within(self, connection: asyncpg.Connection, questions: Sequence[Question]) -> list[Answered]:
        """Decides a question and writes the use, within the caller's transaction."""
        now, found = await store.read_tokens(connection, {question.id for question in questions})
        self._clock.hear(now)
        return await self._decide(connection, questions, now, found, _limited(questions, now, found))

    def settle(self, answered: Answered) -> Token | Refusal:
        """Counts the outcome of a question; returns the token with all known uses, or raises its refusal."""
        question, token, at = answered.question, answered.token, answered.at
        if answered.refusal is not None:
            if question.is_counted:
                self._tally.refused(question.id.tenant, answered.refusal.stable_code, at, token or question.id)
                _refused.labels(answered.refusal.stable_code).inc()
            return answered.refusal
        if token is None:
            raise LookupError("a question that was not refused has no token")
        if question.kind is not None:
            _verified.labels(question.kind.value).inc()
            if not token.is_limited:
                self._tally.used(token, question.kind, at, is_spared=question.is_spared)
        return token if token.is_limited else replace(token, uses=self._tally.with_unseen(token))

    async def _answer_line(self, questions: Sequence[Question]) -> Sequence[Token | Exception]:
        async with self._database.raw_statement() as connection:
            now, found = await store.read_tokens(connection, {question.id for question in questions})
        self._clock.hear(now)
        limited = _limited(questions, now, found)
        if limited:
            async with self._database.raw_transaction() as connection:
                answers = await self._decide(connection, questions, now, found, limited)
        else:
            answers = [self._answer(question, found.get(question.id), now) for question in questions]
        return [self.settle(answered) for answered in answers]

    async def _decide(
        self,
        connection: asyncpg.Connection,
        questions: Sequence[Question],
        now: datetime,
        found: dict[TokenId, Found],
        limited: set[TokenId],
    ) -> list[Answered]:
        """Decides one by one, each after those before it, and writes uses."""
        if limited:
            found |= await store.lock_tokens(connection, limited)
        used: dict[TokenId, Token] = {}
        counts: Counter[CampaignCount] = Counter()
        answers: list[Answered] = []
        for question in questions:
            answered = self._answer(question, found.get(question.id), now)
            token = answered.token
            if token is not None and answered.refusal is None and token.is_limited and question.kind is not None:
                token = token.with_uses(one_use(question.kind, now, is_spared=question.is_spared))
                campaign = (token.id.tenant, token.terms.campaign_id, hour_of(now))
                counts[CampaignCount(*campaign, "verified", question.kind.value)] += 1
                if question.kind is CallerKind.PERSON and token.uses.by_people == 1:
                    counts[CampaignCount(*campaign, "distinct", "")] += 1
                answered = replace(answered, token=token)
                used[token.id] = token
                found[token.id] = replace(found[token.id], token=token)
            answers.append(answered)
        if used:
            tokens = list(used.values())
            await store.write_uses(connection, tokens, counts, (token for token in tokens if token.is_used_up))
        return answers

    def _answer(self, question: Question, found: Found | None, now: datetime) -> Answered:
        try:
            token = self.trusted(question, found)
        except (TokenNotFound, InvalidSignature) as refusal:
            return Answered(question, None, refusal, now)
        return Answered(question, token, refusal_of(token, now), now)

    def trusted(self, question: Question, found: Found | None) -> Token:
        """The token of a row, whatever has become of it.

        Raises:
            TokenNotFound, InvalidSignature: there is none, or it was edited.
        """
        # If a number was used twice, as after a restored backup, the minute shows that the row is another token's.
        if found is None or found.token.content.expiry_minute != question.expiry_minute:
            raise TokenNotFound
        token = found.token
        key = self._ring.key(token.id.tenant, token.id.key_number)
        if key is None or not is_authentic(found.mac, token.id, token.content, key.is_mac):
            _tampered.inc()
            _log.error("row was edited", tenant=token.id.tenant, key=token.id.key_number, sequence=token.id.sequence)
            raise InvalidSignature(log="the row's MAC does not fit")
        return token

    def authenticate(self, token: Token) -> bytes:
        """What the row of a changed token is authenticated with."""
        key = self._ring.key(token.id.tenant, token.id.key_number)
        if key is None:
            raise LookupError("a token that was trusted has no key")
        return versioned(key.mac(mac_text(token.id, token.content)))

    def _refuse(self, tenant: str, refusal: Refusal, token_id: TokenId | None = None, *, is_counted: bool) -> NoReturn:
        if is_counted:
            _refused.labels(refusal.stable_code).inc()
            self._tally.refused(tenant, refusal.stable_code, self._clock.about_now(), token_id)
        raise refusal


def _limited(questions: Sequence[Question], now: datetime, found: Mapping[TokenId, Found]) -> set[TokenId]:
    """The limited tokens with uses left; only those are locked."""
    return {
        question.id
        for question in questions
        if question.kind is not None
        and question.id in found
        and found[question.id].token.is_limited
        and refusal_of(found[question.id].token, now) is None
    }
