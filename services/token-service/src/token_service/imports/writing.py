"""Many orders in one transaction: numbered, authenticated, enciphered together and copied in.

The lean way of `tokens.issuing` for rows by the thousand; what is written is the same.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
from shared.db import Database

from token_service.counting.store import CampaignCount, add_campaign_counts, hour_of
from token_service.imports import store
from token_service.imports.rows import RowProblem
from token_service.keys.material import TokenKey
from token_service.keys.ring import KeyRing
from token_service.keys.sequences import Sequences
from token_service.tokens import store as token_store
from token_service.tokens.content import mac_text
from token_service.tokens.domain import Content, Token, TokenId
from token_service.tokens.format import Plain, expiry_minute_of
from token_service.tokens.issuing import Placements
from token_service.tokens.orders import Order
from token_service.tokens.store import Placement
from token_service.transactions import driver_transaction

_NEVER_VALID: Final = "never_valid"


class Minted(NamedTuple):
    """A row's token; `is_repeated` where its reference had one before."""

    token: str
    expires_at: datetime | None
    is_repeated: bool


Outcome = Minted | RowProblem


@dataclass(frozen=True, slots=True)
class _Prepared:
    place: int
    order: Order
    plain: Plain
    content: Content


@dataclass(frozen=True, slots=True)
class RowWriters:
    """Makes writers; one a process."""

    database: Database
    ring: KeyRing
    sequences: Sequences

    def of(self, tenant: str) -> "RowWriter":
        return RowWriter(self, tenant)


class RowWriter:
    """Writes rows for one tenant."""

    def __init__(self, parts: RowWriters, tenant: str) -> None:
        self._database = parts.database
        self._ring = parts.ring
        self._sequences = parts.sequences
        self._tenant = tenant
        self._placements = Placements()

    async def write(self, orders: Sequence[Order]) -> list[Outcome]:
        """What became of each; good rows land in one transaction, or none of them does.

        Raises:
            OutcomeUnknown: the connection was lost while committing.
            Unavailable: nothing was kept.
        """
        key, sequences = await self._sequences.take(self._tenant, len(orders))
        async with driver_transaction(self._database) as connection:
            wanted = {Placement(self._tenant, order.campaign_id, order.base_url) for order in orders}
            placements = await self._placements.of(connection, wanted)
            now = await token_store.read_clock(connection)
            outcomes: list[Outcome | None] = [None] * len(orders)
            prepared = self._prepare(orders, sequences, now, outcomes)
            fresh, repeated = await self._claim_references(connection, prepared, key)
            await self._copy(connection, fresh, key, placements)
            for each, token in zip(fresh, key.mint_many(each.plain for each in fresh), strict=True):
                outcomes[each.place] = Minted(token, each.content.expires_at, False)
            if repeated:
                await self._repeat(connection, repeated, outcomes)
            hour = hour_of(now)
            counts = Counter(CampaignCount(self._tenant, each.order.campaign_id, hour, "issued", "") for each in fresh)
            await add_campaign_counts(connection, counts)
        self._placements.keep(placements)
        return [outcome for outcome in outcomes if outcome is not None]

    def _prepare(
        self, orders: Sequence[Order], sequences: range, now: datetime, outcomes: list[Outcome | None]
    ) -> list[_Prepared]:
        prepared = []
        for place, (order, sequence) in enumerate(zip(orders, sequences, strict=True)):
            try:
                content = order.content(now)
                plain = Plain(sequence, expiry_minute_of(content.expires_at))
            except ValueError as error:
                outcomes[place] = RowProblem(f"the token would never be good: {error}", code=_NEVER_VALID)
            else:
                prepared.append(_Prepared(place, order, plain, content))
        return prepared

    async def _claim_references(
        self, connection: asyncpg.Connection, prepared: list[_Prepared], key: TokenKey
    ) -> tuple[list[_Prepared], list[_Prepared]]:
        """Those that are new, and those whose reference has a token already."""
        rows = [
            (self._tenant, p.order.campaign_id, p.order.reference, p.plain.sequence, p.content.expires_at, key.number)
            for p in prepared
            if p.order.reference is not None
        ]
        if not rows:
            return prepared, []
        claimed = await store.claim_references(connection, rows)
        fresh: list[_Prepared] = []
        repeated: list[_Prepared] = []
        for each in prepared:
            is_fresh = each.order.reference is None or each.plain.sequence in claimed
            (fresh if is_fresh else repeated).append(each)
        return fresh, repeated

    async def _copy(
        self,
        connection: asyncpg.Connection,
        fresh: Sequence[_Prepared],
        key: TokenKey,
        placements: dict[Placement, int],
    ) -> None:
        tenant, number, mac = self._tenant, key.number, key.mac
        records: list[tuple[Any, ...]] = []
        for _, order, plain, content in map(_parts, fresh):
            placement = placements[Placement(tenant, order.campaign_id, order.base_url)]
            token_id = TokenId(tenant, number, plain.sequence)
            records.append(
                token_store.record_of(
                    token_store.NewToken(token_id, content, placement, mac(mac_text(token_id, content)))
                )
            )
        if records:
            await token_store.copy_tokens(connection, records)

    async def _repeat(
        self, connection: asyncpg.Connection, repeated: Sequence[_Prepared], outcomes: list[Outcome | None]
    ) -> None:
        """The tokens that these references have, where the rows are the same."""
        references = {(each.order.campaign_id, each.order.reference or "") for each in repeated}
        ids = await store.read_references(connection, self._tenant, references)
        found = await token_store.read_tokens(connection, set(ids.values()))
        for each in repeated:
            token_id = ids.get((each.order.campaign_id, each.order.reference or ""))
            row = None if token_id is None else found.get(token_id)
            key = None if token_id is None else self._ring.key(self._tenant, token_id.key_number)
            if row is None or key is None or not _is_same(row.token, each.order):
                outcomes[each.place] = RowProblem(
                    "was used for another token of this campaign", code="reference_reused", field="reference"
                )
                continue
            content = row.token.content
            plain = Plain(row.token.id.sequence, expiry_minute_of(content.expires_at))
            outcomes[each.place] = Minted(key.mint(plain), content.expires_at, True)


def _parts(prepared: _Prepared) -> tuple[int, Order, Plain, Content]:
    return prepared.place, prepared.order, prepared.plain, prepared.content


def _is_same(token: Token, order: Order) -> bool:
    """Whether a row asks for what a token is; times are counted from its own issuing."""
    return order.content(token.content.issued_at) == token.content
