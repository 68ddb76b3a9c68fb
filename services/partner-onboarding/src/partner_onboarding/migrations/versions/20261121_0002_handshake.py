"""The registration handshake: codes, links of people to partners, what is billed, agreements, mails.

An e-mail address is no longer unique among all users of a tenant, but among those who own it.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261121_0002"
down_revision = "20261121_0001"
branch_labels = None
depends_on = None

SCHEMA = "partner_onboarding"


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column(
            "owns_email",
            sa.Boolean(),
            server_default=sa.text("true"),
            nullable=False,
            comment="Proven by a mail, or vouched for by the tenant; who registers by oneself only claims an address.",
        ),
        schema=SCHEMA,
    )
    op.add_column("users", sa.Column("email_verified_at", sa.DateTime(timezone=True), nullable=True), schema=SCHEMA)
    # Of the same name, by which the code knows a refusal; the code before this one says nothing of `owns_email`, and
    # its users own theirs.
    op.drop_constraint("uq_users_tenant_email_hash", "users", schema=SCHEMA)
    op.create_index(
        "uq_users_tenant_email_hash",
        "users",
        ["tenant", "email_hash"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("owns_email"),
    )
    op.create_table(
        "handshakes",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("register_hash", sa.LargeBinary(), nullable=False, comment="HMAC-SHA256 of the public code"),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("authorization_hash", sa.LargeBinary(), nullable=False, comment="HMAC-SHA256 of the private code"),
        sa.Column(
            "authorization_code", sa.LargeBinary(), nullable=False, comment="Sealed: it is sent to the landing URL."
        ),
        sa.Column("hint", sa.Text(), nullable=True, comment="Masked: for whom the partner has asked."),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "user_id",
            sa.Text(),
            nullable=True,
            comment="The one person who may use the code, from the registration on.",
        ),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "redeemed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the partner has asked for the user by the private code.",
        ),
        sa.CheckConstraint("outcome <> 'linked' OR user_id IS NOT NULL", name=op.f("ck_handshakes_user_id")),
        sa.CheckConstraint("outcome IN ('linked', 'denied')", name=op.f("ck_handshakes_outcome")),
        sa.CheckConstraint("redeemed_at IS NULL OR outcome = 'linked'", name=op.f("ck_handshakes_redeemed_at")),
        sa.CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name=op.f("ck_handshakes_ended_at")),
        sa.CheckConstraint("char_length(hint) BETWEEN 1 AND 200", name=op.f("ck_handshakes_hint")),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_handshakes_expires_at")),
        sa.CheckConstraint("octet_length(authorization_hash) = 32", name=op.f("ck_handshakes_authorization_hash")),
        sa.CheckConstraint("octet_length(register_hash) = 32", name=op.f("ck_handshakes_register_hash")),
        sa.ForeignKeyConstraint(
            ["tenant", "client_id"],
            [f"{SCHEMA}.clients.tenant", f"{SCHEMA}.clients.client_id"],
            name=op.f("fk_handshakes_clients"),
        ),
        sa.PrimaryKeyConstraint("tenant", "register_hash", name=op.f("pk_handshakes")),
        schema=SCHEMA,
    )
    op.create_index("ix_handshakes_expires_at", "handshakes", ["expires_at"], unique=False, schema=SCHEMA)
    op.create_index("ix_handshakes_register_hash", "handshakes", ["register_hash"], unique=False, schema=SCHEMA)
    op.create_index(
        "uq_handshakes_authorization",
        "handshakes",
        ["tenant", "client_id", "authorization_hash"],
        unique=True,
        schema=SCHEMA,
    )
    op.create_table(
        "links",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column(
            "n", sa.Integer(), nullable=False, comment="Counts up from 1: whoever was removed may be linked again."
        ),
        sa.Column("linked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_by", sa.Text(), nullable=True),
        sa.Column(
            "months_assigned",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Periods dealt with so far.",
        ),
        sa.Column(
            "next_assignment_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the next period begins; none: no more.",
        ),
        sa.CheckConstraint("removed_by IN ('partner', 'user', 'deletion')", name=op.f("ck_links_removed_by_whom")),
        sa.CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name=op.f("ck_links_removed_by")),
        sa.CheckConstraint(
            "activated_at IS NOT NULL OR next_assignment_at IS NULL", name=op.f("ck_links_next_assignment_at")
        ),
        sa.CheckConstraint("months_assigned >= 0", name=op.f("ck_links_months_assigned")),
        sa.CheckConstraint("n >= 1", name=op.f("ck_links_n")),
        sa.ForeignKeyConstraint(
            ["tenant", "client_id"],
            [f"{SCHEMA}.clients.tenant", f"{SCHEMA}.clients.client_id"],
            name=op.f("fk_links_clients"),
        ),
        sa.PrimaryKeyConstraint("tenant", "client_id", "user_id", "n", name=op.f("pk_links")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_links_next_assignment_at",
        "links",
        ["next_assignment_at"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("next_assignment_at IS NOT NULL"),
    )
    op.create_index("ix_links_tenant_user_id", "links", ["tenant", "user_id"], unique=False, schema=SCHEMA)
    op.create_index(
        "uq_links_present",
        "links",
        ["tenant", "client_id", "user_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "assignments",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False, comment="The first day of the month that is billed, UTC."),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False, comment="Of the link."),
        sa.Column("months", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "assigned_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the period begins, however late this was written.",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "month = (date_trunc('month', assigned_at AT TIME ZONE 'UTC'))::date", name=op.f("ck_assignments_month")
        ),
        sa.CheckConstraint("months >= 1", name=op.f("ck_assignments_months")),
        sa.ForeignKeyConstraint(
            ["tenant", "client_id", "user_id", "n"],
            [f"{SCHEMA}.links.tenant", f"{SCHEMA}.links.client_id", f"{SCHEMA}.links.user_id", f"{SCHEMA}.links.n"],
            name=op.f("fk_assignments_links"),
        ),
        sa.PrimaryKeyConstraint("tenant", "client_id", "month", "user_id", name=op.f("pk_assignments")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_assignments_link", "assignments", ["tenant", "client_id", "user_id"], unique=False, schema=SCHEMA
    )
    op.create_table(
        "agreements",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False, comment="In which it was read."),
        sa.Column("agreed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("document IN ('terms', 'privacy')", name=op.f("ck_agreements_document")),
        sa.CheckConstraint("char_length(version) BETWEEN 1 AND 64", name=op.f("ck_agreements_version")),
        sa.ForeignKeyConstraint(
            ["tenant", "user_id"],
            [f"{SCHEMA}.users.tenant", f"{SCHEMA}.users.user_id"],
            name=op.f("fk_agreements_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "user_id", "document", "version", name=op.f("pk_agreements")),
        schema=SCHEMA,
    )
    op.create_table(
        "mails",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("mail_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "next_attempt_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=True,
            comment="None when there is nothing more to do.",
        ),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "token_hash",
            sa.LargeBinary(),
            nullable=True,
            comment="SHA-256 of the token in the link; the token itself is not kept.",
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_mails_attempts")),
        sa.CheckConstraint("octet_length(token_hash) = 32", name=op.f("ck_mails_token_hash")),
        sa.ForeignKeyConstraint(
            ["tenant", "user_id"],
            [f"{SCHEMA}.users.tenant", f"{SCHEMA}.users.user_id"],
            name=op.f("fk_mails_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "mail_id", name=op.f("pk_mails")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_mails_next_attempt_at",
        "mails",
        ["next_attempt_at"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_index("ix_mails_tenant_user_id", "mails", ["tenant", "user_id"], unique=False, schema=SCHEMA)
    op.create_index("uq_mails_token", "mails", ["tenant", "token_hash"], unique=True, schema=SCHEMA)


def downgrade() -> None:
    for table in ("mails", "agreements", "assignments", "links", "handshakes"):
        op.drop_table(table, schema=SCHEMA)
    op.execute(sa.text(f"DELETE FROM {SCHEMA}.users WHERE NOT owns_email"))  # noqa: S608 — the schema is a constant
    op.drop_index("uq_users_tenant_email_hash", table_name="users", schema=SCHEMA)
    op.create_unique_constraint("uq_users_tenant_email_hash", "users", ["tenant", "email_hash"], schema=SCHEMA)
    op.drop_column("users", "email_verified_at", schema=SCHEMA)
    op.drop_column("users", "owns_email", schema=SCHEMA)
