"""Tokens and the decision over a use. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from shared.errors import Conflict, Forbidden, Malformed, NotFound, Refusal
from shared.times import iso

from token_service.tokens.format import FOREVER
from token_service.tokens.terms import TERMS, Content, Terms


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


class BeyondFirstExpiry(Conflict):
    code = "beyond_first_expiry"

    def __init__(self, latest: datetime) -> None:
        super().__init__("A token cannot outlive the end that it was made with.", latest=iso(latest))


class FewerThanUsed(Conflict):
    code = "fewer_than_used"

    def __init__(self, uses: int) -> None:
        super().__init__("The token was used more often than that.", uses=uses)


class CampaignNotFound(NotFound):
    code = "campaign_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such campaign.")


class CallerKind(StrEnum):
    """The kind of caller that opened a link: a person, a known bot, or a program that checks links for people."""

    PERSON = "person"
    BOT = "bot"
    SCANNER = "scanner"


class TokenState(StrEnum):
    """What has become of a token. The first that fits, from the end to the beginning of this list."""

    UNUSED = "unused"
    USED = "used"
    USED_UP = "used_up"
    REVOKED = "revoked"
    EXPIRED = "expired"


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
    spared: int = 0

    @property
    def used_up(self) -> int:
        """Of all verifications, those that were not spared: they count against `max_uses`."""
        return self.total - self.spared

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
            self.spared + more.spared,
        )


def one_use(kind: CallerKind, at: datetime, *, is_spared: bool = False) -> Uses:
    return Uses(1, int(kind is CallerKind.BOT), int(kind is CallerKind.SCANNER), at, at, int(is_spared))


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

    @property
    def is_used_up(self) -> bool:
        """Whether nothing of its quota is left."""
        return self.terms.max_uses is not None and self.uses.used_up >= self.terms.max_uses

    def with_uses(self, more: Uses) -> "Token":
        return replace(self, uses=self.uses.add(more))


def name_of(token_id: TokenId) -> str:
    """How the audit names a token: never by its 32 characters, which a reader could use."""
    return f"{token_id.key_number}/{token_id.sequence}"


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
    if token.is_used_up:
        return TokenUsedUp()
    return None


def state_of(token: Token, now: datetime) -> TokenState:
    """What has become of a token by `now`."""
    refusal = refusal_of(token, now)
    for kind, state in (
        (TokenExpired, TokenState.EXPIRED),
        (TokenRevoked, TokenState.REVOKED),
        (TokenUsedUp, TokenState.USED_UP),
    ):
        if isinstance(refusal, kind):
            return state
    return TokenState.USED if token.uses.used_up else TokenState.UNUSED


def change(token: Token, now: datetime, changed: Mapping[str, Any]) -> Token:
    """The token with other terms or another end.

    Args:
        changed: terms by name, and `expires_at`; what is not named stays.

    Raises:
        TokenRevoked: it will never be good again.
        BeyondFirstExpiry, FewerThanUsed: as they say.
        ValueError: it would never be good.
    """
    if token.revoked_at is not None:
        raise TokenRevoked
    content = token.content
    terms = content.terms._replace(**{name: value for name, value in changed.items() if name in TERMS})
    if terms.max_uses is not None and terms.max_uses < token.uses.used_up:
        raise FewerThanUsed(token.uses.used_up)
    expires_at = changed.get("expires_at", content.expires_at)
    if (expires_at or FOREVER) > content.latest_end:
        raise BeyondFirstExpiry(content.latest_end)
    if "expires_at" in changed and expires_at is not None and expires_at <= now:
        raise ValueError("expires_at must lie in the future")
    if terms.not_before is not None and expires_at is not None and terms.not_before >= expires_at:
        raise ValueError("not_before must lie before the token expires")
    changed_content = content._replace(terms=terms, expires_at=expires_at, first_expires_at=content.latest_end)
    return replace(token, content=changed_content)
