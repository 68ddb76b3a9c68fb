"""Verifying and looking: first what the token itself says, then, for what is left, the row.

verify → decipher → line → read all → lock those with a quota → decide one by one → write → COMMIT → answer each
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import asyncpg
import structlog
from prometheus_client import Counter
from shared.db import Database
from shared.errors import Refusal
from shared.group_commit import GroupCommit

from token_service.keys.ring import KeyRing
from token_service.tokens import store
from token_service.tokens.domain import (
    CallerKind,
    InvalidSignature,
    MalformedToken,
    Token,
    TokenExpired,
    TokenId,
    TokenNotFound,
    refusal_of,
)
from token_service.tokens.format import expiry_minute_of, has_expired, is_token
from token_service.tokens.issuing import mac_text
from token_service.tokens.store import Found

_log = structlog.get_logger("tokens")
_tampered = Counter("tokens_tampered_rows", "Rows whose MAC does not fit: somebody edited them. Alarm on any.")


@dataclass(frozen=True, slots=True)
class Question:
    """A token that was deciphered and not past its minute. Without `kind` it is only looked at."""

    id: TokenId
    expiry_minute: int
    kind: CallerKind | None


class Verifying:
    """One a process."""

    def __init__(self, database: Database, ring: KeyRing, *, lanes: int = 2, batch_size: int = 256) -> None:
        self._database = database
        self._ring = ring
        self._line = GroupCommit[Question, Token](
            self._answer_all, name="tokens_verify", lanes=lanes, batch_size=batch_size
        )

    async def verify(self, tenant: str, text: str, kind: CallerKind) -> Token:
        """The token as it is after this use.

        Raises:
            Refusal: one of those in `domain`, each with its code.
            Unavailable: the use was not counted.
        """
        return await self._line.submit(await self.read(tenant, text, kind))

    async def look(self, tenant: str, text: str) -> Token:
        """The same without counting or using up."""
        return await self._line.submit(await self.read(tenant, text, None))

    async def read(self, tenant: str, text: str, kind: CallerKind | None) -> Question:
        """What the token itself says, without a database.

        Raises:
            MalformedToken, InvalidSignature, TokenExpired: as they say.
        """
        if not is_token(text):
            raise MalformedToken
        read = await self._ring.read_token(tenant, bytes.fromhex(text))
        if read is None:
            raise InvalidSignature
        number, plain = read
        if has_expired(plain.expiry_minute, datetime.now(UTC)):
            raise TokenExpired
        return Question(TokenId(tenant, number, plain.sequence), plain.expiry_minute, kind)

    async def close(self) -> None:
        """Takes no more and finishes what waits."""
        await self._line.close()

    async def _answer_all(self, questions: Sequence[Question]) -> Sequence[Token | Exception]:
        async with self._database.raw_transaction() as connection:
            return await self.answer_within(connection, questions)

    async def answer_within(
        self, connection: asyncpg.Connection, questions: Sequence[Question]
    ) -> list[Token | Refusal]:
        """Answers, and writes uses, within the caller's transaction."""
        found = await store.read_tokens(connection, {question.id for question in questions})
        limited = {q.id for q in questions if q.kind is not None and q.id in found}
        if limited:
            found |= await store.lock_tokens(connection, limited)
        now = await store.read_clock(connection)
        changed: dict[TokenId, Token] = {}
        answers: list[Token | Refusal] = []
        for question in questions:
            answer = self._answer(question, found.get(question.id), now)
            if isinstance(answer, Token) and question.kind is not None:
                answer = answer.used(question.kind, now)
                changed[answer.id] = answer
                found[answer.id] = replace(found[answer.id], token=answer)
            answers.append(answer)
        if changed:
            await store.write_uses(connection, list(changed.values()))
        return answers

    def _answer(self, question: Question, found: Found | None, now: datetime) -> Token | Refusal:
        if found is None:
            return TokenNotFound()
        token = found.token
        if expiry_minute_of(token.content.expires_at) != question.expiry_minute:
            # A number used twice, as after a restored backup: this row is another token's.
            return TokenNotFound()
        if not self._is_authentic(found):
            _tampered.inc()
            _log.error("row was edited", tenant=token.id.tenant, key=token.id.key_number, sequence=token.id.sequence)
            return InvalidSignature(log="the row's MAC does not fit")
        return refusal_of(token, now) or token

    def _is_authentic(self, found: Found) -> bool:
        token = found.token
        key = self._ring.key(token.id.tenant, token.id.key_number)
        return key is not None and key.is_mac(found.mac, mac_text(token.id, token.content))
