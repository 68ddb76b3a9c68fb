"""The table of seals; each service that seals rows has its own."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import conv

from shared.tables import append_only

_WHEN = sa.DateTime(timezone=True)


def one_to_seal(column: str) -> sa.TextClause:
    """A condition that every row meets and only these statements state, so that only they can use an index with it."""
    # nosemgrep: sql-text-in-f-string — a column that the tables name
    return sa.text(f"{column} > '-infinity'")


def define_seals_table(metadata: sa.MetaData) -> sa.Table:
    """The table, in the schema of `metadata`. A migration of the service creates it from here."""
    return sa.Table(
        "seals",
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("chain", sa.Text, nullable=False, comment="The name of the table whose rows are sealed."),
        sa.Column("number", sa.BigInteger, nullable=False, comment="1, 2, 3 … without gaps."),
        sa.Column("version", sa.SmallInteger, nullable=False, comment="Of the text of a row."),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("first_at", _WHEN, nullable=False),
        sa.Column("first_key", JSONB, nullable=False, comment="The first row: its key without the tenant."),
        sa.Column("last_at", _WHEN, nullable=False),
        sa.Column("last_key", JSONB, nullable=False),
        sa.Column("until", _WHEN, nullable=False, comment="All rows of an earlier time are in this seal or before."),
        sa.Column("content", sa.LargeBinary, nullable=False, comment="The SHA-256 of each row, in their order."),
        sa.Column("previous", sa.LargeBinary, comment="The hash of the seal before; none for the first."),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("sealed_at", _WHEN, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "chain", "number", name="seals_pkey"),
        sa.CheckConstraint("number > 0", name=conv("seals_number_check")),
        sa.CheckConstraint("rows > 0 AND octet_length(content) = 32 * rows", name=conv("seals_content_check")),
        sa.CheckConstraint("(number = 1) = (previous IS NULL)", name=conv("seals_previous_check")),
        sa.CheckConstraint("octet_length(hash) = 32", name=conv("seals_hash_check")),
        info=append_only(),
    )
