"""Keys, campaigns and where their links lead, tokens, counts, references of imports, idempotent answers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "campaign_counts",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("campaign_id", sa.Text(), nullable=False, comment="empty: refusals that belong to no campaign"),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, comment="kind of caller, or reason of the refusal"),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "event IN ('issued', 'opened', 'verified', 'distinct', 'refused')", name=op.f("campaign_counts_event_check")
        ),
        sa.CheckConstraint("count > 0", name=op.f("campaign_counts_count_check")),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", "hour", "event", "detail", name=op.f("campaign_counts_pkey")),
        schema="token_service",
    )
    op.create_table(
        "campaigns",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("campaign_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "revoked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="revokes every token of the campaign that was issued until then",
        ),
        sa.Column("destination_url", sa.Text(), nullable=True, comment="where the hosted landing page leads"),
        sa.Column("offer", postgresql.JSONB(), nullable=True, comment="language → title, text, button"),
        sa.CheckConstraint("(destination_url IS NULL) = (offer IS NULL)", name=op.f("campaigns_landing_check")),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", name=op.f("campaigns_pkey")),
        schema="token_service",
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
        schema="token_service",
    )
    op.create_index(
        "idempotent_answers_by_age", "idempotent_answers", ["created_at"], unique=False, schema="token_service"
    )
    op.create_table(
        "import_references",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("campaign_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False, comment="theirs: a row imported again gets the same token"),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("key_number", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", "reference", name=op.f("import_references_pkey")),
        schema="token_service",
    )
    op.create_index(
        "import_references_expires_at_idx",
        "import_references",
        ["expires_at"],
        unique=False,
        schema="token_service",
        postgresql_using="brin",
    )
    op.create_table(
        "keys",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False, comment="AES key and MAC key, 32 bytes each, sealed"),
        sa.Column(
            "next_sequence", sa.BigInteger(), nullable=False, comment="processes draw blocks of numbers from here"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "signs_from",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="later than created_at, so that every process knows it first",
        ),
        sa.Column(
            "retired_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="from here it verifies nothing; no token of it is left",
        ),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("next_sequence BETWEEN 1 AND 1099511627776", name=op.f("keys_next_sequence_check")),
        sa.CheckConstraint("number > 0", name=op.f("keys_number_check")),
        sa.PrimaryKeyConstraint("tenant", "number", name=op.f("keys_pkey")),
        schema="token_service",
    )
    op.create_index("keys_changed_at_idx", "keys", ["changed_at"], unique=False, schema="token_service")
    op.create_table(
        "token_refusals",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key_number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("count > 0", name=op.f("token_refusals_count_check")),
        sa.PrimaryKeyConstraint("tenant", "key_number", "sequence", "reason", name=op.f("token_refusals_pkey")),
        schema="token_service",
    )
    op.create_table(
        "tokens",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="exact, where the token itself knows the minute; NULL is never",
        ),
        sa.Column("uses", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("placement", sa.Integer(), nullable=False),
        sa.Column("key_number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column(
            "mac", sa.LargeBinary(), nullable=False, comment="over all that was encoded: an edited row is noticed"
        ),
        sa.Column("product_id", sa.Text(), nullable=True),
        sa.Column("attributes", sa.Text(), nullable=True, comment="JSON, as it was authenticated"),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("max_uses", sa.Integer(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("uses_by_bots", sa.BigInteger(), nullable=True),
        sa.Column("uses_by_scanners", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("max_uses > 0", name=op.f("tokens_max_uses_check")),
        sa.CheckConstraint("octet_length(mac) = 16", name=op.f("tokens_mac_check")),
        sa.CheckConstraint("sequence BETWEEN 1 AND 1099511627775", name=op.f("tokens_sequence_check")),
        sa.CheckConstraint("uses BETWEEN 0 AND coalesce(max_uses, uses)", name=op.f("tokens_uses_check")),
        sa.PrimaryKeyConstraint("tenant", "key_number", "sequence", name=op.f("tokens_pkey")),
        schema="token_service",
    )
    op.create_index(
        "tokens_expires_at_idx", "tokens", ["expires_at"], unique=False, schema="token_service", postgresql_using="brin"
    )
    op.create_table(
        "placements",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("campaign_id", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "campaign_id"],
            ["token_service.campaigns.tenant", "token_service.campaigns.campaign_id"],
            name=op.f("placements_tenant_campaign_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "number", name=op.f("placements_pkey")),
        sa.UniqueConstraint(
            "tenant", "campaign_id", "base_url", name=op.f("placements_tenant_campaign_id_base_url_key")
        ),
        schema="token_service",
        comment="a campaign and where its links lead; kept once, not with every token",
    )


def downgrade() -> None:
    op.drop_table("placements", schema="token_service")
    op.drop_index("tokens_expires_at_idx", table_name="tokens", schema="token_service", postgresql_using="brin")
    op.drop_table("tokens", schema="token_service")
    op.drop_table("token_refusals", schema="token_service")
    op.drop_index("keys_changed_at_idx", table_name="keys", schema="token_service")
    op.drop_table("keys", schema="token_service")
    op.drop_index(
        "import_references_expires_at_idx",
        table_name="import_references",
        schema="token_service",
        postgresql_using="brin",
    )
    op.drop_table("import_references", schema="token_service")
    op.drop_index("idempotent_answers_by_age", table_name="idempotent_answers", schema="token_service")
    op.drop_table("idempotent_answers", schema="token_service")
    op.drop_table("campaigns", schema="token_service")
    op.drop_table("campaign_counts", schema="token_service")
