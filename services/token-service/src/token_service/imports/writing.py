"""Writes many orders in one transaction: numbers, authenticates, enciphers and copies them together.

It writes the same rows as `tokens.issuing`, but makes no objects of rows: those took as long as all the rest.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias

import asyncpg
from shared.db import Database
from shared.web.time_zones import TimeZones

from token_service.counting.store import CampaignCount, add_campaign_counts, hour_of
from token_service.imports import store
from token_service.imports.references import REUSED, death_of, problem_of, read_references, reference_of
from token_service.imports.rows import RowProblem
from token_service.keys.material import TokenKey
from token_service.keys.ring import KeyRing
from token_service.keys.sequences import Sequences
from token_service.tokens import store as token_store
from token_service.tokens.content import VERSION, mac_text_after, mac_text_before
from token_service.tokens.domain import Token, TokenId
from token_service.tokens.format import Plain, expiry_minute_of
from token_service.tokens.issuing import Placements
from token_service.tokens.store import Placement
from token_service.tokens.terms import Order, Terms

#: A row's token, and when it expires. A plain tuple, like the rows.
Minted: TypeAlias = tuple[str, datetime | None]
Outcome = Minted | RowProblem


class _Common(NamedTuple):
    """The common parts of rows that differ in number, customer and reference only, made once."""

    campaign_id: str
    expires_at: datetime | None
    minute: int
    mac_after: str
    copy_after: str
    problem: RowProblem | None = None


#: A plain tuple, since there are millions of them.
_Row: TypeAlias = tuple[Order, int, _Common]


@dataclass(frozen=True, slots=True)
class RowWriters:
    """Makes writers. One in a process."""

    database: Database
    ring: KeyRing
    sequences: Sequences
    zones: TimeZones

    def of(self, tenant: str, *, renew: bool = False) -> "RowWriter":
        return RowWriter(self, tenant, renew=renew)


class Writer(Protocol):
    """What becomes of orders."""

    async def write(self, orders: Sequence[Order]) -> list[Outcome]:
        """What became of each, in their order.

        Raises:
            OutcomeUnknown: the connection was lost while committing.
            Unavailable: nothing was kept.
        """


class RowWriter:
    """Writes rows for one tenant.

    Args:
        renew: whether a row whose reference has a dead token gets a new one.
    """

    def __init__(self, parts: "RowWriters", tenant: str, *, renew: bool = False) -> None:
        self._database = parts.database
        self._ring = parts.ring
        self._sequences = parts.sequences
        self._tenant = tenant
        self._zone = parts.zones.of(tenant)
        self._renew = renew
        self._placements = Placements()

    async def write(self, orders: Sequence[Order]) -> list[Outcome]:
        """The outcome of each row. Either all good rows land, in one transaction, or none.

        Raises:
            OutcomeUnknown: the connection was lost while committing.
            Unavailable: nothing was kept.
        """
        key, numbers = await self._sequences.take(self._tenant, len(orders))
        outcomes: dict[int, Outcome] = {}
        async with self._database.driver_transaction() as connection:
            now, commons, placements = await self._commons(connection, key, orders)
            rows = list(zip(orders, numbers, commons, strict=True))
            for place, common in enumerate(commons):
                if common.problem is not None:
                    outcomes[place] = common.problem
            repeated = await self._claim_references(connection, key, rows, outcomes)
            if repeated and self._renew:
                repeated -= await self._renew_references(connection, key, rows, repeated, now)
            fresh = rows
            if outcomes or repeated:
                fresh = [row for place, row in enumerate(rows) if place not in outcomes and place not in repeated]
            await self._copy(connection, key, now, fresh)
            if repeated:
                await self._repeat(connection, orders, repeated, outcomes, now)
        self._placements.keep(placements)
        tokens = key.mint_many([(number, common.minute) for _, number, common in fresh])
        minted = zip(tokens, [common.expires_at for _, _, common in fresh], strict=True)
        if not outcomes:
            return list(minted)
        left = iter(minted)
        return [outcomes[place] if place in outcomes else next(left) for place in range(len(orders))]

    async def _commons(
        self, connection: asyncpg.Connection, key: TokenKey, orders: Sequence[Order]
    ) -> tuple[datetime, list[_Common], dict[Placement, int]]:
        """The present moment; what each has in common with others; what was placed, to be kept after the commit."""
        # All but the customer, the first of the terms, and the reference.
        shared = [(terms[1:], lifetime) for terms, lifetime, _ in orders]
        examples = dict(zip(shared, orders, strict=True))
        placement_of = {each: _placement(self._tenant, order.terms) for each, order in examples.items()}
        placements = await self._placements.of(connection, set(placement_of.values()))
        now = await token_store.read_clock(connection)
        commons = {
            each: self._common(order, key, placements[placement_of[each]], now) for each, order in examples.items()
        }
        return now, [commons[each] for each in shared], placements

    def _common(self, order: Order, key: TokenKey, placement: int, now: datetime) -> _Common:
        try:
            content = order.content(now, self._zone)
        except ValueError as error:
            return _Common(order.terms.campaign_id, None, 0, "", "", never_valid(error))
        return _Common(
            order.terms.campaign_id,
            content.expires_at,
            expiry_minute_of(content.expires_at),
            mac_text_after(content),
            token_store.copy_line_after(
                token_store.common_of(TokenId(self._tenant, key.number, 0), content, placement)
            ),
        )

    async def _copy(self, connection: asyncpg.Connection, key: TokenKey, now: datetime, rows: Sequence[_Row]) -> None:
        """Copies the rows and adds their counts."""
        if not rows:
            return
        mac, before, line = key.mac, mac_text_before(self._tenant, key.number), token_store.copy_line
        lines = []
        for order, number, common in rows:
            customer_id = order.terms[0]
            authenticated = VERSION + mac(f"{before}{number}\n{customer_id}{common.mac_after}".encode())
            lines.append(line(number, customer_id, authenticated, common.copy_after))
        await token_store.copy_tokens(connection, lines)
        hour = hour_of(now)
        issued = Counter([common.campaign_id for _, _, common in rows])
        counts = {CampaignCount(self._tenant, name, hour, "issued", ""): count for name, count in issued.items()}
        await add_campaign_counts(connection, counts)

    async def _claim_references(
        self, connection: asyncpg.Connection, key: TokenKey, rows: Sequence[_Row], outcomes: dict[int, Outcome]
    ) -> frozenset[int]:
        """The places of rows whose reference has a token already. The others' references are now taken."""
        named = [
            (place, row) for place, row in enumerate(rows) if row[0].reference is not None and place not in outcomes
        ]
        if not named:
            return frozenset()
        claimed = await store.claim_references(
            connection,
            self._tenant,
            [
                (order.terms.campaign_id, order.reference, number, common.expires_at, key.number)
                for _, (order, number, common) in named
            ],
        )
        return frozenset(place for place, (_, number, _) in named if number not in claimed)

    async def _renew_references(
        self,
        connection: asyncpg.Connection,
        key: TokenKey,
        rows: Sequence[_Row],
        repeated: frozenset[int],
        now: datetime,
    ) -> frozenset[int]:
        """The places of rows whose reference had a dead token and has theirs from now on; one row a reference."""
        places = {reference_of(rows[place][0]): place for place in repeated}
        kept = await read_references(connection, self._tenant, places)
        dead = {places[each]: former for each, (former, token) in kept.items() if death_of(token, now) is not None}
        if not dead:
            return frozenset()
        renewals = []
        for place, former in dead.items():
            order, number, common = rows[place]
            renewals.append((*reference_of(order), *former[1:], number, common.expires_at, key.number))
        renewed = await store.renew_references(connection, self._tenant, renewals)
        return frozenset(place for place in dead if rows[place][1] in renewed)

    async def _repeat(
        self,
        connection: asyncpg.Connection,
        orders: Sequence[Order],
        repeated: frozenset[int],
        outcomes: dict[int, Outcome],
        now: datetime,
    ) -> None:
        """The tokens that these references have, where the rows are the same and the tokens not dead."""
        kept = await read_references(connection, self._tenant, {reference_of(orders[place]) for place in repeated})
        for place in repeated:
            _, token = kept[reference_of(orders[place])]
            problem = problem_of(token, orders[place], now, self._zone)
            minted = self._mint_again(token) if problem is None and token is not None else None
            outcomes[place] = minted or problem or REUSED

    def _mint_again(self, token: Token) -> Minted | None:
        token_id: TokenId = token.id
        key = self._ring.key(self._tenant, token_id.key_number)
        expires_at = token.content.expires_at
        if key is None:
            return None
        return key.mint(Plain(token_id.sequence, token.content.expiry_minute)), expires_at


def never_valid(error: ValueError) -> RowProblem:
    """An order that is well-formed, yet its token could never be used."""
    return RowProblem(f"would never be good: {error}", code="never_valid")


def _placement(tenant: str, terms: Terms) -> Placement:
    return Placement(tenant, terms.campaign_id, terms.base_url)
