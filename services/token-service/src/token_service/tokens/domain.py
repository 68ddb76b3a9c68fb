"""Tokens and the decision over a use. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from shared.errors import Conflict, Forbidden, Malformed, NotFound, Refusal
from shared.times import iso

from token_service.tokens.terms import Content, Terms


class MalformedToken(Malformed):
    code = "malformed_token"

    def __init__(self) -> None:
        super().__init__("A token is 32 lower-case hexadecimal characters.")


class InvalidSignature(Forbidden):
    code = "invalid_signature"

    def __init__(self, *, log: str | None = None) -> None:
        super().__init__("invalid signature", log=log)


class TokenExpired(Forbidden):
    code = "token_expired"

    def __init__(self) -> None:
        super().__init__("token expired")


class TokenRevoked(Forbidden):
    code = "token_revoked"

    def __init__(self) -> None:
        super().__init__("token revoked")


class TokenNotYetValid(Forbidden):
    code = "token_not_yet_valid"

    def __init__(self, not_before: datetime) -> None:
        super().__init__("token not yet valid", not_before=iso(not_before))


class TokenNotFound(NotFound):
    code = "token_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such token.")


class TokenUsedUp(Conflict):
    code = "token_used_up"

    def __init__(self) -> None:
        super().__init__("token used up")


class CampaignNotFound(NotFound):
    code = "campaign_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such campaign.")


class CallerKind(StrEnum):
    """The kind of caller that opened a link: a person, a known bot, or a program that checks links for people."""

    PERSON = "person"
    BOT = "bot"
    SCANNER = "scanner"


class TokenId(NamedTuple):
    """The key of a token's row, as the token encodes it."""

    tenant: str
    key_number: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Uses:
    """The verifications of a token: numbers by kind of caller, and times. `total` counts everybody."""

    total: int = 0
    by_bots: int = 0
    by_scanners: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None

    @property
    def by_people(self) -> int:
        return self.total - self.by_bots - self.by_scanners

    def add(self, more: "Uses") -> "Uses":
        """The sum of both."""
        return Uses(
            self.total + more.total,
            self.by_bots + more.by_bots,
            self.by_scanners + more.by_scanners,
            min(filter(None, (self.first_at, more.first_at)), default=None),
            max(filter(None, (self.last_at, more.last_at)), default=None),
        )


def one_use(kind: CallerKind, at: datetime) -> Uses:
    return Uses(1, int(kind is CallerKind.BOT), int(kind is CallerKind.SCANNER), at, at)


@dataclass(frozen=True, slots=True)
class Token:
    """A token with its row."""

    id: TokenId
    content: Content
    uses: Uses
    revoked_at: datetime | None = None

    @property
    def is_limited(self) -> bool:
        """Whether uses are limited, and so written before the answer."""
        return self.terms.max_uses is not None

    @property
    def terms(self) -> Terms:
        return self.content.terms

    def with_uses(self, more: Uses) -> "Token":
        return replace(self, uses=self.uses.add(more))


def refusal_of(token: Token, now: datetime) -> Refusal | None:
    """Why a token is refused at `now`, or None. Refusals that last come first, so that an answer does not change."""
    content = token.content
    if content.expires_at is not None and content.expires_at <= now:
        return TokenExpired()
    if token.revoked_at is not None:
        return TokenRevoked()
    terms = content.terms
    if terms.not_before is not None and now < terms.not_before:
        return TokenNotYetValid(terms.not_before)
    if terms.max_uses is not None and token.uses.total >= terms.max_uses:
        return TokenUsedUp()
    return None
