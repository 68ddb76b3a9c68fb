"""`python -m points_ledger verify`: recomputes every balance from the entries and holds, while the service runs, and
checks the chain of seals.

It goes through the accounts in slices. Each slice is one statement and so one snapshot: concurrent writes cannot look
like a difference, and no transaction lasts long enough to hold back vacuum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from shared.database_url import DatabaseUrl
from shared.seals.checking import Checked, Checking, Head
from shared.seals.command import Report, Told, silent
from sqlalchemy.ext.asyncio import AsyncEngine

from points_ledger.seals.sealed import SEALED_ENTRIES
from points_ledger.tables import accounts, seals

#: A slice has so many accounts at most, and ends sooner when their entries are as many as this. An account alone may
#: have more.
_ACCOUNTS: Final = 500
_ENTRIES: Final = 20_000
_BY_INDEX: Final = sa.text("SET LOCAL enable_seqscan = off")


class _Owner(NamedTuple):
    tenant: str
    user_id: str


class _Slice(NamedTuple):
    """Accounts behind `after`, up to `up_to` or, None, to the end. What lies between accounts belongs to it too."""

    after: _Owner
    up_to: _Owner | None
    accounts: int
    entries: int


#: Before all accounts: a tenant has a name.
_START: Final = _Owner("", "")


def _differences(within: str) -> sa.TextClause:
    """
    Args:
        within: the condition on (tenant, user_id).
    """
    # nosemgrep: sql-text-in-f-string — one of two constants below
    return sa.text(
        f"""
    WITH summed AS (
      SELECT tenant, user_id, sum(points) AS total, count(*) AS entries, max(number) AS newest,
             bool_and(balance = running) AS runs
        FROM (SELECT tenant, user_id, number, points, balance,
                     sum(points) OVER (PARTITION BY tenant, user_id ORDER BY number) AS running
                FROM points_ledger.entries
               WHERE {within}) AS lines
       GROUP BY tenant, user_id
    ), holds AS (
      SELECT tenant, user_id, sum(points) AS held
        FROM points_ledger.transactions
       WHERE state = 'held' AND {within}
       GROUP BY tenant, user_id
    ), spent AS (
      SELECT tenant, user_id, sum(refunded - deducted) AS redeemed
        FROM points_ledger.transactions
       WHERE state = 'confirmed' AND {within}
       GROUP BY tenant, user_id
    ), redeemed AS (
      SELECT tenant, user_id, sum(points) AS redeemed
        FROM points_ledger.entries
       WHERE kind IN ('redemption', 'refund') AND {within}
       GROUP BY tenant, user_id
    ), kept AS (
      SELECT * FROM points_ledger.accounts WHERE {within}
    )
    SELECT tenant, user_id,
           coalesce(a.available, 0) + coalesce(a.held, 0) AS total, coalesce(summed.total, 0) AS entered,
           coalesce(a.held, 0) AS held, coalesce(holds.held, 0) AS holds,
           coalesce(a.entries, 0) AS counted, coalesce(summed.entries, 0) AS entries,
           coalesce(spent.redeemed, 0) AS spent, coalesce(redeemed.redeemed, 0) AS redeemed,
           coalesce(summed.runs, true) AND coalesce(summed.newest = summed.entries, true) AS runs
      FROM kept a
      FULL JOIN summed USING (tenant, user_id)
      FULL JOIN holds USING (tenant, user_id)
      FULL JOIN spent USING (tenant, user_id)
      FULL JOIN redeemed USING (tenant, user_id)
     WHERE coalesce(a.available, 0) + coalesce(a.held, 0) <> coalesce(summed.total, 0)
        OR coalesce(a.held, 0) <> coalesce(holds.held, 0)
        OR coalesce(a.entries, 0) <> coalesce(summed.entries, 0)
        OR coalesce(spent.redeemed, 0) <> coalesce(redeemed.redeemed, 0)
        OR NOT (coalesce(summed.runs, true) AND coalesce(summed.newest = summed.entries, true))
     ORDER BY tenant, user_id
     LIMIT :at_most
    """  # noqa: S608 — the condition is a constant
    )


def _transactions(within: str) -> sa.TextClause:
    """One by one: two wrong ones in an account may make up for each other."""
    # nosemgrep: sql-text-in-f-string — one of two constants below
    return sa.text(
        f"""
    WITH ended AS (
      SELECT tenant, user_id, vendor_id, transaction_id, deducted, refunded, description, ended_at
        FROM points_ledger.transactions
       WHERE state = 'confirmed' AND {within}
    ), redeemed AS (
      SELECT tenant, user_id, source AS vendor_id, reference AS transaction_id, -points AS points, reason, created_at
        FROM points_ledger.entries
       WHERE kind = 'redemption' AND {within}
    ), given_back AS (
      SELECT tenant, user_id, source AS vendor_id, split_part(reference, E'\\x1f', 1) AS transaction_id,
             sum(points) AS points
        FROM points_ledger.entries
       WHERE kind = 'refund' AND {within}
       GROUP BY 1, 2, 3, 4
    )
    SELECT tenant, user_id, vendor_id, transaction_id,
           coalesce(ended.deducted, 0) AS deducted, coalesce(redeemed.points, 0) AS redeemed,
           coalesce(ended.refunded, 0) AS refunded, coalesce(given_back.points, 0) AS given_back,
           ended.description IS DISTINCT FROM redeemed.reason AS other_words,
           ended.ended_at IS DISTINCT FROM redeemed.created_at AS other_time
      FROM ended
      FULL JOIN redeemed USING (tenant, user_id, vendor_id, transaction_id)
      FULL JOIN given_back USING (tenant, user_id, vendor_id, transaction_id)
     WHERE coalesce(ended.deducted, 0) <> coalesce(redeemed.points, 0)
        OR coalesce(ended.refunded, 0) <> coalesce(given_back.points, 0)
        OR ended.description IS DISTINCT FROM redeemed.reason
        OR ended.ended_at IS DISTINCT FROM redeemed.created_at
     ORDER BY tenant, user_id, vendor_id, transaction_id
     LIMIT :at_most
    """  # noqa: S608 — the condition is a constant
    )


_BEHIND: Final = "(tenant, user_id) > (:after_tenant, :after_user)"
_BETWEEN: Final = f"{_BEHIND} AND (tenant, user_id) <= (:last_tenant, :last_user)"
_DIFFERENCES: Final = {True: _differences(_BEHIND), False: _differences(_BETWEEN)}
_TRANSACTIONS: Final = {True: _transactions(_BEHIND), False: _transactions(_BETWEEN)}


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and a sentence for each account, transaction and link that differs, up to a bound each."""

    accounts: int
    entries: int
    checked: Checked
    differences: list[str]

    @property
    def report(self) -> Report:
        summary = (
            f"looked at {self.accounts:,} accounts and {self.entries:,} entries,"
            f" of which {self.checked.rows:,} lie in {self.checked.seals:,} seals"
        )
        return Report(summary, self.differences, self.checked.heads)


async def verify(database_url: str, *, at_most: int = 100, heads: Sequence[Head] = (), told: Told = silent) -> Verified:
    """Locks nothing, and keeps one slice in memory.

    Args:
        at_most: so many accounts, so many transactions and so many links are named.
        heads: of chains, as they were noted outside.
        told: hears how far it is.
    """
    engine = DatabaseUrl(database_url).engine()
    differing: list[str] = []
    differing_transactions: list[str] = []
    done = entries = 0
    try:
        async with engine.connect() as connection:
            total = (await connection.execute(sa.select(sa.func.count()).select_from(accounts))).scalar_one()
        after: _Owner | None = _START
        while after is not None:
            one = await _next_slice(engine, after)
            given: dict[str, Any] = {"after_tenant": one.after.tenant, "after_user": one.after.user_id}
            if one.up_to is not None:
                given |= {"last_tenant": one.up_to.tenant, "last_user": one.up_to.user_id}
            is_last = one.up_to is None
            for statement, say, found in (
                (_DIFFERENCES[is_last], _say, differing),
                (_TRANSACTIONS[is_last], _say_of_transaction, differing_transactions),
            ):
                if len(found) < at_most:
                    async with engine.connect() as connection:
                        await connection.execute(_BY_INDEX)
                        rows = await connection.execute(statement, given | {"at_most": at_most - len(found)})
                        found += [say(row) for row in rows]
            done += one.accounts
            entries += one.entries
            told("accounts", done, total)
            after = one.up_to
        checking = Checking(engine, seals, [SEALED_ENTRIES], heads=heads, at_most=at_most, told=told)
        checked = await checking.check()
    finally:
        await engine.dispose()
    return Verified(done, entries, checked, [*differing, *differing_transactions, *checked.differences])


async def _next_slice(engine: AsyncEngine, after: _Owner) -> _Slice:
    columns = accounts.c
    owner = sa.tuple_(columns.tenant, columns.user_id)
    query = (
        sa.select(columns.tenant, columns.user_id, columns.entries)
        .where(owner > sa.tuple_(*(sa.literal(value, sa.Text) for value in after)))
        .order_by(columns.tenant, columns.user_id)
        .limit(_ACCOUNTS)
    )
    async with engine.connect() as connection:
        found = (await connection.execute(query)).all()
    entries = 0
    for place, row in enumerate(found, start=1):
        entries += row.entries
        if place == _ACCOUNTS or (entries >= _ENTRIES and place < len(found)):
            return _Slice(after, _Owner(row.tenant, row.user_id), place, entries)
    return _Slice(after, None, len(found), entries)


def _say_of_transaction(row: sa.Row[Any]) -> str:
    found = row._mapping
    differences = [
        f"{what} {found[kept]}, but its entries say {found[entered]}"
        for what, kept, entered in (
            ("it deducted", "deducted", "redeemed"),
            ("it gave back", "refunded", "given_back"),
        )
        if found[kept] != found[entered]
    ]
    if not differences and found["other_words"]:
        differences.append("its entry has another reason")
    if not differences and found["other_time"]:
        differences.append("its entry has another time")
    return (
        f"transaction {found['transaction_id']} of vendor {found['vendor_id']}, account {found['user_id']}"
        f" of tenant {found['tenant']}: " + "; ".join(differences)
    )


def _say(row: sa.Row[Any]) -> str:
    found = row._mapping
    differences = [
        f"{what} {found[kept]}, but {source} {found[computed]}"
        for what, kept, source, computed in (
            ("its total is", "total", "its entries add up to", "entered"),
            ("held are", "held", "its open holds add up to", "holds"),
            ("it counts entries:", "counted", "there are", "entries"),
            ("its transactions redeemed", "spent", "its entries say", "redeemed"),
        )
        if found[kept] != found[computed]
    ]
    if not found["runs"]:
        differences.append("a balance in its statement is not the sum of the entries before it, or one is missing")
    return f"account {found['user_id']} of tenant {found['tenant']}: " + "; ".join(differences)
