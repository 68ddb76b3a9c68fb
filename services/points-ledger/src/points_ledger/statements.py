"""The texts of the statements that write points, and of those that read in the same transaction; `store` sends them.

They take whole batches, as JSON or as arrays. Each has two texts: see `shared.tenant_statements`.
"""

from typing import Final

from shared.distributed_functions import Part, writing
from shared.events.outbox import RECORDED, recording
from shared.tenant_statements import Statement, statement

#: Begins every statement of a transaction that has taken a time for its rows. `eai.queries` looks for it.
DATED: Final = "/* dated */"
_TRANSACTION = (
    "t.tenant, t.vendor_id, t.transaction_id, t.user_id, t.state, t.points, t.deducted, t.refunded, t.description,"
    " t.created_at, t.expires_at, t.ended_at"
)
_ENTRY = (
    "e.tenant, e.user_id, e.number, e.kind, e.points, e.balance, e.source, e.reference, e.reason, e.created_at,"
    " e.client_id, e.subject, e.request_id"
)

# Each row is locked as it is looked up, and they are looked up in the order of their keys.
LOCK_ACCOUNTS: Final = statement(
    """
SELECT locked.*
  FROM (SELECT tenant, user_id
          FROM json_to_recordset($1::json) AS named (tenant text, user_id text)
         ORDER BY tenant, user_id) AS wanted,
       LATERAL (SELECT a.tenant, a.user_id, a.available, a.held, a.entries, a.closed_at
                  FROM points_ledger.accounts a
                 WHERE a.tenant = «wanted» AND a.user_id = wanted.user_id
                   FOR NO KEY UPDATE OF a) AS locked
""",
    1,
)

# A separate statement after the locks: it sees everything that earlier holders of the locks committed, and it reads the
# clock that decides expiry when nobody else can change these accounts. A row that is both named and expired comes
# twice. Only accounts with held points can have expired holds.
#
# LATERAL with OFFSET makes PostgreSQL look up each row by its index. Otherwise, without statistics of a young table,
# the planner reads all holds of all accounts and keeps that plan.


def read_batch_with(at_most: int) -> Statement:
    """A text for each number: with a parameter in its place, the server would plan the statement each time anew.

    An account comes in the columns of a transaction, without the ids of one.
    """
    return statement(
        f"""{DATED}
WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS now),
     locked AS MATERIALIZED (
  SELECT account.*
    FROM json_to_recordset($1::json) AS wanted (tenant text, user_id text),
         LATERAL (SELECT a.tenant, a.user_id, a.available, a.held, a.entries, a.closed_at
                    FROM points_ledger.accounts a
                   WHERE a.tenant = «wanted» AND a.user_id = wanted.user_id
                  OFFSET 0) AS account
)
SELECT moment.now, found.*
  FROM moment
  LEFT JOIN (
    SELECT tenant, NULL AS vendor_id, NULL AS transaction_id, user_id, NULL AS state, available AS points,
           held AS deducted, entries AS refunded, NULL AS description, NULL::timestamptz AS created_at,
           NULL::timestamptz AS expires_at, closed_at AS ended_at, false AS is_due
      FROM locked
     UNION ALL
    SELECT known.*, false
      FROM json_to_recordset($2::json) AS named (tenant text, vendor_id text, transaction_id text),
           LATERAL (SELECT {_TRANSACTION}
                      FROM points_ledger.transactions t
                     WHERE t.tenant = «named» AND t.vendor_id = named.vendor_id
                       AND t.transaction_id = named.transaction_id
                    OFFSET 0) AS known
     UNION ALL
    SELECT expired.*, true
      FROM moment, locked,
           LATERAL (SELECT {_TRANSACTION}
                      FROM points_ledger.transactions t
                     WHERE t.tenant = «locked» AND t.user_id = locked.user_id AND t.state = 'held'
                       AND t.expires_at <= moment.now
                     ORDER BY t.expires_at
                     LIMIT {at_most}) AS expired
     WHERE locked.held > 0
  ) AS found ON true
""",  # noqa: S608 — the columns are a constant
        2,
    )


#: For an account with few neighbours in its batch there is time for more of its holds.
DUE: Final = (4, 16, 64, 256)
READ_BATCH: Final = {at_most: read_batch_with(at_most) for at_most in DUE}

# What is due of an account altogether, or at least so many of them.
SUM_DUE: Final = statement(
    f"""{DATED}
SELECT owner.tenant, owner.user_id, due.holds, due.points
  FROM json_to_recordset($1::json) AS owner (tenant text, user_id text),
       LATERAL (SELECT count(*) AS holds, coalesce(sum(points), 0)::bigint AS points
                  FROM (SELECT t.points
                          FROM points_ledger.transactions t
                         WHERE t.tenant = «owner» AND t.user_id = owner.user_id AND t.state = 'held'
                           AND t.expires_at <= $2
                         ORDER BY t.expires_at
                         LIMIT $3) AS looked_at) AS due
""",  # noqa: S608 — the mark is a constant
    3,
)

COUNT_OPEN: Final = statement(
    f"""{DATED}
SELECT owner.tenant, owner.user_id, owner.vendor_id, opened.holds
  FROM json_to_recordset($1::json) AS owner (tenant text, user_id text, vendor_id text),
       LATERAL (SELECT count(*) AS holds
                  FROM (SELECT 1
                          FROM points_ledger.transactions t
                         WHERE t.tenant = «owner» AND t.user_id = owner.user_id AND t.state = 'held'
                           AND t.vendor_id = owner.vendor_id AND t.expires_at > $2
                         LIMIT $3) AS looked_at) AS opened
""",  # noqa: S608 — the mark is a constant
    3,
)

# What is due of the named holds, whose accounts are locked. The database does all of it; the released holds come back
# as they were, so that their events are told.
RELEASE_DUE: Final = statement(
    f"""{DATED}
WITH due AS MATERIALIZED (
  SELECT found.*
    FROM json_to_recordset($1::json) AS named (tenant text, vendor_id text, transaction_id text),
         LATERAL (SELECT {_TRANSACTION}
                    FROM points_ledger.transactions t
                   WHERE t.tenant = «named» AND t.vendor_id = named.vendor_id
                     AND t.transaction_id = named.transaction_id
                  OFFSET 0) AS found
   WHERE found.state = 'held' AND found.expires_at <= $2::timestamptz
), released AS (
  UPDATE points_ledger.transactions t
     SET state = 'expired', ended_at = due.expires_at, touched_at = $2::timestamptz
    FROM due
   WHERE t.tenant = «due» AND t.vendor_id = due.vendor_id AND t.transaction_id = due.transaction_id
), given_back AS (
  UPDATE points_ledger.accounts a
     SET available = CASE WHEN a.closed_at IS NULL THEN a.available + sums.points ELSE 0 END,
         held = a.held - sums.points,
         entries = a.entries + (a.closed_at IS NOT NULL)::int
    FROM (SELECT tenant, user_id, sum(points)::bigint AS points FROM due GROUP BY tenant, user_id) AS sums
   WHERE a.tenant = «sums» AND a.user_id = sums.user_id
  RETURNING a.tenant, a.user_id, a.entries, a.available + a.held AS total, a.closed_at, sums.points
), lapsed AS (
  INSERT INTO points_ledger.entries
         (tenant, user_id, number, kind, points, balance, source, reference, reason, created_at)
  SELECT «given_back», user_id, entries, 'lapse', -points, total, '', entries::text, 'account closed', $2::timestamptz
    FROM given_back
   WHERE closed_at IS NOT NULL
)
SELECT * FROM due
""",  # noqa: S608 — the mark is a constant
    2,
)

READ_ENTRIES: Final = statement(
    f"""{DATED}
SELECT {_ENTRY}
  FROM json_to_recordset($1::json)
       AS named (tenant text, user_id text, kind text, source text, reference text)
  JOIN points_ledger.entries e
    ON e.tenant = «named» AND e.user_id = named.user_id AND e.kind = named.kind AND e.source = named.source
       AND e.reference = named.reference
""",  # noqa: S608 — the columns are a constant
    1,
)

READ_ANSWERS: Final = statement(
    f"""{DATED}
SELECT kept.tenant, kept.client_id, kept.key, kept.fingerprint, kept.answer
  FROM json_to_recordset($1::json) AS named (tenant text, client_id text, key text)
  JOIN points_ledger.idempotent_answers kept
    ON kept.tenant = «named» AND kept.client_id = named.client_id AND kept.key = named.key
 WHERE kept.created_at >= now() - interval '24 hours'
""",  # noqa: S608 — the mark is a constant
    1,
)

# All changes of a batch in one statement: each further one would cost as much as ten decisions. None of the five parts
# reads what another writes, and the rows of accounts and transactions are locked or new.
WRITE_CHANGES, WRITING_CHANGES = writing(
    "points_ledger",
    "write_changes",
    [
        Part(
            "kept_accounts",
            """\
  UPDATE points_ledger.accounts a
     SET available = new.available, held = new.held, entries = new.entries, closed_at = new.closed_at
    FROM json_to_recordset($1::json)
         AS new (tenant text, user_id text, available bigint, held bigint, entries bigint, closed_at timestamptz)
   WHERE a.tenant = «new» AND a.user_id = new.user_id""",
            rows=1,
        ),
        Part(
            "new_transactions",
            """\
  INSERT INTO points_ledger.transactions
         (tenant, vendor_id, transaction_id, user_id, state, points, deducted, refunded, description,
          created_at, expires_at, ended_at, touched_at)
  SELECT «new», new.vendor_id, new.transaction_id, new.user_id, new.state, new.points, new.deducted, new.refunded,
         new.description, new.created_at, new.expires_at, new.ended_at, $10::timestamptz
    FROM json_to_recordset($2::json)
         AS new (tenant text, vendor_id text, transaction_id text, user_id text, state text, points bigint,
                 deducted bigint, refunded bigint, description text, created_at timestamptz, expires_at timestamptz,
                 ended_at timestamptz)""",
            rows=2,
        ),
        Part(
            "changed_transactions",
            """\
  UPDATE points_ledger.transactions t
     SET state = new.state, deducted = new.deducted, refunded = new.refunded, ended_at = new.ended_at,
         touched_at = $10::timestamptz
    FROM json_to_recordset($3::json)
         AS new (tenant text, vendor_id text, transaction_id text, state text, deducted bigint, refunded bigint,
                 ended_at timestamptz)
   WHERE t.tenant = «new» AND t.vendor_id = new.vendor_id AND t.transaction_id = new.transaction_id""",
            rows=3,
        ),
        Part("told", f"  {recording('points_ledger', 5, tenant='«told»')}", rows=5),
        Part(
            "new_entries",
            """\
INSERT INTO points_ledger.entries
       (tenant, user_id, number, kind, points, balance, source, reference, reason, created_at,
        client_id, subject, request_id)
SELECT «new», new.user_id, new.number, new.kind, new.points, new.balance, new.source, new.reference, new.reason,
       new.created_at, new.client_id, new.subject, new.request_id
  FROM json_to_recordset($4::json)
    AS new (tenant text, user_id text, number bigint, kind text, points bigint, balance bigint, source text,
            reference text, reason text, created_at timestamptz, client_id text, subject text, request_id text)
""",
            rows=4,
        ),
    ],
    [*["json"] * 4, *RECORDED, "timestamptz"],
    mark=DATED,
)

# What a block of an import comes to. Its rows are many and alike: as arrays they take the driver and the server less
# time than as JSON, and numbers as the text of an array, whose elements the driver does not look at one by one. Neither
# part reads what another writes, and the rows of accounts are locked. With OFFSET the tenant is no constant to the
# planner, which might read all accounts of it.
WRITE_CREDITS, WRITING_CREDITS = writing(
    "points_ledger",
    "write_credits",
    [
        Part(
            "kept_accounts",
            """\
  UPDATE points_ledger.accounts a
     SET available = new.available, entries = new.entries
    FROM (SELECT $9::text AS tenant, given.user_id, given.available, given.entries
            FROM unnest($1::text[], $2::text::bigint[], $3::text::bigint[]) AS given (user_id, available, entries)
          OFFSET 0) AS new
   WHERE a.tenant = «new» AND a.user_id = new.user_id""",
            rows=1,
        ),
        Part("told", f"  {recording('points_ledger', 4, tenant='«told»')}", rows=4),
        Part(
            "new_entries",
            """\
INSERT INTO points_ledger.entries
       (tenant, user_id, number, kind, points, balance, source, reference, reason, created_at,
        client_id, subject, request_id)
SELECT «new», new.user_id, new.number, 'credit', new.points, new.balance, '', new.reference, new.reason,
       $16::timestamptz, $17::text, $18::text, $19::text
  FROM (SELECT $9::text AS tenant, given.*
          FROM unnest($10::text[], $11::text::bigint[], $12::text::bigint[], $13::text::bigint[], $14::text[],
                      $15::text[])
            AS given (user_id, number, points, balance, reference, reason)) AS new
""",
            rows=10,
        ),
    ],
    [
        *("text[]", "text", "text"),
        *RECORDED,
        "text",
        *("text[]", "text", "text", "text", "text[]", "text[]"),
        *("timestamptz", "text", "text", "text"),
    ],
    mark=DATED,
)

# A function as well, though of one part: the order of a tenant's events is given by numbers, and those that different
# servers give stand in no order.
TELL, TELLING = writing(
    "points_ledger", "tell", [Part("told", recording("points_ledger", tenant="«told»"), rows=1)], RECORDED, mark=DATED
)

# What another transaction has touched later stays as late.
TOUCH_TRANSACTIONS: Final = statement(
    f"""{DATED}
UPDATE points_ledger.transactions t
   SET touched_at = greatest(t.touched_at, $2::timestamptz)
  FROM (SELECT found.tenant, found.vendor_id, found.transaction_id
          FROM json_to_recordset($1::json) AS named (tenant text, vendor_id text, transaction_id text)
          JOIN points_ledger.transactions found
            ON found.tenant = «named» AND found.vendor_id = named.vendor_id
               AND found.transaction_id = named.transaction_id
           FOR NO KEY UPDATE OF found SKIP LOCKED) free
 WHERE t.tenant = «free» AND t.vendor_id = free.vendor_id AND t.transaction_id = free.transaction_id
""",  # noqa: S608 — the mark is a constant
    2,
)

# An answer older than 24 h is replaced. A younger one, written by another batch, makes the count too small.
WRITE_ANSWERS: Final = statement(
    f"""{DATED}
INSERT INTO points_ledger.idempotent_answers AS kept (tenant, client_id, key, fingerprint, answer)
SELECT «new», new.client_id, new.key, new.fingerprint, new.answer
  FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[])
    AS new (tenant, client_id, key, fingerprint, answer)
 ORDER BY new.tenant, new.client_id, new.key
    ON CONFLICT (tenant, client_id, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, answer = excluded.answer, created_at = excluded.created_at
 WHERE excluded.created_at - kept.created_at > interval '24 hours'
""",  # noqa: S608 — the mark is a constant
    5,
)

# Writes the row unchanged, so that the replay waits until the first answer is durable. It waits for no other batch.
TOUCH_ANSWERS: Final = statement(
    f"""{DATED}
UPDATE points_ledger.idempotent_answers kept
   SET fingerprint = kept.fingerprint
  FROM (SELECT found.tenant, found.client_id, found.key
          FROM json_to_recordset($1::json) AS named (tenant text, client_id text, key text)
          JOIN points_ledger.idempotent_answers found
            ON found.tenant = «named» AND found.client_id = named.client_id AND found.key = named.key
           FOR NO KEY UPDATE OF found SKIP LOCKED) free
 WHERE kept.tenant = «free» AND kept.client_id = free.client_id AND kept.key = free.key
""",  # noqa: S608 — the mark is a constant
    1,
)
