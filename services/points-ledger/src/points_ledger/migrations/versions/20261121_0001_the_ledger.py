"""The ledger: accounts, transactions, entries, vendors' hold times, idempotent answers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False, comment="may be spent; expired holds come back at use"),
        sa.Column("held", sa.BigInteger(), nullable=False, comment="sum of the rows in transactions that are held"),
        sa.Column("entries", sa.BigInteger(), nullable=False, comment="how many there are; the number of the newest"),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("available + held <= 9007199254740991", name=op.f("accounts_total_check")),
        sa.CheckConstraint("available >= 0", name=op.f("accounts_available_check")),
        sa.CheckConstraint("entries >= 0", name=op.f("accounts_entries_check")),
        sa.CheckConstraint("held >= 0", name=op.f("accounts_held_check")),
        sa.PrimaryKeyConstraint("tenant", "user_id", name=op.f("accounts_pkey")),
        schema="points_ledger",
    )
    op.create_table(
        "idempotent_answers",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False, comment="status, headers, body; sealed where secret"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "client_id", "key", name=op.f("idempotent_answers_pkey")),
        schema="points_ledger",
    )
    op.create_index(
        "idempotent_answers_by_age", "idempotent_answers", ["created_at"], unique=False, schema="points_ledger"
    )
    op.create_table(
        "transactions",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("vendor_id", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=False, comment="chosen by the vendor"),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False, comment="asked for by the commit; 0 where none ever came"),
        sa.Column("deducted", sa.BigInteger(), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(state = 'held') = (ended_at IS NULL)", name=op.f("transactions_ended_check")),
        sa.CheckConstraint(
            "(state IN ('rejected', 'cancelled')) = (expires_at IS NULL)", name=op.f("transactions_expires_check")
        ),
        sa.CheckConstraint(
            "CASE state WHEN 'cancelled' THEN points = 0 ELSE points > 0 END", name=op.f("transactions_points_check")
        ),
        sa.CheckConstraint(
            "CASE state WHEN 'confirmed' THEN deducted BETWEEN 1 AND points ELSE deducted = 0 END",
            name=op.f("transactions_deducted_check"),
        ),
        sa.CheckConstraint(
            "state IN ('held', 'confirmed', 'rolled_back', 'expired', 'rejected', 'cancelled')",
            name=op.f("transactions_state_check"),
        ),
        sa.CheckConstraint("refunded BETWEEN 0 AND deducted", name=op.f("transactions_refunded_check")),
        sa.PrimaryKeyConstraint("tenant", "vendor_id", "transaction_id", name=op.f("transactions_pkey")),
        schema="points_ledger",
    )
    op.create_index(
        "transactions_by_vendor_idx",
        "transactions",
        ["tenant", "vendor_id", "created_at", "transaction_id"],
        unique=False,
        schema="points_ledger",
    )
    op.create_index(
        "transactions_held_by_expiry_idx",
        "transactions",
        ["expires_at"],
        unique=False,
        schema="points_ledger",
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "transactions_held_by_user_idx",
        "transactions",
        ["tenant", "user_id", "expires_at"],
        unique=False,
        schema="points_ledger",
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_table(
        "vendors",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("vendor_id", sa.Text(), nullable=False),
        sa.Column("hold_seconds", sa.Integer(), nullable=False),
        sa.CheckConstraint("hold_seconds BETWEEN 1 AND 604800", name=op.f("vendors_hold_seconds_check")),
        sa.PrimaryKeyConstraint("tenant", "vendor_id", name=op.f("vendors_pkey")),
        schema="points_ledger",
    )
    op.create_table(
        "entries",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="1, 2, 3 … within the account, without gaps"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False, comment="signed"),
        sa.Column("balance", sa.BigInteger(), nullable=False, comment="the account's total after this entry"),
        sa.Column("source", sa.Text(), nullable=False, comment="the vendor, or empty for the platform itself"),
        sa.Column("reference", sa.Text(), nullable=False, comment="theirs: it makes the entry unrepeatable"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "CASE WHEN kind IN ('credit', 'refund') THEN points > 0 ELSE points < 0 END",
            name=op.f("entries_points_check"),
        ),
        sa.CheckConstraint("kind IN ('credit', 'debit', 'redemption', 'refund')", name=op.f("entries_kind_check")),
        sa.CheckConstraint("balance BETWEEN 0 AND 9007199254740991", name=op.f("entries_balance_check")),
        sa.CheckConstraint("number > 0", name=op.f("entries_number_check")),
        sa.ForeignKeyConstraint(
            ["tenant", "user_id"],
            ["points_ledger.accounts.tenant", "points_ledger.accounts.user_id"],
            name=op.f("entries_tenant_user_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "user_id", "number", name=op.f("entries_pkey")),
        sa.UniqueConstraint(
            "tenant",
            "user_id",
            "kind",
            "source",
            "reference",
            name=op.f("entries_tenant_user_id_kind_source_reference_key"),
        ),
        schema="points_ledger",
    )

    # Entries are append-only: even their owner, as which the service runs, can only add and read.
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON points_ledger.entries FROM CURRENT_USER")


def downgrade() -> None:
    op.drop_table("entries", schema="points_ledger")
    op.drop_table("vendors", schema="points_ledger")
    op.drop_index(
        "transactions_held_by_user_idx",
        table_name="transactions",
        schema="points_ledger",
        postgresql_where=sa.text("state = 'held'"),
    )
    op.drop_index(
        "transactions_held_by_expiry_idx",
        table_name="transactions",
        schema="points_ledger",
        postgresql_where=sa.text("state = 'held'"),
    )
    op.drop_index("transactions_by_vendor_idx", table_name="transactions", schema="points_ledger")
    op.drop_table("transactions", schema="points_ledger")
    op.drop_index("idempotent_answers_by_age", table_name="idempotent_answers", schema="points_ledger")
    op.drop_table("idempotent_answers", schema="points_ledger")
    op.drop_table("accounts", schema="points_ledger")
