"""Third parties: integration requests, consents, authorization codes, the audit, and clients' public keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261121_0003"
down_revision = "20261121_0002"
branch_labels = None
depends_on = None

SCHEMA = "partner_onboarding"
_TEXTS = postgresql.ARRAY(sa.Text())
_WHEN = sa.DateTime(timezone=True)
_NOW = sa.text("now()")
_ACTORS = "actor_kind IN ('operator', 'tenant_admin', 'client', 'applicant', 'shell')"
_TENANTS = [f"{SCHEMA}.tenants.tenant"]
_CLIENTS = [f"{SCHEMA}.clients.tenant", f"{SCHEMA}.clients.client_id"]


def upgrade() -> None:
    op.add_column(
        "clients",
        sa.Column(
            "jwks", postgresql.JSONB(none_as_null=True), nullable=True, comment="Public keys, for private_key_jwt."
        ),
        schema=SCHEMA,
    )
    op.create_table(
        "integration_requests",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column(
            "particulars",
            sa.LargeBinary(),
            nullable=False,
            comment="Sealed: who asks, for what, and how to reach them.",
        ),
        sa.Column("scopes", _TEXTS, nullable=False),
        sa.Column("redirect_uris", _TEXTS, nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'submitted'"), nullable=False),
        sa.Column("submitted_at", _WHEN, server_default=_NOW, nullable=False),
        sa.Column("decided_at", _WHEN, nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.LargeBinary(), nullable=True, comment="Sealed: why it was declined."),
        sa.Column("client_id", sa.Text(), nullable=True, comment="The client that the approval registered."),
        sa.CheckConstraint(
            "state IN ('submitted', 'approved', 'declined')", name=op.f("ck_integration_requests_state")
        ),
        sa.CheckConstraint(
            "cardinality(scopes) > 0 AND cardinality(redirect_uris) > 0",
            name=op.f("ck_integration_requests_asks_for_something"),
        ),
        sa.CheckConstraint(
            "(state = 'submitted') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)",
            name=op.f("ck_integration_requests_decided"),
        ),
        sa.CheckConstraint(
            "(state = 'approved') = (client_id IS NOT NULL)", name=op.f("ck_integration_requests_client_id")
        ),
        sa.CheckConstraint("(state = 'declined') = (reason IS NOT NULL)", name=op.f("ck_integration_requests_reason")),
        sa.ForeignKeyConstraint(["tenant"], _TENANTS, name=op.f("fk_integration_requests_tenants")),
        sa.ForeignKeyConstraint(["tenant", "client_id"], _CLIENTS, name=op.f("fk_integration_requests_clients")),
        sa.PrimaryKeyConstraint("tenant", "request_id", name=op.f("pk_integration_requests")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_integration_requests_tenant_submitted_at",
        "integration_requests",
        ["tenant", "submitted_at", "request_id"],
        unique=False,
        schema=SCHEMA,
    )
    op.create_table(
        "consents",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="Counts up from 1; the highest one holds."),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="The user designated for API transactions."),
        sa.Column(
            "scopes",
            _TEXTS,
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
            comment="All that holds from here on.",
        ),
        sa.Column("words", postgresql.JSONB(), nullable=False, comment="Scope by scope the words that were read."),
        sa.Column("language", sa.Text(), nullable=False, comment="In which they were read."),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("recorded_at", _WHEN, server_default=_NOW, nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_consents_version")),
        sa.CheckConstraint(
            "event IN ('granted', 'extended', 'redesignated', 'withdrawn')", name=op.f("ck_consents_event")
        ),
        sa.CheckConstraint("(event = 'withdrawn') = (cardinality(scopes) = 0)", name=op.f("ck_consents_scopes")),
        sa.CheckConstraint("char_length(subject) BETWEEN 1 AND 128", name=op.f("ck_consents_subject")),
        sa.CheckConstraint(_ACTORS, name=op.f("ck_consents_actor_kind")),
        sa.ForeignKeyConstraint(["tenant", "client_id"], _CLIENTS, name=op.f("fk_consents_clients")),
        sa.PrimaryKeyConstraint("tenant", "client_id", "version", name=op.f("pk_consents")),
        schema=SCHEMA,
    )
    op.create_table(
        "authorization_codes",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of 256 random bits"),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("code_challenge", sa.Text(), nullable=False, comment="PKCE, S256"),
        sa.Column("scopes", _TEXTS, nullable=False),
        sa.Column("consent_version", sa.Integer(), nullable=False),
        sa.Column("expires_at", _WHEN, nullable=False),
        sa.Column("redeemed_at", _WHEN, nullable=True),
        sa.CheckConstraint("octet_length(code_hash) = 32", name=op.f("ck_authorization_codes_code_hash")),
        sa.CheckConstraint(
            "code_challenge ~ '^[A-Za-z0-9_-]{43}$'", name=op.f("ck_authorization_codes_code_challenge")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "client_id", "consent_version"],
            [f"{SCHEMA}.consents.tenant", f"{SCHEMA}.consents.client_id", f"{SCHEMA}.consents.version"],
            name=op.f("fk_authorization_codes_consents"),
        ),
        sa.PrimaryKeyConstraint("tenant", "code_hash", name=op.f("pk_authorization_codes")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_authorization_codes_expires_at", "authorization_codes", ["expires_at"], unique=False, schema=SCHEMA
    )
    op.create_table(
        "audit_entries",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("recorded_at", _WHEN, server_default=_NOW, nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column(
            "actor", sa.Text(), nullable=False, comment="A user's or a client's id; empty for one who was not known."
        ),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="The id of what was acted on."),
        sa.Column(
            "details",
            postgresql.JSONB(),
            nullable=False,
            comment="Never a secret, never a person's name or address.",
        ),
        sa.CheckConstraint(_ACTORS, name=op.f("ck_audit_entries_actor_kind")),
        sa.CheckConstraint("action ~ '^[a-z_]{1,64}$'", name=op.f("ck_audit_entries_action")),
        sa.ForeignKeyConstraint(["tenant"], _TENANTS, name=op.f("fk_audit_entries_tenants")),
        sa.PrimaryKeyConstraint("tenant", "entry_id", name=op.f("pk_audit_entries")),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("audit_entries", "authorization_codes", "consents", "integration_requests"):
        op.drop_table(table, schema=SCHEMA)
    op.drop_column("clients", "jwks", schema=SCHEMA)
