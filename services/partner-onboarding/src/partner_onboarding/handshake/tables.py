"""The tables of the handshake: codes, links, assignments, agreements, and mails.

Links and assignments name a user without a foreign key: partners are billed for them, so they outlive a deleted
account. They hold nothing of the person but an id that is never used again.
"""

from collections.abc import Mapping
from typing import Any

from shared.tables import in_sandbox, sealed_as
from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
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

from partner_onboarding import contexts
from partner_onboarding.schema import SCHEMA, WHEN, metadata

_CLIENTS = [f"{SCHEMA}.clients.tenant", f"{SCHEMA}.clients.client_id"]
_USERS = [f"{SCHEMA}.users.tenant", f"{SCHEMA}.users.user_id"]


def _code(row: Mapping[str, Any]) -> str:
    return contexts.handshake(row["tenant"], row["register_hash"])


handshakes = Table(
    "handshakes",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("register_hash", LargeBinary, nullable=False, comment="HMAC-SHA256 of the public code"),
    Column("client_id", Text, nullable=False),
    Column("authorization_hash", LargeBinary, nullable=False, comment="HMAC-SHA256 of the private code"),
    Column(
        "authorization_code",
        LargeBinary,
        nullable=False,
        comment="Sealed: it is sent to the landing URL.",
        info=sealed_as(_code),
    ),
    Column("hint", Text, comment="Masked: for whom the partner has asked."),
    Column("created_at", WHEN, nullable=False),
    Column("expires_at", WHEN, nullable=False),
    Column("user_id", Text, comment="The one person who may use the code, from the registration on."),
    Column("outcome", Text),
    Column("ended_at", WHEN),
    Column("redeemed_at", WHEN, comment="When the partner has asked for the user by the private code."),
    PrimaryKeyConstraint("tenant", "register_hash"),
    ForeignKeyConstraint(["tenant", "client_id"], _CLIENTS),
    CheckConstraint("octet_length(register_hash) = 32", name="register_hash"),
    CheckConstraint("octet_length(authorization_hash) = 32", name="authorization_hash"),
    CheckConstraint("expires_at > created_at", name="expires_at"),
    CheckConstraint("outcome IN ('linked', 'denied')", name="outcome"),
    CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name="ended_at"),
    CheckConstraint("outcome <> 'linked' OR user_id IS NOT NULL", name="user_id"),
    CheckConstraint("redeemed_at IS NULL OR outcome = 'linked'", name="redeemed_at"),
    CheckConstraint("char_length(hint) BETWEEN 1 AND 200", name="hint"),
    Index("uq_handshakes_authorization", "tenant", "client_id", "authorization_hash", unique=True),
    # Unique over all tenants: a browser brings the public code and knows no tenant.
    Index("ix_handshakes_register_hash", "register_hash"),
    Index("ix_handshakes_expires_at", "expires_at"),
)

links = Table(
    "links",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("n", Integer, nullable=False, comment="Counts up from 1: whoever was removed may be linked again."),
    Column("linked_at", WHEN, nullable=False),
    Column("activated_at", WHEN),
    Column("removed_at", WHEN),
    Column("removed_by", Text),
    Column("months_assigned", Integer, nullable=False, server_default=text("0"), comment="Periods dealt with so far."),
    Column("next_assignment_at", WHEN, comment="When the next period begins; none: no more."),
    PrimaryKeyConstraint("tenant", "client_id", "user_id", "n"),
    ForeignKeyConstraint(["tenant", "client_id"], _CLIENTS),
    CheckConstraint("n >= 1", name="n"),
    CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed_by"),
    CheckConstraint("removed_by IN ('partner', 'user', 'deletion')", name="removed_by_whom"),
    CheckConstraint("activated_at IS NOT NULL OR next_assignment_at IS NULL", name="next_assignment_at"),
    CheckConstraint("months_assigned >= 0", name="months_assigned"),
    Index(
        "uq_links_present", "tenant", "client_id", "user_id", unique=True, postgresql_where=text("removed_at IS NULL")
    ),
    Index("ix_links_tenant_user_id", "tenant", "user_id"),
    Index("ix_links_next_assignment_at", "next_assignment_at", postgresql_where=text("next_assignment_at IS NOT NULL")),
)

assignments = Table(
    "assignments",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("month", Date, nullable=False, comment="The first day of the month that is billed, UTC."),
    Column("user_id", Text, nullable=False),
    Column("n", Integer, nullable=False, comment="Of the link."),
    Column("months", Integer, nullable=False, server_default=text("1")),
    Column("assigned_at", WHEN, nullable=False, comment="When the period begins, however late this was written."),
    Column("created_at", WHEN, nullable=False, server_default=func.now()),
    # A partner pays for a person and a month once, even if a chore runs late, twice or on two machines.
    PrimaryKeyConstraint("tenant", "client_id", "month", "user_id"),
    ForeignKeyConstraint(
        ["tenant", "client_id", "user_id", "n"], [links.c.tenant, links.c.client_id, links.c.user_id, links.c.n]
    ),
    CheckConstraint("months >= 1", name="months"),
    CheckConstraint("month = (date_trunc('month', assigned_at AT TIME ZONE 'UTC'))::date", name="month"),
    Index("ix_assignments_link", "tenant", "client_id", "user_id"),
)

agreements = Table(
    "agreements",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("language", Text, nullable=False, comment="In which it was read."),
    Column("agreed_at", WHEN, nullable=False),
    PrimaryKeyConstraint("tenant", "user_id", "document", "version"),
    ForeignKeyConstraint(["tenant", "user_id"], _USERS, ondelete="CASCADE"),
    CheckConstraint("document IN ('terms', 'privacy')", name="document"),
    CheckConstraint("char_length(version) BETWEEN 1 AND 64", name="version"),
)

erasures = Table(
    "erasures",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("erased_at", WHEN, nullable=False, server_default=func.now()),
    Column("account_closed_at", WHEN, comment="When the ledger had closed the account."),
    Column("next_attempt_at", WHEN, server_default=func.now(), comment="None when the account is closed."),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Without a key to the user, who is gone; after a restore the journal is repeated.
    PrimaryKeyConstraint("tenant", "user_id", "erased_at"),
    CheckConstraint("(account_closed_at IS NULL) = (next_attempt_at IS NOT NULL)", name="next_attempt_at"),
    Index("erasures_due", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
    # A journal of deletions must not forget any.
    info=in_sandbox(stays=True),
)
