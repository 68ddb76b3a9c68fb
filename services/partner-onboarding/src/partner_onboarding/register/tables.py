"""The tables of the register. A copy of them names no person and opens nothing without the keys that lie outside
(pepper, account name key, key-encryption keys).

The tenant leads every primary and unique key, with one deliberate exception: a client id is unique over all tenants,
since it is all that a caller sends and determines the tenant.
"""

from collections.abc import Mapping
from typing import Any

from shared.events.tables import define_event_tables
from shared.idempotency import define_answers_table
from shared.sandboxes.tables import define_sandbox_tables
from shared.seals.tables import define_seals_table, one_to_seal
from shared.tables import Forgotten, append_only, for_all_tenants, in_sandbox, sealed_as
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
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

from partner_onboarding import contexts
from partner_onboarding.register.sandboxes.domain import PEOPLE
from partner_onboarding.schema import NO_TEXTS, SCHEMA, TEXTS, WHEN, created, metadata

#: Of consents, which only an admin gives and ends.
ACTORS = "actor_kind IN ('operator', 'tenant_admin', 'user', 'client', 'applicant', 'shell')"
_AUDITED_ACTORS = "actor_kind IN ('operator', 'tenant_admin', 'user', 'client', 'applicant', 'anonymous', 'shell')"
_USERS = [f"{SCHEMA}.users.tenant", f"{SCHEMA}.users.user_id"]


def _profile(row: Mapping[str, Any]) -> str:
    return contexts.profile(row["tenant"], row["user_id"])


def _recipient(row: Mapping[str, Any]) -> str:
    if row["user_id"] is None:
        return contexts.mail(row["tenant"], row["mail_id"], "recipient")
    return contexts.address(row["tenant"], row["user_id"])


def _facts(row: Mapping[str, Any]) -> str:
    return contexts.mail(row["tenant"], row["mail_id"], "facts")


def _second_factor(row: Mapping[str, Any]) -> str:
    return contexts.second_factor(row["tenant"], row["user_id"])


tenants = Table(
    "tenants",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("allowed_origins", TEXTS, nullable=False, server_default=NO_TEXTS),
    created(),
    CheckConstraint("tenant ~ '^[a-z0-9][a-z0-9-]{0,39}$'", name="tenant"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name"),
    info=in_sandbox(stays=True) | for_all_tenants(),
)

clients = Table(
    "clients",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("scopes", TEXTS, nullable=False, server_default=NO_TEXTS),
    Column("vendor_id", Text),
    Column("ip_allow_list", TEXTS, nullable=False, server_default=NO_TEXTS),
    Column("landing_url", Text),
    Column("redirect_uris", TEXTS, nullable=False, server_default=NO_TEXTS),
    created(),
    Column("disabled_at", WHEN),
    Column("jwks", JSONB(none_as_null=True), comment="Public keys, for private_key_jwt."),
    PrimaryKeyConstraint("tenant", "client_id"),
    UniqueConstraint("client_id"),
    ForeignKeyConstraint(["tenant"], [tenants.c.tenant]),
    CheckConstraint("client_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'", name="client_id"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name"),
    CheckConstraint("kind IN ('first_party', 'third_party')", name="kind"),
    CheckConstraint("char_length(vendor_id) BETWEEN 1 AND 128", name="vendor_id"),
    CheckConstraint(
        "kind <> 'third_party' OR NOT scopes && ARRAY['clients:admin', 'sso:issue', 'sso:admin', 'partner:handshake']",
        name="scopes_of_third_party",
    ),
    # The name under which the other services keep a client's records has one live owner.
    Index(
        "uq_clients_live_vendor",
        "tenant",
        text("COALESCE(vendor_id, client_id)"),
        unique=True,
        postgresql_where=text("disabled_at IS NULL"),
    ),
    info=in_sandbox(stays=True) | for_all_tenants(),
)

client_secrets = Table(
    "client_secrets",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("n", Integer, nullable=False, comment="Counts up from 1; what an operator calls the secret."),
    Column("salt", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False, comment="HMAC-SHA256(pepper, salt || secret)"),
    created(),
    Column("expires_at", WHEN),
    Column("revoked_at", WHEN),
    Column("last_used_at", WHEN),
    PrimaryKeyConstraint("tenant", "client_id", "n"),
    ForeignKeyConstraint(["tenant", "client_id"], [clients.c.tenant, clients.c.client_id]),
    CheckConstraint("n >= 1", name="n"),
    CheckConstraint("octet_length(salt) = 16", name="salt"),
    CheckConstraint("octet_length(hash) = 32", name="hash"),
    # The present secret has no end, a former one has. At most one of each makes at most two.
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
    info=in_sandbox(stays=True) | for_all_tenants(),
)

users = Table(
    "users",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("email_hash", LargeBinary, nullable=False, comment="HMAC-SHA256(account name key, address)"),
    Column(
        "profile",
        LargeBinary,
        nullable=False,
        comment="Sealed: e-mail address, first and last name.",
        info=sealed_as(_profile),
    ),
    Column("password_hash", Text, comment="argon2id; none for a user who cannot sign in yet."),
    Column("roles", TEXTS, nullable=False, server_default=NO_TEXTS),
    Column(
        "owns_email",
        Boolean,
        nullable=False,
        server_default=text("true"),
        comment="Proven by a mail, or vouched for by the tenant; who registers by oneself only claims an address.",
    ),
    Column("email_verified_at", WHEN),
    created(),
    Column("updated_at", WHEN, nullable=False, server_default=func.now()),
    Column("disabled_at", WHEN),
    PrimaryKeyConstraint("tenant", "user_id"),
    # An address belongs to one user of a tenant, but others may claim it. A form that refused known addresses would
    # reveal who is known, and the first to come could keep the owner out.
    Index("uq_users_tenant_email_hash", "tenant", "email_hash", unique=True, postgresql_where=text("owns_email")),
    ForeignKeyConstraint(["tenant"], [tenants.c.tenant]),
    CheckConstraint("char_length(user_id) BETWEEN 1 AND 128", name="user_id"),
    CheckConstraint("octet_length(email_hash) = 32", name="email_hash"),
    CheckConstraint("password_hash LIKE '$argon2id$%'", name="password_hash"),
    CheckConstraint("roles <@ ARRAY['operator', 'tenant_admin']", name="roles"),
    Index("users_with_roles", "tenant", "user_id", postgresql_where=text("roles <> '{}'")),
    # Sign-in knows the address but not the tenant.
    Index("ix_users_email_hash", "email_hash"),
    # Those who have registered go. The sandbox's own people stay, and so do those with duties.
    info=in_sandbox(goes_if=f"roles = '{{}}' AND NOT user_id = ANY (ARRAY{[user.user_id for user in PEOPLE]})"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("session_hash", LargeBinary, nullable=False, comment="SHA-256 of the cookie's random part"),
    Column("user_id", Text, nullable=False),
    created(),
    Column("seen_at", WHEN, nullable=False, server_default=func.now()),
    Column("expires_at", WHEN, nullable=False, comment="Whatever happens, it ends here."),
    Column("awaits", Text, comment="What the sign-in still needs: a code, or the set-up of a second factor."),
    PrimaryKeyConstraint("tenant", "session_hash"),
    ForeignKeyConstraint(["tenant", "user_id"], [users.c.tenant, users.c.user_id], ondelete="CASCADE"),
    CheckConstraint("octet_length(session_hash) = 32", name="session_hash"),
    CheckConstraint("expires_at > created_at", name="expires_at"),
    CheckConstraint("awaits IN ('code', 'enrolment')", name="awaits"),
    Index("ix_sessions_tenant_user_id", "tenant", "user_id"),
    Index("ix_sessions_expires_at", "expires_at"),
    info=in_sandbox(stays=True),
)

mails = Table(
    "mails",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("mail_id", Text, nullable=False),
    Column("user_id", Text, comment="None for somebody without an account."),
    Column("kind", Text, nullable=False),
    Column("language", Text, nullable=False),
    created(),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", WHEN, server_default=func.now(), comment="None when there is nothing more to do."),
    Column("sent_at", WHEN),
    Column("token_hash", LargeBinary, comment="SHA-256 of the token in the link; the token itself is not kept."),
    Column(
        "recipient",
        LargeBinary,
        comment="Sealed: the address, where it is not the user's present one.",
        info=sealed_as(_recipient),
    ),
    Column("facts", LargeBinary, comment="Sealed: what the text names.", info=sealed_as(_facts)),
    PrimaryKeyConstraint("tenant", "mail_id"),
    ForeignKeyConstraint(["tenant", "user_id"], _USERS, ondelete="CASCADE"),
    CheckConstraint("octet_length(token_hash) = 32", name="token_hash"),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("user_id IS NOT NULL OR recipient IS NOT NULL", name="recipient"),
    Index("uq_mails_token", "tenant", "token_hash", unique=True),
    Index("ix_mails_tenant_user_id", "tenant", "user_id"),
    Index("ix_mails_created_at", "created_at", postgresql_using="brin"),
    Index("ix_mails_next_attempt_at", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("entry_id", BigInteger, Identity(always=True), nullable=False),
    # Not when the transaction began: up to a time, all entries must be there, so that they can be sealed.
    Column("recorded_at", WHEN, nullable=False, server_default=func.clock_timestamp()),
    Column("actor_kind", Text, nullable=False),
    Column("actor", Text, nullable=False, comment="A user's or a client's id; empty for one who was not known."),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="The id of what was acted on."),
    Column("details", JSONB, nullable=False, comment="Never a secret, never a person's name or address."),
    Column("origin", Text, comment="The network that the request came from."),
    Column("request_id", Text),
    PrimaryKeyConstraint("tenant", "entry_id"),
    ForeignKeyConstraint(["tenant"], [tenants.c.tenant]),
    CheckConstraint(_AUDITED_ACTORS, name="actor_kind"),
    CheckConstraint("action ~ '^[a-z_]{1,64}$'", name="action"),
    # Finds what is to be sealed.
    Index("audit_entries_by_time_idx", "tenant", "recorded_at", postgresql_where=one_to_seal("recorded_at")),
    Index("ix_audit_entries_recorded_at", "recorded_at", postgresql_using="brin"),
    info=append_only(Forgotten(by="recorded_at")) | in_sandbox(stays=True),
)

seals = define_seals_table(metadata)
seals.info |= in_sandbox(stays=True)

second_factors = Table(
    "second_factors",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column(
        "secret",
        LargeBinary,
        nullable=False,
        comment="Sealed: the secret that the person's app has too.",
        info=sealed_as(_second_factor),
    ),
    Column("last_step", BigInteger, nullable=False, server_default=text("0"), comment="A code is good once."),
    created(),
    Column("confirmed_at", WHEN, comment="It counts from here on."),
    PrimaryKeyConstraint("tenant", "user_id"),
    ForeignKeyConstraint(["tenant", "user_id"], [users.c.tenant, users.c.user_id], ondelete="CASCADE"),
    CheckConstraint("last_step >= 0", name="last_step"),
    info=in_sandbox(stays=True),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("code_hash", LargeBinary, nullable=False, comment="HMAC-SHA256, bound to the account."),
    Column("used_at", WHEN),
    PrimaryKeyConstraint("tenant", "user_id", "code_hash"),
    ForeignKeyConstraint(
        ["tenant", "user_id"], [second_factors.c.tenant, second_factors.c.user_id], ondelete="CASCADE"
    ),
    CheckConstraint("octet_length(code_hash) = 32", name="code_hash"),
    info=in_sandbox(stays=True),
)

#: The first answers to calls with an Idempotency-Key; sealed, since some of them hold a client secret.
idempotent_answers = define_answers_table(metadata)
# Those of a reset itself among them.
idempotent_answers.info |= in_sandbox(stays=True)

events = define_event_tables(metadata)

sandboxes = define_sandbox_tables(metadata)
