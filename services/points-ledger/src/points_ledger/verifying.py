"""`python -m points_ledger verify`: recomputes every balance from the entries and holds, while the service runs.

It reads one snapshot, so that concurrent writes cannot look like a difference.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from shared.database_url import DatabaseUrl

_DIFFERENCES = sa.text(
    """
    WITH summed AS (
      SELECT tenant, user_id, sum(points) AS total, count(*) AS entries, max(number) AS newest,
             bool_and(balance = running) AS runs
        FROM (SELECT tenant, user_id, number, points, balance,
                     sum(points) OVER (PARTITION BY tenant, user_id ORDER BY number) AS running
                FROM points_ledger.entries) AS lines
       GROUP BY tenant, user_id
    ), holds AS (
      SELECT tenant, user_id, sum(points) AS held
        FROM points_ledger.transactions
       WHERE state = 'held'
       GROUP BY tenant, user_id
    ), spent AS (
      SELECT tenant, user_id, sum(refunded - deducted) AS redeemed
        FROM points_ledger.transactions
       WHERE state = 'confirmed'
       GROUP BY tenant, user_id
    ), redeemed AS (
      SELECT tenant, user_id, sum(points) AS redeemed
        FROM points_ledger.entries
       WHERE kind IN ('redemption', 'refund')
       GROUP BY tenant, user_id
    )
    SELECT tenant, user_id,
           coalesce(a.available, 0) + coalesce(a.held, 0) AS total, coalesce(summed.total, 0) AS entered,
           coalesce(a.held, 0) AS held, coalesce(holds.held, 0) AS holds,
           coalesce(a.entries, 0) AS counted, coalesce(summed.entries, 0) AS entries,
           coalesce(spent.redeemed, 0) AS spent, coalesce(redeemed.redeemed, 0) AS redeemed,
           coalesce(summed.runs, true) AND coalesce(summed.newest = summed.entries, true) AS runs
      FROM points_ledger.accounts a
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
    """
)


# One by one: two wrong ones in an account may make up for each other.
_TRANSACTIONS = sa.text(
    """
    WITH ended AS (
      SELECT tenant, user_id, vendor_id, transaction_id, deducted, refunded, description, ended_at
        FROM points_ledger.transactions
       WHERE state = 'confirmed'
    ), redeemed AS (
      SELECT tenant, user_id, source AS vendor_id, reference AS transaction_id, -points AS points, reason, created_at
        FROM points_ledger.entries
       WHERE kind = 'redemption'
    ), given_back AS (
      SELECT tenant, user_id, source AS vendor_id, split_part(reference, E'\\x1f', 1) AS transaction_id,
             sum(points) AS points
        FROM points_ledger.entries
       WHERE kind = 'refund'
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
    """
)


@dataclass(frozen=True, slots=True)
class Verified:
    """How many rows were checked, and a sentence for each account and each transaction that differs, up to a bound."""

    accounts: int
    entries: int
    differences: list[str]


async def verify(database_url: str, *, at_most: int = 100) -> Verified:
    """Reads everything once and locks nothing.

    Args:
        at_most: so many accounts, and so many transactions, are named.
    """
    engine = DatabaseUrl(database_url).engine()
    bound = {"at_most": at_most}
    try:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            differences = [_say(row) for row in await connection.execute(_DIFFERENCES, bound)]
            differences += [_say_of_transaction(row) for row in await connection.execute(_TRANSACTIONS, bound)]
            accounts = (await connection.execute(sa.text("SELECT count(*) FROM points_ledger.accounts"))).scalar_one()
            entries = (await connection.execute(sa.text("SELECT count(*) FROM points_ledger.entries"))).scalar_one()
    finally:
        await engine.dispose()
    return Verified(accounts, entries, differences)


def _say_of_transaction(row: sa.Row[tuple[object, ...]]) -> str:
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


def _say(row: sa.Row[tuple[object, ...]]) -> str:
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
