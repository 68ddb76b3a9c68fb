"""Cases of `sql_in_f_string.yaml`; `semgrep --test` runs them, nothing else does."""

from sqlalchemy import text

SCHEMA = "points_ledger"


async def read(connection, user_id, table):
    # ruleid: sql-in-f-string
    await connection.fetch(f"SELECT * FROM {SCHEMA}.accounts WHERE user_id = '{user_id}'")
    # ruleid: sql-in-f-string
    await connection.execute("DELETE FROM accounts WHERE user_id = '%s'" % user_id)
    # ruleid: sql-in-f-string
    await connection.execute("DELETE FROM " + table)
    # ruleid: sql-in-f-string
    await connection.fetchval("SELECT count(*) FROM {}".format(table))
    # ruleid: sql-text-in-f-string
    await connection.execute(text(f"SELECT * FROM accounts WHERE user_id = '{user_id}'"))
    # ok: sql-in-f-string
    await connection.fetch(f"SELECT * FROM {SCHEMA}.accounts WHERE user_id = $1", user_id)
    # ok: sql-text-in-f-string
    await connection.execute(text(f"SELECT * FROM {SCHEMA}.accounts WHERE user_id = :user_id"), {"user_id": user_id})
    # ok: sql-in-f-string
    await connection.fetch("SELECT * FROM accounts WHERE user_id = $1", user_id)
