"""What this service keeps. Nothing in here names a person or opens a door: a copy of these tables alone is
worth nothing without the keys that lie outside (pepper, account name key, key-encryption keys).

The tenant leads every primary and unique key. One exception is deliberate: a client id is unique over all
tenants, because it is all that a caller sends and has to determine the tenant.
"""

from shared.idempotency import define_answers_table
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from partner_onboarding import consent_tables, partner_tables
from partner_onboarding.schema import NO_TEXTS as _NO_TEXTS
from partner_onboarding.schema import SCHEMA, metadata
from partner_onboarding.schema import TEXTS as _TEXTS
from partner_onboarding.schema import WHEN as _WHEN
from partner_onboarding.schema import created as _created

__all__ = [
    "SCHEMA",
    "client_secrets",
    "clients",
    "consent_tables",
    "idempotent_answers",
    "metadata",
    "partner_tables",
    "sessions",
    "tenants",
    "users",
]

tenants = Table(
    "tenants",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("allowed_origins", _TEXTS, nullable=False, server_default=_NO_TEXTS),
    _created(),
    CheckConstraint("tenant ~ '^[a-z0-9][a-z0-9-]{0,39}$'", name="tenant"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name"),
)

clients = Table(
    "clients",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("scopes", _TEXTS, nullable=False, server_default=_NO_TEXTS),
    Column("vendor_id", Text),
    Column("ip_allow_list", _TEXTS, nullable=False, server_default=_NO_TEXTS),
    Column("landing_url", Text),
    Column("redirect_uris", _TEXTS, nullable=False, server_default=_NO_TEXTS),
    _created(),
    Column("disabled_at", _WHEN),
    Column("jwks", JSONB(none_as_null=True), comment="Public keys, for private_key_jwt."),
    PrimaryKeyConstraint("tenant", "client_id"),
    UniqueConstraint("client_id"),
    ForeignKeyConstraint(["tenant"], [tenants.c.tenant]),
    CheckConstraint("client_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'", name="client_id"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name"),
    CheckConstraint("kind IN ('first_party', 'third_party')", name="kind"),
    CheckConstraint("char_length(vendor_id) BETWEEN 1 AND 128", name="vendor_id"),
)

client_secrets = Table(
    "client_secrets",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("n", Integer, nullable=False, comment="Counts up from 1; what an operator calls the secret."),
    Column("salt", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False, comment="HMAC-SHA256(pepper, salt || secret)"),
    _created(),
    Column("expires_at", _WHEN),
    Column("revoked_at", _WHEN),
    Column("last_used_at", _WHEN),
    PrimaryKeyConstraint("tenant", "client_id", "n"),
    ForeignKeyConstraint(["tenant", "client_id"], [clients.c.tenant, clients.c.client_id]),
    CheckConstraint("n >= 1", name="n"),
    CheckConstraint("octet_length(salt) = 16", name="salt"),
    CheckConstraint("octet_length(hash) = 32", name="hash"),
    # The present secret has no end, a former one has: one of each at most, so that two are never exceeded.
    Index(
        "uq_client_secrets_present",
        "tenant",
        "client_id",
        unique=True,
        postgresql_where=text("revoked_at IS NULL AND expires_at IS NULL"),
    ),
    Index(
        "uq_client_secrets_former",
        "tenant",
        "client_id",
        unique=True,
        postgresql_where=text("revoked_at IS NULL AND expires_at IS NOT NULL"),
    ),
)

users = Table(
    "users",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("email_hash", LargeBinary, nullable=False, comment="HMAC-SHA256(account name key, address)"),
    Column("profile", LargeBinary, nullable=False, comment="Sealed: e-mail address, first and last name."),
    Column("password_hash", Text, comment="argon2id; none for a user who cannot sign in yet."),
    Column("roles", _TEXTS, nullable=False, server_default=_NO_TEXTS),
    Column(
        "owns_email",
        Boolean,
        nullable=False,
        server_default=text("true"),
        comment="Proven by a mail, or vouched for by the tenant; who registers by oneself only claims an address.",
    ),
    Column("email_verified_at", _WHEN),
    _created(),
    Column("updated_at", _WHEN, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("tenant", "user_id"),
    # An address belongs to one user of a tenant. Others may claim it: a form that refused a known address would tell
    # everybody who is known, and whoever came first could keep the owner out.
    Index("uq_users_tenant_email_hash", "tenant", "email_hash", unique=True, postgresql_where=text("owns_email")),
    ForeignKeyConstraint(["tenant"], [tenants.c.tenant]),
    CheckConstraint("char_length(user_id) BETWEEN 1 AND 128", name="user_id"),
    CheckConstraint("octet_length(email_hash) = 32", name="email_hash"),
    CheckConstraint("password_hash LIKE '$argon2id$%'", name="password_hash"),
    CheckConstraint("roles <@ ARRAY['operator', 'tenant_admin']", name="roles"),
    # Signing in knows the address and not the tenant.
    Index("ix_users_email_hash", "email_hash"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("session_hash", LargeBinary, nullable=False, comment="SHA-256 of the cookie's random part"),
    Column("user_id", Text, nullable=False),
    _created(),
    Column("seen_at", _WHEN, nullable=False, server_default=func.now()),
    Column("expires_at", _WHEN, nullable=False, comment="Whatever happens, it ends here."),
    PrimaryKeyConstraint("tenant", "session_hash"),
    ForeignKeyConstraint(["tenant", "user_id"], [users.c.tenant, users.c.user_id], ondelete="CASCADE"),
    CheckConstraint("octet_length(session_hash) = 32", name="session_hash"),
    CheckConstraint("expires_at > created_at", name="expires_at"),
    Index("ix_sessions_tenant_user_id", "tenant", "user_id"),
    Index("ix_sessions_expires_at", "expires_at"),
)

#: The first answers to calls with an Idempotency-Key; sealed, since some of them hold a client secret.
idempotent_answers = define_answers_table(metadata)
