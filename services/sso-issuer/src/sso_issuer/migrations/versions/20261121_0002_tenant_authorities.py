"""Tenant authorities: the audit of access tokens, revocations, redeemed codes, used assertions.

Revision ID: 20261121_0002
Revises: 20261121_0001
"""

import sqlalchemy as sa
from alembic import op

revision = "20261121_0002"
down_revision = "20261121_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Requests need this lock, so every run of this migration waits for it only briefly.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "authority_events",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=True,
            comment="the error code of a refusal; why a token is inactive or was revoked",
        ),
        sa.Column("client_id", sa.Text(), nullable=True, comment="who asked; of a refusal, who it claimed to be"),
        sa.Column("subject", sa.Text(), nullable=True, comment="the designated user"),
        sa.Column("jti", sa.Text(), nullable=True),
        sa.Column(
            "token_client_id",
            sa.Text(),
            nullable=True,
            comment="whose token it is, where another client asked about it",
        ),
        sa.Column("grant_type", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=True, comment="separated by blanks, as in the token"),
        sa.Column("consent_version", sa.BigInteger(), nullable=True, comment="none for the platform's own clients"),
        sa.Column("kid", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "event IN ('issued', 'refused', 'introspected', 'revoked')", name=op.f("authority_events_event_check")
        ),
        sa.CheckConstraint(
            "event <> 'issued' OR num_nulls(client_id, subject, jti, grant_type, scope, kid, expires_at) = 0",
            name=op.f("authority_events_issued_check"),
        ),
        sa.CheckConstraint("event <> 'refused' OR reason IS NOT NULL", name=op.f("authority_events_refused_check")),
        sa.CheckConstraint(
            "expires_at > happened_at AND expires_at <= happened_at + interval '600 seconds'",
            name=op.f("authority_events_lifetime_check"),
        ),
        sa.PrimaryKeyConstraint("tenant", "event_id", name=op.f("authority_events_pkey")),
        schema="sso_issuer",
    )
    op.create_index(
        "authority_events_newest",
        "authority_events",
        ["tenant", "happened_at", "event_id"],
        unique=False,
        schema="sso_issuer",
    )
    op.create_index(
        "authority_events_issued",
        "authority_events",
        ["tenant", "jti"],
        unique=True,
        schema="sso_issuer",
        postgresql_where=sa.text("event = 'issued'"),
    )
    op.create_table(
        "revoked_tokens",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "jti", name=op.f("revoked_tokens_pkey")),
        schema="sso_issuer",
    )
    op.create_index("revoked_tokens_by_end", "revoked_tokens", ["expires_at"], unique=False, schema="sso_issuer")
    op.create_table(
        "redeemed_codes",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("code_digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "jti", sa.Text(), nullable=True, comment="none where the replay came before the first use was written"
        ),
        sa.Column("token_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("forget_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("octet_length(code_digest) = 32", name=op.f("redeemed_codes_code_digest_check")),
        sa.CheckConstraint("(jti IS NULL) = (token_expires_at IS NULL)", name=op.f("redeemed_codes_jti_check")),
        sa.PrimaryKeyConstraint("tenant", "code_digest", name=op.f("redeemed_codes_pkey")),
        schema="sso_issuer",
    )
    op.create_index("redeemed_codes_by_end", "redeemed_codes", ["forget_at"], unique=False, schema="sso_issuer")
    op.create_table(
        "used_assertions",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("jti_digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("octet_length(jti_digest) = 32", name=op.f("used_assertions_jti_digest_check")),
        sa.PrimaryKeyConstraint("tenant", "client_id", "jti_digest", name=op.f("used_assertions_pkey")),
        schema="sso_issuer",
    )
    op.create_index("used_assertions_by_end", "used_assertions", ["expires_at"], unique=False, schema="sso_issuer")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("used_assertions", "redeemed_codes", "revoked_tokens", "authority_events"):
        op.drop_table(table, schema="sso_issuer")
