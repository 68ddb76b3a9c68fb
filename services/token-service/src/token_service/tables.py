"""Tables and the constraints that the database enforces. The tenant leads every key, so that tenants can be moved
apart.

No table holds a token's 32 characters: the row's key is the small number that they encipher.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from shared.acts import define_acts_table
from shared.events.tables import define_event_tables
from shared.idempotency import define_answers_table
from shared.sandboxes.tables import define_sandbox_tables
from shared.tables import NAMES, in_sandbox, sealed_as
from sqlalchemy.dialects import postgresql

from token_service.tokens.format import MAX_SEQUENCE
from token_service.tokens.terms import COLUMNS, REQUIRED, TERMS

SCHEMA = "token_service"

metadata = sa.MetaData(
    schema=SCHEMA,
    naming_convention=NAMES,
)


def _time(name: str, *, nullable: bool = True, comment: str | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, comment=comment)


_TYPES: Final[Mapping[str, Callable[[], sa.types.TypeEngine[Any]]]] = {
    "text": sa.Text,
    "integer": sa.Integer,
    "timestamptz": lambda: sa.DateTime(timezone=True),
}


def _terms() -> list[sa.Column[Any]]:
    """The terms that a token has a column for."""
    return [
        sa.Column(name, _TYPES[kind](), nullable=name not in REQUIRED, comment=TERMS[name].comment)
        for name, kind in COLUMNS.items()
    ]


keys = sa.Table(
    "keys",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("number", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column(
        "sealed",
        sa.LargeBinary,
        nullable=False,
        comment="AES key and MAC key, 32 bytes each, sealed",
        info=sealed_as(lambda row: context_of_key(row["tenant"], row["number"])),
    ),
    sa.Column("next_sequence", sa.BigInteger, nullable=False, comment="processes draw blocks of numbers from here"),
    _time("created_at", nullable=False),
    _time("signs_from", nullable=False, comment="later than created_at, so that every process knows it first"),
    _time("retired_at", comment="from here it verifies nothing; no token of it is left"),
    _time("changed_at", nullable=False),
    sa.Column("origin", sa.Text, comment="the database in which its numbers are drawn"),
    sa.CheckConstraint("number > 0", name="number"),
    sa.CheckConstraint(f"next_sequence BETWEEN 1 AND {MAX_SEQUENCE + 1}", name="next_sequence"),
    sa.Index("keys_changed_at_idx", "changed_at"),
    # Its numbers are never drawn twice, so a token of a former round is nobody else's.
    info=in_sandbox(stays=True),
)

campaigns = sa.Table(
    "campaigns",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("campaign_id", sa.Text, primary_key=True),
    _time("created_at", nullable=False),
    _time("revoked_at", comment="revokes every token of the campaign that was issued until then"),
    sa.Column("destination_url", sa.Text, comment="where the hosted landing page leads"),
    sa.Column("offer", postgresql.JSONB, comment="language → title, text, button"),
    sa.CheckConstraint("(destination_url IS NULL) = (offer IS NULL)", name="landing"),
    info=in_sandbox(stays=True),
)

placements = sa.Table(
    "placements",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    # By a sequence: Citus distributes no table with an identity column of 32 bits.
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("campaign_id", sa.Text, nullable=False),
    sa.Column("base_url", sa.Text, nullable=False),
    sa.UniqueConstraint("tenant", "campaign_id", "base_url"),
    sa.ForeignKeyConstraint(["tenant", "campaign_id"], ["campaigns.tenant", "campaigns.campaign_id"]),
    comment="a campaign and where its links lead; kept once, not with every token",
    # Processes remember the numbers.
    info=in_sandbox(stays=True),
)

# The order of columns (8, 4, 2 bytes, then text) leaves no gaps and saves 10 bytes for each token.
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    _time("issued_at", nullable=False),
    _time("expires_at", comment="exact, where the token itself knows the minute; NULL is never"),
    sa.Column("uses", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("placement", sa.Integer, nullable=False),
    sa.Column("key_number", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("tenant", sa.Text, primary_key=True),
    *_terms(),
    sa.Column("mac", sa.LargeBinary, nullable=False, comment="over all that was encoded: an edited row is noticed"),
    _time("revoked_at"),
    _time("first_used_at"),
    _time("last_used_at"),
    sa.Column("uses_by_bots", sa.BigInteger),
    sa.Column("uses_by_scanners", sa.BigInteger),
    _time("first_expires_at", comment="of a token that was changed: the end it was made with"),
    sa.Column("spared", sa.BigInteger, comment="verifications that were to use nothing up"),
    sa.PrimaryKeyConstraint("tenant", "key_number", "sequence"),
    sa.CheckConstraint(f"sequence BETWEEN 1 AND {MAX_SEQUENCE}", name="sequence"),
    sa.CheckConstraint("max_uses > 0", name="max_uses"),
    sa.CheckConstraint("uses BETWEEN 0 AND coalesce(max_uses, uses)", name="uses"),
    # Of 17 bytes the first is the version of the text; rows of the first version have none.
    sa.CheckConstraint("octet_length(mac) IN (16, 17)", name="mac"),
    # Tokens are appended in time, so a BRIN of some kilobytes finds the old ones among ten million rows.
    sa.Index("tokens_expires_at_idx", "expires_at", postgresql_using="brin"),
    sa.Index("tokens_placement_key_number_sequence_idx", "placement", "key_number", "sequence"),
)

token_refusals = sa.Table(
    "token_refusals",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("key_number", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.CheckConstraint("count > 0", name="count"),
)

campaign_counts = sa.Table(
    "campaign_counts",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("campaign_id", sa.Text, primary_key=True, comment="empty: refusals that belong to no campaign"),
    sa.Column("hour", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("event", sa.Text, primary_key=True),
    sa.Column("detail", sa.Text, primary_key=True, comment="kind of caller, or reason of the refusal"),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.CheckConstraint("count > 0", name="count"),
    sa.CheckConstraint("event IN ('issued', 'opened', 'verified', 'distinct', 'refused')", name="event"),
)

import_references = sa.Table(
    "import_references",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("campaign_id", sa.Text, primary_key=True),
    sa.Column("reference", sa.Text, primary_key=True, comment="theirs: a row imported again gets the same token"),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    _time("expires_at"),
    sa.Column("key_number", sa.SmallInteger, nullable=False),
    sa.Index("import_references_tenant_key_number_sequence_idx", "tenant", "key_number", "sequence"),
    sa.Index("import_references_expires_at_idx", "expires_at", postgresql_using="brin"),
)

idempotent_answers = define_answers_table(metadata)

events = define_event_tables(metadata)

sandboxes = define_sandbox_tables(metadata)

acts = define_acts_table(metadata)


def context_of_key(tenant: str, number: int) -> str:
    """Under which context a tenant's key is sealed."""
    return f"token key of {tenant}/{number}"
