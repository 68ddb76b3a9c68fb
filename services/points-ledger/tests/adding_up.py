"""Recomputes from its rows, by SQL of its own, whether a tenant's ledger adds up."""

import asyncpg

_ACCOUNTS = """
SELECT a.user_id, a.available, a.held, a.entries,
       coalesce(e.total, 0) AS total, coalesce(e.count, 0) AS count, coalesce(e.newest, 0) AS newest,
       coalesce(t.held, 0) AS open_holds
  FROM points_ledger.accounts a
  LEFT JOIN (SELECT user_id, sum(points) AS total, count(*) AS count, max(number) AS newest
               FROM points_ledger.entries WHERE tenant = $1 GROUP BY user_id) e USING (user_id)
  LEFT JOIN (SELECT user_id, sum(points) AS held
               FROM points_ledger.transactions WHERE tenant = $1 AND state = 'held' GROUP BY user_id) t USING (user_id)
 WHERE a.tenant = $1
   AND (a.available < 0 OR a.held < 0
        OR a.available + a.held <> coalesce(e.total, 0)
        OR a.held <> coalesce(t.held, 0)
        OR a.entries <> coalesce(e.count, 0) OR a.entries <> coalesce(e.newest, 0))
"""
_BALANCES = """
SELECT user_id, number, balance, running
  FROM (SELECT user_id, number, balance, sum(points) OVER (PARTITION BY user_id ORDER BY number) AS running
          FROM points_ledger.entries WHERE tenant = $1) statement
 WHERE balance <> running
"""
_TRANSACTIONS = """
SELECT t.vendor_id, t.transaction_id, t.state, t.deducted, t.refunded, r.points AS redeemed, b.points AS given_back
  FROM points_ledger.transactions t
  LEFT JOIN points_ledger.entries r ON r.tenant = t.tenant AND r.user_id = t.user_id AND r.kind = 'redemption'
        AND r.source = t.vendor_id AND r.reference = t.transaction_id
  LEFT JOIN LATERAL (
        SELECT sum(points) AS points FROM points_ledger.entries f
         WHERE f.tenant = t.tenant AND f.user_id = t.user_id AND f.kind = 'refund' AND f.source = t.vendor_id
           AND starts_with(f.reference, t.transaction_id || E'\\x1f')) b ON true
 WHERE t.tenant = $1
   AND (coalesce(-r.points, 0) <> t.deducted OR coalesce(b.points, 0) <> t.refunded)
"""


async def what_does_not_add_up(connection: asyncpg.Connection, tenant: str) -> list[str]:
    """One line for each account, entry and transaction that contradicts another; empty when all is well."""
    wrong = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for question in (_ACCOUNTS, _BALANCES, _TRANSACTIONS):
            wrong += [str(dict(row)) for row in await connection.fetch(question, tenant)]
    return wrong
