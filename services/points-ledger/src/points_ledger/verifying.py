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
     LIMIT 1
    """
)


@dataclass(frozen=True, slots=True)
class Verified:
    """How many rows were checked, and a description of the first account that differs."""

    accounts: int
    entries: int
    difference: str | None


async def verify(database_url: str) -> Verified:
    """Reads everything once and locks nothing."""
    engine = DatabaseUrl(database_url).engine()
    try:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            row = (await connection.execute(_DIFFERENCES)).first()
            accounts = (await connection.execute(sa.text("SELECT count(*) FROM points_ledger.accounts"))).scalar_one()
            entries = (await connection.execute(sa.text("SELECT count(*) FROM points_ledger.entries"))).scalar_one()
    finally:
        await engine.dispose()
    return Verified(accounts, entries, None if row is None else _say(row))


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
