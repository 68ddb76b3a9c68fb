"""The register: tenants, clients and their secrets, users, sessions, and answers to repeated calls.

The lock time-out is set by the runner of all services' migrations.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261121_0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "partner_onboarding"
_TEXTS = postgresql.ARRAY(sa.Text())
_WHEN = sa.DateTime(timezone=True)
_NOW = sa.text("now()")
_NONE = sa.text("'{}'::text[]")


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("allowed_origins", _TEXTS, server_default=_NONE, nullable=False),
        sa.Column("created_at", _WHEN, server_default=_NOW, nullable=False),
        sa.CheckConstraint("tenant ~ '^[a-z0-9][a-z0-9-]{0,39}$'", name=op.f("ck_tenants_tenant")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200", name=op.f("ck_tenants_name")),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_tenants")),
        schema=SCHEMA,
    )
    op.create_table(
        "clients",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("scopes", _TEXTS, server_default=_NONE, nullable=False),
        sa.Column("vendor_id", sa.Text(), nullable=True),
        sa.Column("ip_allow_list", _TEXTS, server_default=_NONE, nullable=False),
        sa.Column("landing_url", sa.Text(), nullable=True),
        sa.Column("redirect_uris", _TEXTS, server_default=_NONE, nullable=False),
        sa.Column("created_at", _WHEN, server_default=_NOW, nullable=False),
        sa.Column("disabled_at", _WHEN, nullable=True),
        sa.CheckConstraint("client_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'", name=op.f("ck_clients_client_id")),
        sa.CheckConstraint("kind IN ('first_party', 'third_party')", name=op.f("ck_clients_kind")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200", name=op.f("ck_clients_name")),
        sa.CheckConstraint("char_length(vendor_id) BETWEEN 1 AND 128", name=op.f("ck_clients_vendor_id")),
        sa.ForeignKeyConstraint(["tenant"], [f"{SCHEMA}.tenants.tenant"], name=op.f("fk_clients_tenants")),
        sa.PrimaryKeyConstraint("tenant", "client_id", name=op.f("pk_clients")),
        sa.UniqueConstraint("client_id", name=op.f("uq_clients_client_id")),
        schema=SCHEMA,
    )
    op.create_table(
        "users",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("email_hash", sa.LargeBinary(), nullable=False, comment="HMAC-SHA256(account name key, address)"),
        sa.Column("profile", sa.LargeBinary(), nullable=False, comment="Sealed: e-mail address, first and last name."),
        sa.Column(
            "password_hash", sa.Text(), nullable=True, comment="argon2id; none for a user who cannot sign in yet."
        ),
        sa.Column("roles", _TEXTS, server_default=_NONE, nullable=False),
        sa.Column("created_at", _WHEN, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _WHEN, server_default=_NOW, nullable=False),
        sa.CheckConstraint("password_hash LIKE '$argon2id$%'", name=op.f("ck_users_password_hash")),
        sa.CheckConstraint("roles <@ ARRAY['operator', 'tenant_admin']", name=op.f("ck_users_roles")),
        sa.CheckConstraint("char_length(user_id) BETWEEN 1 AND 128", name=op.f("ck_users_user_id")),
        sa.CheckConstraint("octet_length(email_hash) = 32", name=op.f("ck_users_email_hash")),
        sa.ForeignKeyConstraint(["tenant"], [f"{SCHEMA}.tenants.tenant"], name=op.f("fk_users_tenants")),
        sa.PrimaryKeyConstraint("tenant", "user_id", name=op.f("pk_users")),
        sa.UniqueConstraint("tenant", "email_hash", name=op.f("uq_users_tenant_email_hash")),
        schema=SCHEMA,
    )
    op.create_index("ix_users_email_hash", "users", ["email_hash"], unique=False, schema=SCHEMA)
    op.create_table(
        "client_secrets",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False, comment="Counts up from 1; what an operator calls the secret."),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False, comment="HMAC-SHA256(pepper, salt || secret)"),
        sa.Column("created_at", _WHEN, server_default=_NOW, nullable=False),
        sa.Column("expires_at", _WHEN, nullable=True),
        sa.Column("revoked_at", _WHEN, nullable=True),
        sa.Column("last_used_at", _WHEN, nullable=True),
        sa.CheckConstraint("n >= 1", name=op.f("ck_client_secrets_n")),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_client_secrets_hash")),
        sa.CheckConstraint("octet_length(salt) = 16", name=op.f("ck_client_secrets_salt")),
        sa.ForeignKeyConstraint(
            ["tenant", "client_id"],
            [f"{SCHEMA}.clients.tenant", f"{SCHEMA}.clients.client_id"],
            name=op.f("fk_client_secrets_clients"),
        ),
        sa.PrimaryKeyConstraint("tenant", "client_id", "n", name=op.f("pk_client_secrets")),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_client_secrets_former",
        "client_secrets",
        ["tenant", "client_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("revoked_at IS NULL AND expires_at IS NOT NULL"),
    )
    op.create_index(
        "uq_client_secrets_present",
        "client_secrets",
        ["tenant", "client_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("revoked_at IS NULL AND expires_at IS NULL"),
    )
    op.create_table(
        "sessions",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("session_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the cookie's random part"),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", _WHEN, server_default=_NOW, nullable=False),
        sa.Column("seen_at", _WHEN, server_default=_NOW, nullable=False),
        sa.Column("expires_at", _WHEN, nullable=False, comment="Whatever happens, it ends here."),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_sessions_expires_at")),
        sa.CheckConstraint("octet_length(session_hash) = 32", name=op.f("ck_sessions_session_hash")),
        sa.ForeignKeyConstraint(
            ["tenant", "user_id"],
            [f"{SCHEMA}.users.tenant", f"{SCHEMA}.users.user_id"],
            name=op.f("fk_sessions_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "session_hash", name=op.f("pk_sessions")),
        schema=SCHEMA,
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"], unique=False, schema=SCHEMA)
    op.create_index("ix_sessions_tenant_user_id", "sessions", ["tenant", "user_id"], unique=False, schema=SCHEMA)
    op.create_table(
        "idempotent_answers",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False, comment="status, headers, body; sealed where secret"),
        sa.Column("created_at", _WHEN, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "client_id", "key", name=op.f("pk_idempotent_answers")),
        schema=SCHEMA,
    )
    op.create_index("idempotent_answers_by_age", "idempotent_answers", ["created_at"], unique=False, schema=SCHEMA)


def downgrade() -> None:
    for table in ("idempotent_answers", "sessions", "client_secrets", "users", "clients", "tenants"):
        op.drop_table(table, schema=SCHEMA)
