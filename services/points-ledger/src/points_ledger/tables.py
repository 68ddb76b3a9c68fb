"""Tables and the constraints that the database enforces. The tenant leads every key, so that tenants can be moved
apart."""

from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from shared.acts import define_acts_table
from shared.distributed_functions import with_functions
from shared.events.tables import define_event_tables
from shared.idempotency import define_answers_table
from shared.sandboxes.tables import define_sandbox_tables
from shared.seals.tables import define_seals_table, one_to_seal
from shared.tables import NAMES, append_only, built_beside, in_sandbox

from points_ledger.domain.accounts import MAX_POINTS
from points_ledger.statements import TELLING, WRITING_CHANGES, WRITING_CREDITS

SCHEMA = "points_ledger"

metadata = sa.MetaData(
    schema=SCHEMA,
    naming_convention=NAMES,
    info=with_functions(WRITING_CHANGES, TELLING, WRITING_CREDITS),
)


def _time(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


# A condition that every row meets and only one query states, so that only that query can use the index. Without
# statistics of a young table, the planner finds all indexes equally good and would read all transactions of a vendor.
# Not by `created_at`: with the state, it would say what the index of all held ones by age does, and that would be read
# from the oldest of all vendors on.
ONE_OF_A_PAGE: Final = sa.text("refunded >= 0")
ONE_OF_THE_CHANGED: Final = sa.text("touched_at > '-infinity'")
ONE_HELD_BY_AGE: Final = sa.text("state = 'held' AND created_at > '-infinity'")
ONE_TO_SWEEP: Final = sa.text("state = 'held' AND points > 0")
# A literal, also in queries: with a parameter instead, a cached plan cannot use a partial index.
HELD: Final = sa.text("state = 'held'")

HELD_ONCE: Final = sa.text("state IN ('confirmed', 'rolled_back', 'expired')")
#: The lengths of holds: each is of the first of these that it was shorter than. None is longer than a week.
LENGTHS: Final = (*(timedelta(seconds=4**power) for power in range(10)), timedelta(days=7))


def hours(length: timedelta) -> str:
    """An interval, as PostgreSQL itself would write it. Not in days: where clocks are put forward, one has 23 hours."""
    minutes, seconds = divmod(int(length.total_seconds()), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


_SHORTER_THAN: Final = ",".join(map(hours, LENGTHS[:-1]))
#: The number of a hold's length.
LENGTH: Final = sa.text(f"width_bucket(ended_at - created_at, '{{{_SHORTER_THAN}}}'::interval[])")

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("available", sa.BigInteger, nullable=False, comment="may be spent; expired holds come back at use"),
    sa.Column("held", sa.BigInteger, nullable=False, comment="sum of the rows in transactions that are held"),
    sa.Column("entries", sa.BigInteger, nullable=False, comment="how many there are; the number of the newest"),
    _time("opened_at", nullable=False),
    _time("closed_at"),
    sa.CheckConstraint("available >= 0", name="available"),
    sa.CheckConstraint("closed_at IS NULL OR available = 0", name="closed"),
    sa.CheckConstraint("held >= 0", name="held"),
    sa.CheckConstraint(f"available + held <= {MAX_POINTS}", name="total"),
    sa.CheckConstraint("entries >= 0", name="entries"),
    info=in_sandbox(is_locked_first=True),
)

transactions = sa.Table(
    "transactions",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("vendor_id", sa.Text, primary_key=True),
    sa.Column("transaction_id", sa.Text, primary_key=True, comment="chosen by the vendor"),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False, comment="asked for by the commit; 0 where none ever came"),
    sa.Column("deducted", sa.BigInteger, nullable=False),
    sa.Column("refunded", sa.BigInteger, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    _time("created_at", nullable=False),
    _time("expires_at"),
    _time("ended_at"),
    _time("touched_at", nullable=False),
    sa.CheckConstraint(
        "state IN ('held', 'confirmed', 'rolled_back', 'expired', 'rejected', 'cancelled')", name="state"
    ),
    sa.CheckConstraint("CASE state WHEN 'cancelled' THEN points = 0 ELSE points > 0 END", name="points"),
    sa.CheckConstraint(
        "CASE state WHEN 'confirmed' THEN deducted BETWEEN 1 AND points ELSE deducted = 0 END", name="deducted"
    ),
    sa.CheckConstraint("refunded BETWEEN 0 AND deducted", name="refunded"),
    sa.CheckConstraint("(state = 'held') = (ended_at IS NULL)", name="ended"),
    sa.CheckConstraint("(state IN ('rejected', 'cancelled')) = (expires_at IS NULL)", name="expires"),
    # Finds the expired holds of an account.
    sa.Index(
        "transactions_held_by_user_idx",
        "tenant",
        "user_id",
        "expires_at",
        postgresql_where=HELD,
        postgresql_include=["points", "vendor_id"],
    ),
    # Pages of open holds over all vendors.
    sa.Index(
        "transactions_held_by_age_idx",
        "tenant",
        "created_at",
        "vendor_id",
        "transaction_id",
        postgresql_where=ONE_HELD_BY_AGE,
    ),
    # Holds of an account that were open at a past instant: for each length, how long after it they can have ended.
    sa.Index(
        "transactions_ended_by_length_idx",
        "tenant",
        "user_id",
        LENGTH,
        "ended_at",
        postgresql_where=HELD_ONCE,
        info=built_beside(instead_of=["transactions_ended_by_user_idx"]),
    ),
    # Pages of a vendor's transactions by last change.
    sa.Index(
        "transactions_by_change_idx",
        "tenant",
        "vendor_id",
        "touched_at",
        "transaction_id",
        postgresql_where=ONE_OF_THE_CHANGED,
    ),
    # Pages of a vendor's transactions by creation: a part for each state.
    sa.Index(
        "transactions_by_state_idx",
        "tenant",
        "vendor_id",
        "state",
        "created_at",
        "transaction_id",
        postgresql_where=ONE_OF_A_PAGE,
        info=built_beside(
            instead_of=(
                "transactions_by_vendor_idx",
                "transactions_by_outcome_idx",
                "transactions_confirmed_by_vendor_idx",
                "transactions_held_by_vendor_idx",
            )
        ),
    ),
    # Finds expired holds of all accounts, for the sweeper.
    sa.Index("transactions_held_by_expiry_idx", "expires_at", postgresql_where=ONE_TO_SWEEP),
)

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, comment="1, 2, 3 … within the account, without gaps"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False, comment="signed"),
    sa.Column("balance", sa.BigInteger, nullable=False, comment="the account's total after this entry"),
    sa.Column("source", sa.Text, nullable=False, comment="the vendor, or empty for the platform itself"),
    sa.Column("reference", sa.Text, nullable=False, comment="theirs: it makes the entry unrepeatable"),
    sa.Column("reason", sa.Text, nullable=False),
    _time("created_at", nullable=False),
    sa.Column("client_id", sa.Text, comment="who made it; empty in entries of earlier versions"),
    sa.Column("subject", sa.Text, comment="the designated user in whose name it was made"),
    sa.Column("request_id", sa.Text),
    sa.ForeignKeyConstraint(["tenant", "user_id"], ["accounts.tenant", "accounts.user_id"]),
    sa.UniqueConstraint("tenant", "user_id", "kind", "source", "reference"),
    sa.CheckConstraint("kind IN ('credit', 'debit', 'redemption', 'refund', 'lapse')", name="kind"),
    sa.CheckConstraint("CASE WHEN kind IN ('credit', 'refund') THEN points > 0 ELSE points < 0 END", name="points"),
    sa.CheckConstraint(f"balance BETWEEN 0 AND {MAX_POINTS}", name="balance"),
    sa.CheckConstraint("number > 0", name="number"),
    # Finds what is to be sealed.
    sa.Index("entries_by_time_idx", "tenant", "created_at", postgresql_where=one_to_seal("created_at")),
    info=append_only(),
)

seals = define_seals_table(metadata)

vendors = sa.Table(
    "vendors",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("vendor_id", sa.Text, primary_key=True),
    sa.Column("hold_seconds", sa.Integer, nullable=False),
    sa.CheckConstraint("hold_seconds BETWEEN 1 AND 604800", name="hold_seconds"),
    info=in_sandbox(stays=True),
)

idempotent_answers = define_answers_table(metadata)

events = define_event_tables(metadata)

sandboxes = define_sandbox_tables(metadata)

acts = define_acts_table(metadata)
