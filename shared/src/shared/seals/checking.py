"""Reads a chain and its rows again, and says what differs: one seal after the other, each in a short transaction."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.seals.domain import WIDTH, Key, Seal
from shared.seals.rows import SealedTable
from shared.seals.store import lengths_of, seals_behind

#: Seals that are read at once, with their contents.
_SEALS_AT_ONCE: Final = 20
#: Where a seal's rows are not as many as it says, so many more are looked at.
_MORE_ROWS: Final = 1000
_BY_INDEX: Final = sa.text("SET LOCAL enable_seqscan = off")


@dataclass(frozen=True, slots=True)
class Head:
    """The last seal of a chain, as somebody noted it outside of the database: `TENANT:NUMBER:HASH`, with the name of
    the table in front where a service has several."""

    chain: str
    tenant: str
    number: int
    hash: str

    @classmethod
    def read(cls, text: str, chains: Sequence[str]) -> "Head":
        """
        Raises:
            ValueError: it is something else.
        """
        *named, tenant, number, digest = text.split(":") if text.count(":") >= 2 else ("", "", "")
        chain = named[0] if len(named) == 1 else chains[0] if not named and len(chains) == 1 else ""
        if chain not in chains or not tenant or not number.isdecimal() or len(digest) != 2 * WIDTH:
            forms = "TENANT:NUMBER:HASH" if len(chains) == 1 else f"TABLE:TENANT:NUMBER:HASH with {' or '.join(chains)}"
            raise ValueError(f"{text!r} is no head of a chain: write {forms}")
        return cls(chain, tenant, int(number), digest.lower())

    def __str__(self) -> str:
        return f"{self.chain}:{self.tenant}:{self.number}:{self.hash}"


@dataclass(slots=True)
class Checked:
    """What was found."""

    seals: int = 0
    rows: int = 0
    #: A sentence for each, up to a bound; the first of a chain is its first broken link.
    differences: list[str] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)


class Checking:
    """Checks the chains of some tables.

    Args:
        heads: as they were noted outside; a chain that was written anew does not have them.
        at_most: so many differences are named.
        told: hears what is checked, how many so far and of how many.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        seals: sa.Table,
        tables: Sequence[SealedTable],
        *,
        heads: Sequence[Head] = (),
        at_most: int = 100,
        told: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        self._engine = engine
        self._seals = seals
        self._tables = tables
        self._heads = {(head.chain, head.tenant, head.number): head for head in heads}
        self._at_most = at_most
        self._told = told

    async def check(self) -> Checked:
        """Goes through all chains of all tenants."""
        checked = Checked()
        for sealed in self._tables:
            async with self._reading() as connection:
                lengths = await lengths_of(connection, self._seals, sealed.chain)
            tenants = lengths.keys() | {head.tenant for head in self._heads.values() if head.chain == sealed.chain}
            total = checked.seals + sum(lengths.values())
            for tenant in sorted(tenants):
                await self._check_chain(sealed, tenant, checked, total)
        return checked

    async def _check_chain(self, sealed: SealedTable, tenant: str, checked: Checked, total: int) -> None:
        last: Seal | None = None
        while len(checked.differences) < self._at_most:
            async with self._reading() as connection:
                behind = 0 if last is None else last.number
                page = await seals_behind(
                    connection, self._seals, tenant, sealed.chain, number=behind, limit=_SEALS_AT_ONCE
                )
            for seal in page:
                broken = self._broken_link(seal, last)
                if broken is not None:
                    self._differ(checked, seal, broken)
                    return
                for difference in await self._broken_rows(sealed, seal, last):
                    self._differ(checked, seal, difference)
                last = seal
                checked.seals += 1
                checked.rows += seal.rows
                self._told("seals", checked.seals, total)
            if len(page) < _SEALS_AT_ONCE:
                break
        self._check_heads(sealed.chain, tenant, last, checked)

    def _broken_link(self, seal: Seal, last: Seal | None) -> str | None:
        number, previous = (1, None) if last is None else (last.number + 1, last.hash)
        if seal.number != number:
            return f"seal {number} is missing before it"
        if seal.previous != previous:
            return "it does not follow the seal before it, which was written anew"
        if seal.computed_hash() != seal.hash:
            return "it was changed after it was written"
        noted = self._heads.get((seal.chain, seal.tenant, seal.number))
        if noted is not None and noted.hash != seal.hash.hex():
            return f"its hash is {seal.hash.hex()}, but {noted.hash} was noted: the chain was written anew"
        return None

    def _check_heads(self, chain: str, tenant: str, last: Seal | None, checked: Checked) -> None:
        number = 0 if last is None else last.number
        if last is not None:
            checked.heads.append(Head(chain, tenant, number, last.hash.hex()))
        for noted in self._heads.values():
            if (noted.chain, noted.tenant) == (chain, tenant) and noted.number > number:
                told = (
                    f"{chain} of tenant {tenant}: the chain ends with seal {number}, but seal {noted.number} was noted"
                )
                self._tell(checked, told)

    def _differ(self, checked: Checked, seal: Seal, difference: str) -> None:
        self._tell(checked, f"{seal.chain} of tenant {seal.tenant}, seal {seal.number}: {difference}")

    def _tell(self, checked: Checked, difference: str) -> None:
        if len(checked.differences) < self._at_most:
            checked.differences.append(difference)

    async def _broken_rows(self, sealed: SealedTable, seal: Seal, before: Seal | None) -> list[str]:
        if seal.version not in sealed.columns:
            return [f"it is of version {seal.version}, which is newer than this program"]
        query = sealed.rows(
            seal.tenant,
            seal.version,
            after=before,
            within=seal,
            limit=seal.rows + _MORE_ROWS,
        )
        async with self._reading() as connection:
            found = [(tuple(row[:-1]), row[-1]) for row in await connection.execute(query)]
            if b"".join(digest for _, digest in found) == seal.content:
                return []
            now = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        forgotten_before = None if sealed.kept is None else now - sealed.kept
        return list(_differences(sealed, seal, found, forgotten_before))

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            await connection.execution_options(postgresql_readonly=True)
            await connection.execute(_BY_INDEX)
            yield connection


def _differences(
    sealed: SealedTable, seal: Seal, found: Sequence[tuple[Key, bytes]], forgotten_before: datetime | None
) -> list[str]:
    """Which rows are not those that were sealed: what lies between two rows that are the same."""
    kept = [seal.content[place : place + WIDTH] for place in range(0, len(seal.content), WIDTH)]
    sealed_digests, present = set(kept), {digest for _, digest in found}
    told: list[str] = []
    known: Key | None = None
    at_kept = at_found = 0
    while at_kept < len(kept) or at_found < len(found):
        gone = sum(1 for _ in takewhile(lambda digest: digest not in present, kept[at_kept:]))
        strange = [key for key, _ in takewhile(lambda row: row[1] not in sealed_digests, found[at_found:])]
        for place, key in enumerate(strange):
            happened = "changed after it was sealed" if place < gone else "inserted after the seal was written"
            told.append(f"{sealed.name_of(key)} was {happened}")
        missing = gone - len(strange)
        if missing > 0:
            # Retention deletes by time. What is missing is younger than the row before it.
            since = seal.first_at if known is None else known[0]
            if forgotten_before is None or since >= forgotten_before:
                rows = "a row is" if missing == 1 else f"{missing} rows are"
                told.append(
                    f"{rows} missing " + ("at its beginning" if known is None else f"behind {sealed.name_of(known)}")
                )
        at_kept += gone
        at_found += len(strange)
        if at_found < len(found):
            known = found[at_found][0]
        at_kept += 1
        at_found += 1
    return told
