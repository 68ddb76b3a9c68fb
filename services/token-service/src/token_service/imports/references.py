"""References of rows: which token each has, and whether a row may have it again."""

from collections.abc import Collection
from datetime import datetime
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

import asyncpg

from token_service.imports import store
from token_service.imports.rows import RowProblem
from token_service.tokens import store as token_store
from token_service.tokens.domain import Token, TokenExpired, TokenId, TokenRevoked, refusal_of
from token_service.tokens.terms import CHANGEABLE, Order

REUSED: Final = RowProblem("was used for another token of this campaign", code="reference_reused", field="reference")
_EXPIRED: Final = RowProblem("has a token that has expired", code="reference_expired", field="reference")
_REVOKED: Final = RowProblem("has a token that was revoked", code="reference_revoked", field="reference")

#: (campaign, reference)
Reference: TypeAlias = tuple[str, str]


def reference_of(order: Order) -> Reference:
    return order.terms.campaign_id, order.reference or ""


async def read_references(
    connection: asyncpg.Connection, tenant: str, references: Collection[Reference]
) -> dict[Reference, tuple[TokenId, Token | None]]:
    """Which token each was given, and the token if it is still there; without those that are new."""
    ids = await store.read_references(connection, tenant, references)
    if not ids:
        return {}
    _, found = await token_store.read_tokens(connection, set(ids.values()))
    return {reference: (each, found[each].token if each in found else None) for reference, each in ids.items()}


def death_of(token: Token | None, now: datetime) -> RowProblem | None:
    """Why a token will never be good again; None while it may be. One that is gone was purged, long after its end."""
    if token is None:
        return _EXPIRED
    refusal = refusal_of(token, now)
    if isinstance(refusal, TokenExpired):
        return _EXPIRED
    return _REVOKED if isinstance(refusal, TokenRevoked) else None


def problem_of(token: Token | None, order: Order, now: datetime, zone: ZoneInfo) -> RowProblem | None:
    """Why a row cannot have the token of its reference: it asks for something else, or the token is dead."""
    if token is not None and not _is_same(token, order, zone):
        return REUSED
    return death_of(token, now)


def _is_same(token: Token, order: Order, zone: ZoneInfo) -> bool:
    """Whether a row asks for what a token was when it was made; times are counted from its own issuing."""
    content = token.content
    try:
        asked = order.content(content.issued_at, zone)
    except ValueError:
        return False
    if content.first_expires_at is None:
        return asked == content
    # It was changed since: what may have been is not compared.
    changed = {name: getattr(content.terms, name) for name in CHANGEABLE}
    return asked.latest_end == content.latest_end and asked.terms._replace(**changed) == content.terms
