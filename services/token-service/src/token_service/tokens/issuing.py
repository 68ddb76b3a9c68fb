"""Issuing: numbers, keys and rows. Answered tokens are durable.

issue → number → line → place → clock → authenticate → write all → COMMIT → answer each
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from prometheus_client import Counter as Metric
from shared.bounded import Bounded
from shared.db import Database
from shared.errors import Malformed
from shared.group_commit import GroupCommit
from shared.web.time_zones import TimeZones

from token_service.counting.store import CampaignCount, add_campaign_counts, hour_of
from token_service.keys.material import TokenKey
from token_service.keys.sequences import Sequences
from token_service.tokens import store
from token_service.tokens.content import mac_text, versioned
from token_service.tokens.domain import TokenId
from token_service.tokens.format import Plain, expiry_minute_of
from token_service.tokens.orders import url_link
from token_service.tokens.store import Placement
from token_service.tokens.terms import Content, Order

_PLACEMENTS: Final = 50_000
#: From this number of rows on, COPY replaces INSERT.
_MANY: Final = 64
_issued = Metric("tokens_issued", "Tokens issued.")


class NeverValid(Malformed):
    """The order is well-formed, but its token could never be used."""

    code = "never_valid"


@dataclass(frozen=True, slots=True)
class Issued:
    """A durable token."""

    token: str
    content: Content

    @property
    def url_link(self) -> str:
        return url_link(self.content.terms.base_url, self.token)


@dataclass(frozen=True, slots=True)
class Numbered:
    """An order with the key and number of its token."""

    tenant: str
    order: Order
    key: TokenKey
    sequence: int


class Placements:
    """The numbers of committed placements, which never change."""

    def __init__(self) -> None:
        self._numbers: Bounded[Placement, int] = Bounded(_PLACEMENTS)

    async def of(self, connection: asyncpg.Connection, wanted: set[Placement]) -> dict[Placement, int]:
        """The number of each placement. New ones are written in the transaction, and kept after its COMMIT."""
        known = {placement: self._numbers.get(placement) for placement in wanted}
        found = {placement: number for placement, number in known.items() if number is not None}
        missing = [placement for placement in wanted if placement not in found]
        return found | (await store.place(connection, missing) if missing else {})

    def keep(self, numbers: dict[Placement, int]) -> None:
        """After the commit."""
        for placement, number in numbers.items():
            self._numbers.keep(placement, number)


class Issuing:
    """One a process."""

    def __init__(
        self, database: Database, sequences: Sequences, zones: TimeZones, *, lanes: int = 2, batch_size: int = 256
    ) -> None:
        self._database = database
        self._sequences = sequences
        self._zones = zones
        self._placements = Placements()
        self._line = GroupCommit[Numbered, Issued](
            self._write_line,
            name="tokens_issue",
            lanes=lanes,
            batch_size=batch_size,
            tenant_of=lambda numbered: numbered.tenant,
            is_of_one_tenant=database.is_distributed,
        )

    async def issue(self, tenant: str, order: Order) -> Issued:
        """Issues a token. Concurrent calls are written together.

        Raises:
            NeverValid: see there.
            Unavailable: nothing was kept.
        """
        (numbered,) = await self.number(tenant, [order])
        return await self._line.submit(numbered)

    async def issue_all(self, tenant: str, orders: Sequence[Order]) -> list[Issued]:
        """Issues all or none, in one transaction.

        Raises:
            NeverValid: names the place of the order.
            Unavailable: nothing was kept.
        """
        numbered = await self.number(tenant, orders)
        async with self._database.driver_transaction() as connection:
            issued, placements = await self.write(connection, numbered)
        self._placements.keep(placements)
        return issued

    async def number(self, tenant: str, orders: Sequence[Order]) -> list[Numbered]:
        """Gives each order its number, in a separate transaction if the process has none left."""
        key, sequences = await self._sequences.take(tenant, len(orders))
        return [Numbered(tenant, order, key, number) for order, number in zip(orders, sequences, strict=True)]

    async def write(
        self, connection: asyncpg.Connection, numbered: Sequence[Numbered]
    ) -> tuple[list[Issued], dict[Placement, int]]:
        """Writes all within the caller's transaction; returns the new placements, to keep after its COMMIT."""
        results, placements = await self._write(connection, numbered)
        issued = []
        for place, result in enumerate(results):
            if isinstance(result, NeverValid):
                raise NeverValid(
                    f"{place}: {result.message}", errors=[{"field": str(place), "message": result.message}]
                )
            issued.append(result)
        return issued, placements

    def keep(self, placements: dict[Placement, int]) -> None:
        """Call after the COMMIT of `write`."""
        self._placements.keep(placements)

    async def close(self) -> None:
        """Accepts no more orders and finishes those that wait."""
        await self._line.close()

    async def _write_line(self, numbered: Sequence[Numbered]) -> Sequence[Issued | Exception]:
        async with self._database.raw_transaction() as connection:
            results, placements = await self._write(connection, numbered)
        self._placements.keep(placements)
        return results

    async def _write(
        self, connection: asyncpg.Connection, numbered: Sequence[Numbered]
    ) -> tuple[list[Issued | NeverValid], dict[Placement, int]]:
        placements = await self._placements.of(connection, {_placement(each) for each in numbered})
        now = await store.read_clock(connection)
        results: list[Issued | NeverValid] = []
        records: list[tuple[Any, ...]] = []
        for each in numbered:
            try:
                content = each.order.content(now, self._zones.of(each.tenant))
            except ValueError as error:
                results.append(NeverValid(f"The token would never be good: {error}."))
                continue
            token_id = TokenId(each.tenant, each.key.number, each.sequence)
            mac = versioned(each.key.mac(mac_text(token_id, content)))
            records.append(store.record_of(token_id, content, placements[_placement(each)], mac))
            results.append(Issued(each.key.mint(Plain(each.sequence, expiry_minute_of(content.expires_at))), content))
        hour = hour_of(now)
        issued = [each for each, result in zip(numbered, results, strict=True) if isinstance(result, Issued)]
        counts = Counter(
            CampaignCount(each.tenant, each.order.terms.campaign_id, hour, "issued", "") for each in issued
        )
        if 0 < len(records) < _MANY:
            await store.insert_tokens(connection, records, counts)
        elif records:
            await store.copy_tokens(connection, map(store.copied, records))
            await add_campaign_counts(connection, counts)
        _issued.inc(len(issued))
        return results, placements


def _placement(numbered: Numbered) -> Placement:
    terms = numbered.order.terms
    return Placement(numbered.tenant, terms.campaign_id, terms.base_url)
