"""Plain counts: kept in memory for `COUNT_FLUSH_SECONDS`, then written together.

A crash loses the counts since the last write: less than a second of them, while the database takes writes. A shutdown
loses nothing. If the database takes no writes, counts wait; if too many wait, counting is refused with `Unavailable`
rather than forgotten.

Uses of a token with a quota are not counted here: they are written before the answer.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar

import asyncpg
import stamina
import structlog
from prometheus_client import Gauge
from shared.database_failures import OutcomeUnknown, is_passing
from shared.db import Database
from shared.errors import Unavailable

from token_service.counting import store as count_store
from token_service.counting.store import NO_CAMPAIGN, CampaignCount, TokenRefusal, hour_of
from token_service.tokens import store as token_store
from token_service.tokens.domain import CallerKind, Token, TokenId, Uses, one_use

K = TypeVar("K")
V = TypeVar("V")
_MOST_WAITING: Final = 200_000
#: Counts that are written in one transaction. Nothing else runs while their rows are read and made: a thousand tokens
#: take 15 ms.
_TOGETHER: Final = 128
#: Where each tenant's counts are a transaction of their own: so many at the same time.
_AT_ONCE: Final = 4
_log = structlog.get_logger("tally")
_pending = Gauge("tokens_counts_pending", "Different counts that wait to be written.")
_at_the_end = stamina.AsyncRetryingCaller(attempts=5, timeout=None, wait_initial=0.2, wait_max=2.0, wait_jitter=0.1).on(
    Exception
)


@dataclass(slots=True)
class _Counts:
    uses: dict[TokenId, Uses] = field(default_factory=dict)
    refusals: Counter[TokenRefusal] = field(default_factory=Counter)
    campaigns: Counter[CampaignCount] = field(default_factory=Counter)
    #: Refusals of tokens whose row was not read, so that their campaign is unknown.
    unread: Counter[tuple[TokenRefusal, datetime]] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.uses) + len(self.refusals) + len(self.campaigns) + len(self.unread)

    def by_tenant(self) -> list["_Counts"]:
        """The same, with those of each tenant apart."""
        parts: defaultdict[str, _Counts] = defaultdict(_Counts)
        for token_id, uses in self.uses.items():
            parts[token_id.tenant].uses[token_id] = uses
        for refusal, count in self.refusals.items():
            parts[refusal.tenant].refusals[refusal] = count
        for campaign, count in self.campaigns.items():
            parts[campaign.tenant].campaigns[campaign] = count
        for unread, count in self.unread.items():
            parts[unread[0].tenant].unread[unread] = count
        return list(parts.values())

    def take(self) -> "_Counts":
        """Takes a piece out: `_TOGETHER` of each kind at most, and with the first one all of the campaigns'."""
        campaigns, self.campaigns = self.campaigns, Counter()
        return _Counts(
            _taken_from(self.uses), Counter(_taken_from(self.refusals)), campaigns, Counter(_taken_from(self.unread))
        )

    def add(self, more: "_Counts") -> None:
        for token_id, uses in more.uses.items():
            self.uses[token_id] = self.uses.get(token_id, Uses()).add(uses)
        self.refusals.update(more.refusals)
        self.campaigns.update(more.campaigns)
        self.unread.update(more.unread)


def _taken_from(mine: dict[K, V]) -> dict[K, V]:
    return dict(mine.popitem() for _ in range(min(_TOGETHER, len(mine))))


class Tally:
    """One a process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting = _Counts()
        # The counts of the last write stay until the next one, since a row that was read just before lacks them.
        self._written: dict[TokenId, Uses] = {}
        self._flushing = asyncio.Lock()
        self._writing: set[asyncio.Task[None]] = set()
        _pending.set_function(lambda: len(self._waiting))

    def used(self, token: Token, kind: CallerKind, at: datetime, *, is_spared: bool = False) -> None:
        """A token without a quota was verified.

        Raises:
            Unavailable: too many counts wait already.
        """
        self._check_room()
        uses, use = self._waiting.uses, one_use(kind, at, is_spared=is_spared)
        uses[token.id] = uses[token.id].add(use) if token.id in uses else use
        self._count(token.id.tenant, token.terms.campaign_id, "verified", kind.value, at)

    def opened(self, token: Token, kind: CallerKind, at: datetime) -> None:
        """Counts a view of a hosted landing page."""
        self._check_room()
        self._count(token.id.tenant, token.terms.campaign_id, "opened", kind.value, at)

    def refused(self, tenant: str, reason: str, at: datetime, token: Token | TokenId | None = None) -> None:
        """Counts a refusal. The token is given as far as it is known: row, number, or nothing.

        Raises:
            Unavailable: too many counts wait already.
        """
        self._check_room()
        if isinstance(token, Token):
            self._waiting.refusals[TokenRefusal(*token.id, reason)] += 1
            self._count(tenant, token.terms.campaign_id, "refused", reason, at)
        elif token is not None:
            self._waiting.unread[TokenRefusal(*token, reason), hour_of(at)] += 1
        else:
            self._count(tenant, NO_CAMPAIGN, "refused", reason, at)

    def with_unseen(self, token: Token) -> Uses:
        """A token's uses, with those that its row lacked when it was read."""
        uses = token.uses
        written = self._written.get(token.id)
        if (
            written is not None
            and written.last_at is not None
            and (uses.last_at is None or uses.last_at < written.last_at)
        ):
            uses = uses.add(written)
        waiting = self._waiting.uses.get(token.id)
        return uses if waiting is None else uses.add(waiting)

    async def flush(self) -> None:
        """Writes all waiting counts. Those that cannot be written go on waiting.

        The writing goes on if the caller is cancelled: what was on its way to COMMIT would be written twice, or never.

        Raises:
            Unavailable: the database does not take it now.
        """
        writing = asyncio.create_task(self._flush())
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        await asyncio.shield(writing)

    async def _flush(self) -> None:
        async with self._flushing:
            counts, self._waiting = self._waiting, _Counts()
            if not counts:
                self._written = {}
                return
            self._written = dict(counts.uses)
            if self._database.is_distributed:
                await self._write_each(counts.by_tenant())
            else:
                await self._write_pieces(counts)

    async def close(self) -> None:
        """Waits for a running flush, and writes the rest.

        Raises:
            Unavailable: the database does not take it, also after several attempts.
        """
        try:
            # Whatever the error was: this is the last chance of these counts.
            await _at_the_end(self.flush)
        except Exception as error:
            _log.error("counts lost at shutdown", why=repr(error), counts=len(self._waiting))
            raise

    async def _write_each(self, parts: Sequence[_Counts]) -> None:
        """Writes some at a time: those of a tenant whose server hangs keep few others waiting."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def write(part: _Counts) -> None:
            async with turns:
                await self._write_pieces(part)

        # A failure for one tenant is raised once the others' counts are written.
        for outcome in await asyncio.gather(*map(write, parts), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _write_pieces(self, counts: _Counts) -> None:
        """Writes a piece at a time, so that requests are answered in between."""
        while counts:
            piece = counts.take()
            try:
                await self._write(piece)
            # After any error what is not written waits for the next time.
            except BaseException as error:
                counts.add(piece)
                for token_id in counts.uses:
                    self._written.pop(token_id, None)
                # The fewer go to the more: many tenants may come here, one after the other.
                fewer, more = sorted((counts, self._waiting), key=len)
                more.add(fewer)
                self._waiting = more
                if isinstance(error, Exception) and is_passing(error):
                    raise Unavailable(log=f"counts: {error!r}") from error
                raise

    async def _write(self, piece: _Counts) -> None:
        try:
            async with self._database.raw_transaction() as connection:
                await _write(connection, piece)
        except OutcomeUnknown:
            # The outcome is unknown. A second write could count twice, and these are statistics.
            _log.warning("counts may be lost", counts=len(piece))

    def _count(self, tenant: str, campaign_id: str, event: str, detail: str, at: datetime) -> None:
        self._waiting.campaigns[CampaignCount(tenant, campaign_id, hour_of(at), event, detail)] += 1

    def _check_room(self) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            raise Unavailable(log=f"{_MOST_WAITING} counts wait to be written")


async def _write(connection: asyncpg.Connection, counts: _Counts) -> None:
    campaigns = counts.campaigns.copy()
    if counts.uses:
        found = await token_store.lock_tokens(connection, counts.uses)
        changed, used_up = [], []
        for token_id, uses in counts.uses.items():
            if token_id in found:
                token = found[token_id].token
                after = _within_quota(token.with_uses(uses))
                changed.append(after)
                if after.is_used_up and not token.is_used_up:
                    used_up.append(after)
                if not token.uses.by_people and after.uses.by_people and uses.last_at is not None:
                    campaigns[_of(token, "distinct", "", hour_of(uses.last_at))] += 1
        # All of them may have been purged since.
        if changed:
            await token_store.write_uses(connection, changed, {}, used_up)
    refusals = counts.refusals.copy()
    if counts.unread:
        _, found = await token_store.read_tokens(connection, {refusal.token_id for refusal, _ in counts.unread})
        for (refusal, hour), count in counts.unread.items():
            if refusal.token_id in found:
                refusals[refusal] += count
                campaigns[_of(found[refusal.token_id].token, "refused", refusal.reason, hour)] += count
            else:
                campaigns[CampaignCount(refusal.tenant, NO_CAMPAIGN, hour, "refused", refusal.reason)] += count
    await count_store.add_token_refusals(connection, refusals)
    await count_store.add_campaign_counts(connection, campaigns)


def _within_quota(token: Token) -> Token:
    """A token that got its quota while uses were waiting: those beyond it were good, and use nothing up any more."""
    beyond = 0 if token.terms.max_uses is None else max(token.uses.used_up - token.terms.max_uses, 0)
    return token if not beyond else replace(token, uses=replace(token.uses, spared=token.uses.spared + beyond))


def _of(token: Token, event: str, detail: str, hour: datetime) -> CampaignCount:
    return CampaignCount(token.id.tenant, token.terms.campaign_id, hour, event, detail)
