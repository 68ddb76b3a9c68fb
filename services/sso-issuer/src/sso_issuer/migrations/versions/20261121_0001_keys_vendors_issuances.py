"""Keys, vendors and their secrets, issuances and redemptions, idempotent answers.

Revision ID: 20261121_0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261121_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Requests need this lock, so every run of this migration waits for it only briefly.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "idempotent_answers",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False, comment="status, headers, body; sealed where secret"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "client_id", "key", name=op.f("idempotent_answers_pkey")),
        schema="sso_issuer",
    )
    op.create_index(
        "idempotent_answers_by_age", "idempotent_answers", ["created_at"], unique=False, schema="sso_issuer"
    )
    op.create_table(
        "key_successions",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.CheckConstraint("algorithm IN ('ES256', 'RS256')", name=op.f("key_successions_algorithm_check")),
        sa.PrimaryKeyConstraint("tenant", "algorithm", name=op.f("key_successions_pkey")),
        schema="sso_issuer",
    )
    op.create_table(
        "vendors",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("vendor_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("redirect_url", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("lifetime_seconds", sa.Integer(), nullable=False),
        sa.Column("claim_spelling", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("algorithm IN ('ES256', 'RS256', 'HS256')", name=op.f("vendors_algorithm_check")),
        sa.CheckConstraint("claim_spelling IN ('lower', 'camel')", name=op.f("vendors_claim_spelling_check")),
        sa.CheckConstraint("delivery IN ('query', 'form_post')", name=op.f("vendors_delivery_check")),
        sa.CheckConstraint("redirect_url ~ '^https?://'", name=op.f("vendors_redirect_url_check")),
        sa.CheckConstraint("lifetime_seconds BETWEEN 1 AND 300", name=op.f("vendors_lifetime_check")),
        sa.PrimaryKeyConstraint("tenant", "vendor_id", name=op.f("vendors_pkey")),
        sa.UniqueConstraint("tenant", "audience", name="vendors_audience_key"),
        schema="sso_issuer",
    )
    op.create_table(
        "issuances",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("vendor_id", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=True, comment="who asked; none where the user's own browser did"),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("algorithm IN ('ES256', 'RS256', 'HS256')", name=op.f("issuances_algorithm_check")),
        sa.CheckConstraint("delivery IN ('query', 'form_post')", name=op.f("issuances_delivery_check")),
        sa.CheckConstraint(
            "expires_at > issued_at AND expires_at <= issued_at + interval '300 seconds'",
            name=op.f("issuances_lifetime_check"),
        ),
        sa.CheckConstraint("points >= 0", name=op.f("issuances_points_check")),
        sa.ForeignKeyConstraint(
            ["tenant", "vendor_id"],
            ["sso_issuer.vendors.tenant", "sso_issuer.vendors.vendor_id"],
            name=op.f("issuances_vendors_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "jti", name=op.f("issuances_pkey")),
        schema="sso_issuer",
    )
    op.create_index("issuances_newest", "issuances", ["tenant", "issued_at", "jti"], unique=False, schema="sso_issuer")
    op.create_index(
        "issuances_of_user", "issuances", ["tenant", "user_id", "issued_at", "jti"], unique=False, schema="sso_issuer"
    )
    op.create_index(
        "issuances_of_vendor",
        "issuances",
        ["tenant", "vendor_id", "issued_at", "jti"],
        unique=False,
        schema="sso_issuer",
    )
    op.create_table(
        "keys",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False, comment="RFC 7638 thumbprint"),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("public_jwk", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "private_key",
            sa.LargeBinary(),
            nullable=True,
            comment="sealed PKCS #8; gone as soon as the key no longer signs",
        ),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signs_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retiring_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'retired') = (retired_at IS NOT NULL)", name=op.f("keys_retired_check")),
        sa.CheckConstraint(
            "(state IN ('next', 'active')) = (private_key IS NOT NULL)", name=op.f("keys_private_key_check")
        ),
        sa.CheckConstraint(
            "NOT public_jwk ?| ARRAY['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']", name=op.f("keys_public_check")
        ),
        sa.CheckConstraint(
            "state <> 'active' OR activated_at IS NOT NULL AND retiring_at IS NULL", name=op.f("keys_active_check")
        ),
        sa.CheckConstraint("state <> 'next' OR activated_at IS NULL", name=op.f("keys_next_check")),
        sa.CheckConstraint(
            "state <> 'retiring' OR retiring_at IS NOT NULL AND published_until > retiring_at",
            name=op.f("keys_retiring_check"),
        ),
        sa.CheckConstraint("state IN ('next', 'active', 'retiring', 'retired')", name=op.f("keys_state_check")),
        sa.CheckConstraint("activated_at >= signs_from", name=op.f("keys_activated_in_time_check")),
        sa.CheckConstraint("signs_from >= published_at", name=op.f("keys_published_first_check")),
        sa.ForeignKeyConstraint(
            ["tenant", "algorithm"],
            ["sso_issuer.key_successions.tenant", "sso_issuer.key_successions.algorithm"],
            name=op.f("keys_key_successions_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "kid", name=op.f("keys_pkey")),
        schema="sso_issuer",
    )
    op.create_index(
        "keys_one_active",
        "keys",
        ["tenant", "algorithm"],
        unique=True,
        schema="sso_issuer",
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index(
        "keys_one_next",
        "keys",
        ["tenant", "algorithm"],
        unique=True,
        schema="sso_issuer",
        postgresql_where=sa.text("state = 'next'"),
    )
    op.create_table(
        "vendor_secrets",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("vendor_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False, comment="sealed"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signs_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("n > 0", name=op.f("vendor_secrets_n_check")),
        sa.CheckConstraint("slot IN (0, 1)", name=op.f("vendor_secrets_slot_check")),
        sa.ForeignKeyConstraint(
            ["tenant", "vendor_id"],
            ["sso_issuer.vendors.tenant", "sso_issuer.vendors.vendor_id"],
            name=op.f("vendor_secrets_vendors_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "vendor_id", "n", name=op.f("vendor_secrets_pkey")),
        sa.UniqueConstraint("tenant", "kid", name="vendor_secrets_kid_key"),
        sa.UniqueConstraint("tenant", "vendor_id", "slot", name="vendor_secrets_slot_key"),
        schema="sso_issuer",
    )
    op.create_table(
        "redemptions",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("points_now", sa.BigInteger(), nullable=False),
        sa.Column("redeemed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("points_now >= 0", name=op.f("redemptions_points_now_check")),
        sa.ForeignKeyConstraint(
            ["tenant", "jti"],
            ["sso_issuer.issuances.tenant", "sso_issuer.issuances.jti"],
            name=op.f("redemptions_issuances_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "jti", name=op.f("redemptions_pkey")),
        schema="sso_issuer",
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in (
        "redemptions",
        "vendor_secrets",
        "issuances",
        "vendors",
        "keys",
        "key_successions",
        "idempotent_answers",
    ):
        op.drop_table(table, schema="sso_issuer")
