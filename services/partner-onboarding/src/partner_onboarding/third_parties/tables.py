"""The tables of third parties: integration requests, consents, authorization codes.

Consents are append-only: no statement of this service changes one. They name users without a foreign key, since they
outlive a deleted account.
"""

from collections.abc import Mapping
from typing import Any

from shared.tables import in_sandbox, sealed_as
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from partner_onboarding import contexts
from partner_onboarding.register.tables import ACTORS
from partner_onboarding.schema import NO_TEXTS, SCHEMA, TEXTS, WHEN, metadata

_TENANTS = [f"{SCHEMA}.tenants.tenant"]
_CLIENTS = [f"{SCHEMA}.clients.tenant", f"{SCHEMA}.clients.client_id"]


def _particulars(row: Mapping[str, Any]) -> str:
    return contexts.integration_request(row["tenant"], row["request_id"])


def _reason(row: Mapping[str, Any]) -> str:
    return contexts.reason(row["tenant"], row["request_id"])


integration_requests = Table(
    "integration_requests",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column(
        "particulars",
        LargeBinary,
        nullable=False,
        comment="Sealed: who asks, for what, and how to reach them.",
        info=sealed_as(_particulars),
    ),
    Column("scopes", TEXTS, nullable=False),
    Column("redirect_uris", TEXTS, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'submitted'")),
    Column("submitted_at", WHEN, nullable=False, server_default=func.now()),
    Column("decided_at", WHEN),
    Column("decided_by", Text),
    Column("reason", LargeBinary, comment="Sealed: why it was declined.", info=sealed_as(_reason)),
    Column("client_id", Text, comment="The client that the approval registered."),
    PrimaryKeyConstraint("tenant", "request_id"),
    ForeignKeyConstraint(["tenant"], _TENANTS),
    ForeignKeyConstraint(["tenant", "client_id"], _CLIENTS),
    CheckConstraint("state IN ('submitted', 'approved', 'declined')", name="state"),
    CheckConstraint("cardinality(scopes) > 0 AND cardinality(redirect_uris) > 0", name="asks_for_something"),
    CheckConstraint(
        "(state = 'submitted') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)", name="decided"
    ),
    CheckConstraint("(state = 'approved') = (client_id IS NOT NULL)", name="client_id"),
    CheckConstraint("(state = 'declined') = (reason IS NOT NULL)", name="reason"),
    Index("ix_integration_requests_tenant_submitted_at", "tenant", "submitted_at", "request_id"),
    info=in_sandbox(stays=True),
)

consents = Table(
    "consents",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("version", Integer, nullable=False, comment="Counts up from 1; the highest one holds."),
    Column("event", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="The user designated for API transactions."),
    Column("scopes", TEXTS, nullable=False, server_default=NO_TEXTS, comment="All that holds from here on."),
    Column("words", JSONB, nullable=False, comment="Scope by scope the words that were read."),
    Column("language", Text, nullable=False, comment="In which they were read."),
    Column("actor_kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("recorded_at", WHEN, nullable=False, server_default=func.now()),
    # Of two writers of the next version, the key refuses one.
    PrimaryKeyConstraint("tenant", "client_id", "version"),
    ForeignKeyConstraint(["tenant", "client_id"], _CLIENTS),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("event IN ('granted', 'extended', 'redesignated', 'withdrawn')", name="event"),
    CheckConstraint("(event = 'withdrawn') = (cardinality(scopes) = 0)", name="scopes"),
    CheckConstraint("char_length(subject) BETWEEN 1 AND 128", name="subject"),
    CheckConstraint(ACTORS, name="actor_kind"),
)

authorization_codes = Table(
    "authorization_codes",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("code_hash", LargeBinary, nullable=False, comment="SHA-256 of 256 random bits"),
    Column("client_id", Text, nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("code_challenge", Text, comment="PKCE, S256; none where the link had none"),
    Column("scopes", TEXTS, nullable=False),
    Column("consent_version", Integer, nullable=False),
    Column("expires_at", WHEN, nullable=False),
    Column("redeemed_at", WHEN),
    PrimaryKeyConstraint("tenant", "code_hash"),
    ForeignKeyConstraint(
        ["tenant", "client_id", "consent_version"], [consents.c.tenant, consents.c.client_id, consents.c.version]
    ),
    CheckConstraint("octet_length(code_hash) = 32", name="code_hash"),
    CheckConstraint("code_challenge ~ '^[A-Za-z0-9_-]{43}$'", name="code_challenge"),
    Index("ix_authorization_codes_expires_at", "expires_at"),
)
